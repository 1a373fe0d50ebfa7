package state

import (
	"crypto/ed25519"
	"errors"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// ErrSignature says that a commit or head is not signed by the key that it must be signed by.
var ErrSignature = errors.New("signature is not valid")

// signed is what an author signs, and the signature over the domain and it.
type signed struct {
	bytes []byte
	sig   []byte
}

// seal signs bytes for a domain.
func seal(domain string, bytes []byte, sign func([]byte) []byte) signed {
	return signed{bytes: bytes, sig: sign(append([]byte(domain), bytes...))}
}

func (s *signed) verify(domain string, key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, append([]byte(domain), s.bytes...), s.sig) {
		return ErrSignature
	}
	return nil
}

// digest names what was signed. The signature is not part of it: an author who signs one thing twice, with
// two valid signatures, has said one thing.
func (s *signed) digest() [32]byte { return blake3.Sum256(s.bytes) }

func (s *signed) append(b []byte) []byte {
	return cbor.AppendBytes(cbor.AppendBytes(b, s.bytes), s.sig)
}

// readSigned reads what append writes; it aliases the input.
func readSigned(r *cbor.Reader) signed {
	s := signed{bytes: r.Bytes(HeaderMax), sig: r.Bytes(ed25519.SignatureSize)}
	if r.Err() == nil && len(s.sig) != ed25519.SignatureSize {
		r.Fail("signature of %d bytes", len(s.sig))
	}
	return s
}

// readDigest reads 32 bytes.
func readDigest(r *cbor.Reader) (d [32]byte) {
	readFixed(r, d[:])
	return d
}

// readFixed fills p.
func readFixed(r *cbor.Reader, p []byte) {
	b := r.Bytes(len(p))
	if r.Err() == nil && len(b) != len(p) {
		r.Fail("%d bytes instead of %d", len(b), len(p))
	}
	copy(p, b)
}
