package diskcrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// KeyBytes is the length of a disk's key.
const KeyBytes = 32

// What keys are derived for.
const (
	useFile  = "wormhole/disk-file/1"
	useHead  = "wormhole/disk-head/1"
	useSmall = "wormhole/disk-small/1"
	useLock  = "wormhole/disk-lock/1"
)

// ErrOtherKey says that what is sealed does not open: it was sealed under another key, or changed.
var ErrOtherKey = errors.New("it was sealed under another key, or is damaged")

// Key is a disk's key. It is used for nothing but to derive others.
type Key struct {
	secret [KeyBytes]byte
	head   []byte // key of the heads' tags
	small  cipher.AEAD
}

// NewKey makes a random key.
func NewKey() *Key {
	var secret [KeyBytes]byte
	_, _ = rand.Read(secret[:]) // never fails
	return KeyOf(secret)
}

// KeyOf is the key that has a secret.
func KeyOf(secret [KeyBytes]byte) *Key {
	return &Key{secret: secret, head: derive(secret, nil, useHead), small: newAEAD(derive(secret, nil, useSmall))}
}

// Secret is what KeyOf makes the key of.
func (k *Key) Secret() [KeyBytes]byte { return k.secret }

// smallMagic begins a small file, with the version.
const smallMagic = "whfile\x00\x01"

// Seal encrypts a small file whole, by AES-256-GCM under a random nonce, for a name: under another it does not open. 2^32 files are safe under
// one key (NIST SP 800-38D, section 8.3). It is
//
//	 0  "whfile"  magic
//	 6  u16       version, 1
//	 8  [12]      nonce
//	20  the bytes, encrypted, and a tag of 16
func (k *Key) Seal(name string, plain []byte) []byte {
	return k.small.Seal([]byte(smallMagic), nil, plain, []byte(smallMagic+name))
}

// Open is what Seal sealed for the name. The error is ErrOtherKey.
func (k *Key) Open(name string, sealed []byte) ([]byte, error) {
	sealed, ok := bytes.CutPrefix(sealed, []byte(smallMagic))
	if !ok {
		return nil, fmt.Errorf("open %s: it is not sealed: %w", name, ErrOtherKey)
	}
	plain, err := k.small.Open(nil, nil, sealed, []byte(smallMagic+name))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, ErrOtherKey)
	}
	return plain, nil
}

// derive makes a key of a secret, for one use (HKDF, RFC 5869).
func derive(secret [KeyBytes]byte, salt []byte, use string) []byte {
	key, err := hkdf.Key(sha256.New, secret[:], salt, use, KeyBytes)
	if err != nil {
		panic(err) // only a length that is too great
	}
	return key
}

// newAEAD is AES-256-GCM that makes its nonces, and puts them ahead of what it seals.
func newAEAD(key []byte) cipher.AEAD {
	aead, err := cipher.NewGCMWithRandomNonce(newBlock(key))
	if err != nil {
		panic(err) // only of another cipher than AES
	}
	return aead
}

// newBlock is AES-256.
func newBlock(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only another length
	}
	return block
}
