package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/wormhole-fs/wormhole/pkg/sshkey"
)

// Where a key's passphrase is where no terminal is there to ask on: in the first, or in a file that the second names, less a line's end.
const (
	passphraseEnv     = "WH_PASSPHRASE"      //nolint:gosec // a name, no secret
	passphraseFileEnv = "WH_PASSPHRASE_FILE" //nolint:gosec // a name, no secret
)

// openIdentity opens a person's key: a private key file, or the public key file of one that an ssh-agent holds.
func openIdentity(file string) (*sshkey.Identity, error) {
	return sshkey.Open(file, sshkey.Options{Agent: os.Getenv("SSH_AUTH_SOCK"), Passphrase: passphraseOf})
}

// passphraseOf finds a key's passphrase, or asks for it.
func passphraseOf(file string) ([]byte, error) {
	if p, ok := os.LookupEnv(passphraseEnv); ok {
		return []byte(p), nil
	}
	path := os.Getenv(passphraseFileEnv)
	if path == "" {
		return askSecret(fmt.Sprintf("Passphrase of %s: ", printable(file)))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", passphraseFileEnv, err)
	}
	defer func() { _ = f.Close() }() // It was only read.
	b, err := io.ReadAll(io.LimitReader(f, passphraseMax))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", passphraseFileEnv, err)
	}
	return bytes.TrimRight(b, "\r\n"), nil
}

// passphraseMax is the longest passphrase in a file, in bytes.
const passphraseMax = 4 << 10
