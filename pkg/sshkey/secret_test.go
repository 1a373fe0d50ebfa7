package sshkey

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// TestSecret breaks if a file and an agent make other secrets of one key, or one key the same for another salt or namespace.
func TestSecret(t *testing.T) {
	file := keygen(t, "ed25519", "")
	inFile, err := Open(file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	held, err := OpenHeld(publicOf(t, file), startAgent(t, file))
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(keygen(t, "ed25519", ""), Options{})
	if err != nil {
		t.Fatal(err)
	}
	salt := bytes.Repeat([]byte{1}, 32)
	secret := func(i *Identity, namespace string, salt []byte) string {
		t.Helper()
		s, err := i.Secret(namespace, salt)
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(s[:])
	}
	want := secret(inFile, "wormhole-lock", salt)
	if secret(inFile, "wormhole-lock", salt) != want || secret(held, "wormhole-lock", salt) != want {
		t.Error("the same key makes another secret")
	}
	for what, got := range map[string]string{
		"another key": secret(other, "wormhole-lock", salt), "another namespace": secret(inFile, "wormhole", salt), "another salt": secret(inFile, "wormhole-lock", salt[1:]),
	} {
		if got == want {
			t.Errorf("%s makes the same secret", what)
		}
	}
	if p := inFile.Public().Fingerprint(); len(p) != 50 || p[:7] != "SHA256:" {
		t.Errorf("fingerprint %q", p)
	}
	for _, i := range []*Identity{inFile, held, other} {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
}
