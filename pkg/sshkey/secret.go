package sshkey

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// What SSHSIG fixes (PROTOCOL.sshsig of OpenSSH).
const (
	sigMagic = "SSHSIG"
	sigHash  = "sha512"
)

// Secret is a secret that only who has the key can make, for a namespace and a salt of 16 bytes at least, that nobody else uses: HKDF-SHA-256 (RFC 5869) of the
// key's signature of the salt in the format SSHSIG, whose namespace tells it from all else that the key signs. An Ed25519 signature is a function of
// key and message (RFC 8032, section 5.1.6), so a key in a file and the same key in an agent make the same secret; of an
// agent that is made otherwise a caller learns by asking twice. The agent's owner, and who may use the agent, can make it.
func (i *Identity) Secret(namespace string, salt []byte) (secret [32]byte, err error) {
	sig, err := i.sign(sigSigned(namespace, salt))
	if err != nil {
		return secret, err
	}
	key, err := hkdf.Key(sha256.New, sig, salt, namespace, len(secret))
	clear(sig)
	if err != nil {
		return secret, fmt.Errorf("key: %w", err)
	}
	return [32]byte(key), nil
}

// sigSigned is what an OpenSSH key signs for a message in the format SSHSIG: magic, namespace, nothing that is reserved, the name of the
// hash, and the message's hash, each but the magic with its length before it.
func sigSigned(namespace string, message []byte) []byte {
	hash := sha512.Sum512(message)
	b := []byte(sigMagic)
	for _, part := range [][]byte{[]byte(namespace), nil, []byte(sigHash), hash[:]} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// Fingerprint is how OpenSSH shows a key: "SHA256:" and its hash; "" for what is none.
func (p Public) Fingerprint() string {
	key, err := ssh.NewPublicKey(p.Key)
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(key)
}
