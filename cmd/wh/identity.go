package main

import (
	"fmt"
	"os"

	"github.com/wormhole-fs/wormhole/pkg/sshkey"
)

// passphraseEnv holds a key's passphrase where no terminal is there to ask on.
const passphraseEnv = "WH_PASSPHRASE" //nolint:gosec // a name, no secret

// openIdentity opens a person's key: a private key file, or the public key file of one that an ssh-agent holds.
func openIdentity(file string) (*sshkey.Identity, error) {
	return sshkey.Open(file, sshkey.Options{Agent: os.Getenv("SSH_AUTH_SOCK"), Passphrase: func(file string) ([]byte, error) {
		if p, ok := os.LookupEnv(passphraseEnv); ok {
			return []byte(p), nil
		}
		return askSecret(fmt.Sprintf("Passphrase of %s: ", printable(file)))
	}})
}
