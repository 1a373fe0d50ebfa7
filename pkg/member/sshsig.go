package member

import (
	"crypto/sha512"
	"encoding/binary"
)

// What SSHSIG fixes, so that a signature made for a network is good for nothing else (PROTOCOL.sshsig of OpenSSH).
const (
	sshMagic     = "SSHSIG"
	sshNamespace = "wormhole"
	sshHash      = "sha512"
)

// sshSigned is what an OpenSSH key signs for a message in the format SSHSIG: magic, namespace, nothing that is reserved, the name of the
// hash, and the message's hash, each but the magic with its length before it.
func sshSigned(message []byte) []byte {
	hash := sha512.Sum512(message)
	b := []byte(sshMagic)
	for _, part := range [][]byte{[]byte(sshNamespace), nil, []byte(sshHash), hash[:]} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}
