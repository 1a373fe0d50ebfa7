package diskcrypt

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
)

// HeadBytes is the length of a file's head: a page, so that the pages of a file's bytes are those of the disk.
const HeadBytes = 4096

// Parts of a head, in bytes.
const (
	headMagic  = "whdisk\x00\x01" // with the version
	saltBytes  = 32
	tagBytes   = 16
	headLen    = len(headMagic) + saltBytes + tagBytes
	headSector = 512 // a disk writes at least so much at once, or nothing of it
)

// newSalt makes what the key of a file is derived with.
func newSalt() (salt [saltBytes]byte) {
	_, _ = rand.Read(salt[:]) // never fails
	return salt
}

// encodeHead is a file's head.
func encodeHead(k *Key, salt [saltBytes]byte) []byte {
	sector := append(make([]byte, 0, headSector), headMagic...)
	sector = append(sector, salt[:]...)
	sector = append(sector, headTag(k, sector)...)
	return bytes.Repeat(sector[:headSector], HeadBytes/headSector)
}

// headTag says that a head was written under a key.
func headTag(k *Key, b []byte) []byte {
	h := hmac.New(sha256.New, k.head)
	_, _ = h.Write(b) // a hash takes everything
	return h.Sum(nil)[:tagBytes]
}

// decodeHead finds the salt in the first sector of a head that holds.
func decodeHead(k *Key, b []byte) (salt [saltBytes]byte, ok bool) {
	for ; len(b) >= headLen; b = b[min(len(b), headSector):] {
		signed := b[:len(headMagic)+saltBytes]
		if string(b[:len(headMagic)]) == headMagic && hmac.Equal(b[len(signed):headLen], headTag(k, signed)) {
			return [saltBytes]byte(signed[len(headMagic):]), true
		}
	}
	return salt, false
}

// readHead reads a head; ok is false where none holds.
func readHead(k *Key, r io.ReaderAt) (salt [saltBytes]byte, ok bool, err error) {
	b := make([]byte, headSector) // the others only if it must be
	for {
		n, err := r.ReadAt(b, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return salt, false, err
		}
		if salt, ok = decodeHead(k, b[:n]); ok || n < len(b) || len(b) == HeadBytes {
			return salt, ok, nil
		}
		b = make([]byte, HeadBytes)
	}
}
