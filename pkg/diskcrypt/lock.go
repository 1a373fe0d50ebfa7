package diskcrypt

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
)

// Errors of locks.
var (
	// ErrBadLock says that bytes are no lock.
	ErrBadLock = errors.New("no lock of a disk")
	// ErrChanging says that an identity makes another secret each time, so that what it locks would stay locked.
	ErrChanging = errors.New("the key signs differently each time: it can lock nothing")
)

// Lock is a disk's key, sealed for a person's identity. It is no secret. In its file it is
//
//	 0  "whlock"  magic
//	 6  u16       version, 1
//	 8  [32]      Ed25519 public key of the identity
//	40  [32]      salt of which the identity makes a secret
//	72  [60]      nonce, the disk's key, tag: AES-256-GCM under a key derived from that secret, bound to bytes 0 to 71
type Lock struct {
	Identity [ed25519.PublicKeySize]byte

	salt   [saltBytes]byte
	sealed [sealedBytes]byte
}

// Lengths of a lock's parts in bytes.
const (
	lockMagic   = "whlock\x00\x01" // with the version
	lockHead    = len(lockMagic) + ed25519.PublicKeySize + saltBytes
	sealedBytes = 12 + KeyBytes + 16
	lockBytes   = lockHead + sealedBytes
)

// NewLock locks a key for an identity. secret makes of a salt what only the identity can make, the same each time: it is called twice.
// Errors: ErrChanging, those of secret.
func NewLock(k *Key, identity ed25519.PublicKey, secret func(salt []byte) ([KeyBytes]byte, error)) (Lock, error) {
	l := Lock{Identity: [ed25519.PublicKeySize]byte(identity)}
	_, _ = rand.Read(l.salt[:]) // never fails
	one, err := secret(l.salt[:])
	if err != nil {
		return l, err
	}
	two, err := secret(l.salt[:])
	if err != nil {
		return l, err
	}
	if one != two {
		return l, ErrChanging
	}
	copy(l.sealed[:], newAEAD(derive(one, l.salt[:], useLock)).Seal(nil, nil, k.secret[:], l.head()))
	return l, nil
}

// Open is the key. Errors: ErrOtherKey, those of secret.
func (l Lock) Open(secret func(salt []byte) ([KeyBytes]byte, error)) (*Key, error) {
	s, err := secret(l.salt[:])
	if err != nil {
		return nil, err
	}
	plain, err := newAEAD(derive(s, l.salt[:], useLock)).Open(nil, nil, l.sealed[:], l.head())
	if err != nil || len(plain) != KeyBytes {
		return nil, fmt.Errorf("lock: %w", ErrOtherKey)
	}
	return KeyOf([KeyBytes]byte(plain)), nil
}

// head is what the sealing is bound to.
func (l Lock) head() []byte {
	b := append(make([]byte, 0, lockBytes), lockMagic...)
	b = append(b, l.Identity[:]...)
	return append(b, l.salt[:]...)
}

// Encode is the lock's bytes, which DecodeLock reads.
func (l Lock) Encode() []byte { return append(l.head(), l.sealed[:]...) }

// DecodeLock reads a lock. The error is ErrBadLock.
func DecodeLock(b []byte) (l Lock, err error) {
	if len(b) != lockBytes || string(b[:len(lockMagic)]) != lockMagic {
		return l, fmt.Errorf("%d bytes: %w", len(b), ErrBadLock)
	}
	b = b[len(lockMagic):]
	b = b[copy(l.Identity[:], b):]
	b = b[copy(l.salt[:], b):]
	copy(l.sealed[:], b)
	return l, nil
}
