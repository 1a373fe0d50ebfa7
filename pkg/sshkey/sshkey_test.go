package sshkey

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

// keygen makes a key with the real ssh-keygen.
func keygen(t *testing.T, kind, passphrase string) string {
	t.Helper()
	tool, err := exec.LookPath("ssh-keygen")
	if err != nil {
		testneed.Missing(t, "ssh-keygen: %v", err)
	}
	file := filepath.Join(t.TempDir(), "id")
	if out, err := exec.Command(tool, "-q", "-t", kind, "-N", passphrase, "-C", "ann@desk", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	return file
}

// startAgent runs a real ssh-agent with a key in it, and returns its socket.
func startAgent(t *testing.T, file string) string {
	t.Helper()
	tool, err := exec.LookPath("ssh-agent")
	if err != nil {
		testneed.Missing(t, "ssh-agent: %v", err)
	}
	dir, err := os.MkdirTemp("", "a") //nolint:usetesting // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(tool, "-D", "-a", socket)
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	if _, err := said.Read(make([]byte, 1)); err != nil { // it says where it is once it listens
		t.Fatal(err)
	}
	if file == "" {
		return socket
	}
	add := exec.Command("ssh-add", "-q", file)
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("ssh-add: %v: %s", err, out)
	}
	return socket
}

func signs(t *testing.T, i *Identity, want ed25519.PublicKey) {
	t.Helper()
	message := []byte("a message")
	sig, err := i.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(i.Public().Key, want) || !ed25519.Verify(want, message, sig) {
		t.Errorf("the signature does not hold for %x", want)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}

func publicOf(t *testing.T, file string) ed25519.PublicKey {
	t.Helper()
	list, err := ReadPublic(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Comment != "ann@desk" {
		t.Fatalf("got %v", list)
	}
	return list[0].Key
}

func TestPlainKey(t *testing.T) {
	file := keygen(t, "ed25519", "")
	i, err := Open(file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	signs(t, i, publicOf(t, file))
	if list, err := ReadPublic(file); err != nil || !bytes.Equal(list[0].Key, publicOf(t, file)) {
		t.Errorf("by the private key's name: %v, %v", list, err)
	}
}

func TestPassphrase(t *testing.T) {
	file := keygen(t, "ed25519", "open sesame")
	phrase := func(s string) Options {
		return Options{Passphrase: func(string) ([]byte, error) { return []byte(s), nil }}
	}
	i, err := Open(file, phrase("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	signs(t, i, publicOf(t, file))
	for name, o := range map[string]Options{
		"wrong": phrase("open barley"), "none": {},
		"nobody to ask": {Passphrase: func(string) ([]byte, error) { return nil, errors.New("no terminal") }},
	} {
		if _, err := Open(file, o); !errors.Is(err, ErrPassphrase) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The agent signs; that the private key is not needed is shown by its file being gone.
func TestAgent(t *testing.T) {
	file := keygen(t, "ed25519", "")
	socket := startAgent(t, file)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	i, err := Open(file+".pub", Options{Agent: socket})
	if err != nil {
		t.Fatal(err)
	}
	signs(t, i, publicOf(t, file))
	other := keygen(t, "ed25519", "")
	for name, row := range map[string]struct{ file, socket string }{
		"no agent": {file, ""}, "dead agent": {file, filepath.Join(t.TempDir(), "s")}, "another key": {other, socket},
	} {
		if _, err := Open(row.file+".pub", Options{Agent: row.socket}); !errors.Is(err, ErrNoAgent) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOtherKeys(t *testing.T) {
	rsa := keygen(t, "rsa", "")
	if _, err := Open(rsa, Options{}); !errors.Is(err, ErrBadKey) {
		t.Errorf("a private RSA key: %v", err)
	}
	if _, err := ReadPublic(rsa + ".pub"); !errors.Is(err, ErrBadKey) || !strings.Contains(err.Error(), "rsa") {
		t.Errorf("a public RSA key: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, fileMax+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(big, Options{}); !errors.Is(err, ErrBadKey) {
		t.Errorf("a large file: %v", err)
	}
}

// authorized_keys has options, comments, and keys of other kinds beside ours.
func TestAuthorizedKeys(t *testing.T) {
	file := keygen(t, "ed25519", "")
	line, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(keygen(t, "rsa", "") + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	text := "# people\n\nno-pty,command=\"/bin/false\" " + string(line) + string(other)
	list, err := ParsePublic([]byte(text))
	if err != nil || len(list) != 1 || !bytes.Equal(list[0].Key, publicOf(t, file)) {
		t.Errorf("got %v, %v", list, err)
	}
	if list, err := ReadPublic(string(line)); err != nil || len(list) != 1 {
		t.Errorf("a key itself: %v, %v", list, err)
	}
	for _, bad := range []string{"", "# nothing\n", "nonsense\n", "ssh-ed25519 AAAA\n"} {
		if _, err := ParsePublic([]byte(bad)); !errors.Is(err, ErrBadKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What Sign makes is, put in its envelope, what ssh-keygen itself makes for the same message; package member relies on that.
func TestAsSSHKeygenSigns(t *testing.T) {
	file := keygen(t, "ed25519", "")
	message := filepath.Join(t.TempDir(), "m")
	if err := os.WriteFile(message, []byte("a message"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-n", "wormhole", "-f", file, message).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	text, err := os.ReadFile(message + ".sig")
	if err != nil {
		t.Fatal(err)
	}
	p, _ := pem.Decode(text)
	if p == nil {
		t.Fatal("no PEM")
	}
	theirs := p.Bytes[len(p.Bytes)-ed25519.SignatureSize:]
	i, err := Open(file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ours, err := i.Sign(sshsig([]byte("a message")))
	if err != nil || !bytes.Equal(ours, theirs) {
		t.Errorf("got %x, %v, want %x", ours, err, theirs)
	}
}

// sshsig is what PROTOCOL.sshsig of OpenSSH has signed.
func sshsig(message []byte) []byte {
	hash := sha512.Sum512(message)
	b := []byte("SSHSIG")
	for _, part := range []string{"wormhole", "", "sha512", string(hash[:])} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
	}
	return b
}

func FuzzParsePublic(f *testing.F) {
	f.Add([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAQFh+Yy6fwuWGNkgRAiyzHXoCIYTZGyLDBoGMBBWXTA ann@desk\n"))
	f.Add([]byte("no-pty ssh-rsa AAAA\n# x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParsePublic(b)
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%d keys and %v", len(list), err)
		}
	})
}
