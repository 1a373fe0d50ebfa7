// Package sshkey reads people's OpenSSH keys and signs with them: Ed25519 keys in a file, with or without a passphrase, or in an ssh-agent.
//
// ParsePublic reads what is in a public key file or in authorized_keys. Open finds an Identity, the one thing of which is to sign; a private
// key is kept in memory until the Identity is closed. It is the only package that knows golang.org/x/crypto/ssh. Values are safe for
// concurrent use. Files are read whole up to 64 KiB; nothing is written.
package sshkey

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// fileMax is the most bytes that are read of a file.
const fileMax = 64 << 10

// Errors of this package, wrapped; test them with errors.Is.
var (
	// ErrBadKey says that a text or file is no key, or one of another kind than Ed25519.
	ErrBadKey = errors.New("no OpenSSH Ed25519 key")
	// ErrPassphrase says that a key's passphrase is wrong, or that there is none where one is needed.
	ErrPassphrase = errors.New("the passphrase of the key is wrong or missing")
	// ErrNoAgent says that there is no ssh-agent, or that it does not have the key.
	ErrNoAgent = errors.New("no ssh-agent has the key")
)

// Public is a public key, and what its owner calls it.
type Public struct {
	Key     ed25519.PublicKey
	Comment string // "" where there is none
}

// ParsePublic reads public keys as ssh-keygen writes them and authorized_keys holds them: one a line, empty lines and those that
// begin with # are left out. Keys of other kinds than Ed25519 are left out too; where no other is there, or a line is none, the error is ErrBadKey.
func ParsePublic(text []byte) ([]Public, error) {
	var out []Public
	other := ""
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		parsed, comment, _, _, err := ssh.ParseAuthorizedKey(line)
		if err != nil {
			return nil, fmt.Errorf("public key: %w: %w", ErrBadKey, err)
		}
		if key, ok := ed25519Of(parsed); ok {
			out = append(out, Public{Key: key, Comment: comment})
		} else {
			other = parsed.Type()
		}
	}
	if len(out) == 0 {
		if other != "" {
			return nil, fmt.Errorf("public key of kind %s: %w", other, ErrBadKey)
		}
		return nil, fmt.Errorf("public key: %w: there is none", ErrBadKey)
	}
	return out, nil
}

// ed25519Of is a key as the standard library has it.
func ed25519Of(key ssh.PublicKey) (ed25519.PublicKey, bool) {
	c, ok := key.(ssh.CryptoPublicKey)
	if !ok || key.Type() != ssh.KeyAlgoED25519 {
		return nil, false
	}
	pub, ok := c.CryptoPublicKey().(ed25519.PublicKey)
	return pub, ok && len(pub) == ed25519.PublicKeySize
}

// Identity is a key that signs.
type Identity struct {
	public Public
	sign   func(message []byte) ([]byte, error)
	close  func() error
}

// Public is the key's public half.
func (i *Identity) Public() Public { return i.public }

// Sign is the Ed25519 signature of a message as it stands, 64 bytes. Of an agent that asks its user, it waits for that.
func (i *Identity) Sign(message []byte) ([]byte, error) { return i.sign(message) }

// Close ends the connection to an agent, or forgets the private key.
func (i *Identity) Close() error { return i.close() }

// Options are for Open.
type Options struct {
	// Passphrase gives the passphrase of a key that has one; nil: there is none to give.
	Passphrase func(file string) ([]byte, error)
	// Agent is the socket of an ssh-agent, SSH_AUTH_SOCK as a rule; "": there is none.
	Agent string
}

// Open finds the key that a file names: the private key in it, or, where it is a public key file, the private key that an agent has.
// Errors: ErrBadKey, ErrPassphrase, ErrNoAgent, those of the operating system.
func Open(file string, o Options) (*Identity, error) {
	b, err := readFile(file)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(b, []byte("PRIVATE KEY-----")) {
		return private(file, b, o)
	}
	public, err := ParsePublic(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(public) != 1 {
		return nil, fmt.Errorf("%s: %d keys, not one: %w", file, len(public), ErrBadKey)
	}
	return inAgent(public[0], o.Agent)
}

func readFile(file string) (b []byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if b, err = io.ReadAll(io.LimitReader(f, fileMax+1)); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if len(b) > fileMax {
		return nil, fmt.Errorf("key: %s is over %d bytes: %w", file, fileMax, ErrBadKey)
	}
	return b, nil
}

func private(file string, b []byte, o Options) (*Identity, error) {
	parsed, err := ssh.ParseRawPrivateKey(b)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		if o.Passphrase == nil {
			return nil, fmt.Errorf("%s: %w", file, ErrPassphrase)
		}
		phrase, perr := o.Passphrase(file)
		if perr != nil {
			return nil, fmt.Errorf("%s: %w: %w", file, ErrPassphrase, perr)
		}
		parsed, err = ssh.ParseRawPrivateKeyWithPassphrase(b, phrase)
		clear(phrase)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", file, ErrPassphrase, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrBadKey, err)
	}
	key, ok := parsed.(*ed25519.PrivateKey)
	if !ok || len(*key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%s: %w", file, ErrBadKey)
	}
	return &Identity{
		public: Public{Key: ed25519.PublicKey((*key)[ed25519.SeedSize:])},
		sign:   func(m []byte) ([]byte, error) { return ed25519.Sign(*key, m), nil },
		close:  func() error { clear(*key); return nil },
	}, nil
}

// OpenHeld finds a key that an agent has, whose socket Options.Agent names as in Open. Error: ErrNoAgent.
func OpenHeld(key ed25519.PublicKey, socket string) (*Identity, error) {
	return inAgent(Public{Key: key}, socket)
}

// inAgent is a key that an agent has: it never leaves it.
func inAgent(public Public, socket string) (*Identity, error) {
	if socket == "" {
		return nil, fmt.Errorf("%w: SSH_AUTH_SOCK is not set", ErrNoAgent)
	}
	conn, err := net.Dial("unix", socket) //nolint:noctx // a socket of this machine: it answers or is not there
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAgent, err)
	}
	a := agent.NewClient(conn)
	key, err := ssh.NewPublicKey(public.Key)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrBadKey, err), conn.Close())
	}
	held, err := a.List()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrNoAgent, err), conn.Close())
	}
	for _, k := range held {
		if !bytes.Equal(k.Blob, key.Marshal()) {
			continue
		}
		return &Identity{public: public, close: conn.Close, sign: func(m []byte) ([]byte, error) {
			s, err := a.Sign(key, m)
			if err != nil {
				return nil, fmt.Errorf("ssh-agent: %w", err)
			}
			if s.Format != ssh.KeyAlgoED25519 || !ed25519.Verify(public.Key, m, s.Blob) {
				return nil, fmt.Errorf("ssh-agent: a signature of kind %q that does not hold: %w", s.Format, ErrBadKey)
			}
			return s.Blob, nil
		}}, nil
	}
	return nil, fmt.Errorf("%w: it has %d others (ssh-add)", ErrNoAgent, len(held))
}

// Looks says whether a text, rather than naming a file, is a public key itself.
func Looks(text string) bool {
	return strings.HasPrefix(strings.TrimSpace(text), ssh.KeyAlgoED25519+" ") || strings.HasPrefix(strings.TrimSpace(text), "ssh-")
}

// ReadPublic reads public keys from a file, or from a text that is one; see ParsePublic. Of a private key's file, its public half is read
// from the file beside it.
func ReadPublic(text string) ([]Public, error) {
	if Looks(text) {
		return ParsePublic([]byte(text))
	}
	b, err := readFile(text)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(b, []byte("PRIVATE KEY-----")) {
		if b, err = readFile(text + ".pub"); err != nil {
			return nil, err
		}
	}
	out, err := ParsePublic(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	return out, nil
}
