package diskcrypt

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"testing"
)

// secretOf is what an identity of a name makes.
func secretOf(name string) func([]byte) ([KeyBytes]byte, error) {
	return func(salt []byte) ([KeyBytes]byte, error) { return sha256.Sum256(append(salt, name...)), nil }
}

func TestLock(t *testing.T) {
	id := ed25519.PublicKey(bytes.Repeat([]byte{7}, 32))
	k := NewKey()
	l, err := NewLock(k, id, secretOf("ann"))
	must(t, err)
	b := l.Encode()
	secret := k.Secret()
	if bytes.Contains(b, secret[:]) {
		t.Fatal("the key stands in the lock")
	}
	l, err = DecodeLock(b)
	must(t, err)
	if !bytes.Equal(l.Identity[:], id) || !bytes.Equal(l.Encode(), b) {
		t.Error("another lock")
	}
	got, err := l.Open(secretOf("ann"))
	must(t, err)
	if got.Secret() != secret {
		t.Error("another key")
	}
	if _, err := l.Open(secretOf("bob")); !errors.Is(err, ErrOtherKey) {
		t.Errorf("by another identity: %v", err)
	}
	for i := range b {
		b[i] ^= 1
		if l, err := DecodeLock(b); err == nil {
			if _, err := l.Open(secretOf("ann")); !errors.Is(err, ErrOtherKey) {
				t.Errorf("byte %d may be wrong: %v", i, err)
			}
		} else if !errors.Is(err, ErrBadLock) {
			t.Error(err)
		}
		b[i] ^= 1
	}
	n := 0
	_, err = NewLock(k, id, func([]byte) (s [KeyBytes]byte, _ error) { n++; s[0] = byte(n); return s, nil })
	if !errors.Is(err, ErrChanging) {
		t.Errorf("an identity that signs differently each time: %v", err)
	}
}

// FuzzDecodeLock: what is read is written the same.
func FuzzDecodeLock(f *testing.F) {
	f.Add(Lock{}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := DecodeLock(b); err == nil && !bytes.Equal(l.Encode(), b) {
			t.Error("others")
		}
	})
}

func TestSeal(t *testing.T) {
	k := NewKey()
	b := k.Seal("key", []byte("a secret"))
	if got, err := k.Open("key", b); err != nil || string(got) != "a secret" {
		t.Error(got, err)
	}
	for what, err := range map[string]error{
		"another name": second(k.Open("admin.key", b)), "another key": second(NewKey().Open("key", b)),
		"cut": second(k.Open("key", b[:len(b)-1])), "nothing": second(k.Open("key", nil)),
	} {
		if !errors.Is(err, ErrOtherKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if bytes.Equal(k.Seal("key", nil), k.Seal("key", nil)) {
		t.Error("a nonce twice")
	}
}

func second(_ []byte, err error) error { return err }
