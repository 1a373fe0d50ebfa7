// Package seal encrypts the chunks of a network: it compresses a chunk and seals it under the network's data key,
// so that who has no key learns its length, how well it compresses, and nothing else.
//
// Its type is Key. Equal plain bytes have equal sealed bytes under one key (of one version of the
// compressor), hence one CID: chunks are deduplicated as on a plain network, by members and by pods that can't read them. That
// two chunks are equal is therefore visible, and that is all that a synthetic nonce gives away (RFC 5297).
//
// # Layout
//
//	0   16 bytes     block.Header: scheme 1, the form of the compressed bytes, key id, plain length
//	16  32 bytes     siv
//	48  n bytes      ciphertext of the compressed bytes
//	48+n 16 bytes    tag
//
// With three keys that BLAKE3 derives from the data key (derive_key; its contexts are constants here):
//
//	siv        = BLAKE3 keyed by sivKey, over header and BLAKE3-256 of the compressed bytes
//	chunk key  = BLAKE3 keyed by encKey, over siv
//	ciphertext, tag = AES-256-GCM under the chunk key, nonce zero, additional data the header
//
// A chunk key belongs to one header and one sequence of compressed bytes, so its one nonce is never used for two. The siv
// is over the compressed bytes, not the plain ones: two versions of a compressor make two frames of one chunk, and these
// must not share a key. It is over their hash, which is that of the plain bytes where they don't compress, and is made
// anyway. docs/adr/0005 has the reasons and the measurements.
//
// # Concurrency
//
// A Key never changes; all of it is safe for concurrent use.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/form"
)

// SecretLen is the length of a data key in bytes.
const SecretLen = 32

const (
	sivLen   = 32
	tagLen   = 16
	sivStart = block.HeaderLen
	dataAt   = sivStart + sivLen // where the ciphertext begins
)

// The contexts under which BLAKE3 derives keys from a data key; a context is used for one purpose only.
const (
	contextID  = "wormhole seal id 1"
	contextEnc = "wormhole seal enc 1"
	contextSIV = "wormhole seal siv 1"
	contextUse = "wormhole seal use 1 " // and the name of the use
)

// ErrOtherKey says that a chunk was sealed under another key than the one at hand.
var ErrOtherKey = errors.New("sealed under another key")

// ID names a data key and tells nothing of it. Headers have its first four bytes.
type ID [32]byte

// Short is what headers have of the ID.
func (id ID) Short() uint32 { return binary.BigEndian.Uint32(id[:]) }

// Key seals and opens chunks under a network's data key.
type Key struct {
	id     ID
	secret [SecretLen]byte
	encs   sync.Pool // of *blake3.Hasher, keyed by encKey
	sivs   sync.Pool // of *blake3.Hasher, keyed by sivKey
	codec  form.Codec
}

// New is the key for a secret.
func New(secret [SecretLen]byte) *Key {
	k := &Key{id: IDOf(secret), secret: secret}
	var enc, siv [32]byte
	blake3.DeriveKey(contextEnc, secret[:], enc[:])
	blake3.DeriveKey(contextSIV, secret[:], siv[:])
	k.encs.New = func() any { return keyed(enc) }
	k.sivs.New = func() any { return keyed(siv) }
	return k
}

// IDOf is the ID of a secret.
func IDOf(secret [SecretLen]byte) (id ID) {
	blake3.DeriveKey(contextID, secret[:], id[:])
	return id
}

// ID names the key.
func (k *Key) ID() ID { return k.id }

// Secret is the data key itself. It leaves a pod sealed only.
func (k *Key) Secret() [SecretLen]byte { return k.secret }

// Derive is a key for another use than sealing, told apart by its name.
func (k *Key) Derive(use string) (key [32]byte) {
	blake3.DeriveKey(contextUse+use, k.secret[:], key[:])
	return key
}

func keyed(key [32]byte) *blake3.Hasher {
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic("seal: a key of 32 bytes was refused: " + err.Error())
	}
	return h
}

// Seal appends the sealed bytes of a chunk to dst: at most block.SealOverhead more than plain has, which has block.ChunkMax at most.
// On the way up to an eighth of plain more is appended. dst and plain don't overlap. sum is the BLAKE3-256 of plain.
func (k *Key) Seal(dst, plain []byte) (sealed []byte, sum [32]byte, err error) {
	return k.seal(dst, plain, k.codec.Encode)
}

// SealRaw is Seal of bytes that are not compressed before.
func (k *Key) SealRaw(dst, plain []byte) (sealed []byte, sum [32]byte, err error) {
	return k.seal(dst, plain, func(b, plain []byte) ([]byte, block.Form, error) { return append(b, plain...), block.FormRaw, nil })
}

func (k *Key) seal(dst, plain []byte, encode func(b, plain []byte) ([]byte, block.Form, error)) (sealed []byte, sum [32]byte, err error) {
	if len(plain) > block.ChunkMax {
		return nil, sum, fmt.Errorf("seal: %d bytes, over the limit of %d: %w", len(plain), block.ChunkMax, block.ErrCorrupt)
	}
	start := len(dst)
	dst = append(dst, make([]byte, dataAt)...)
	dst, f, err := encode(dst, plain)
	if err != nil {
		return nil, sum, fmt.Errorf("seal: %w", err)
	}
	sum = blake3.Sum256(plain)
	digest := sum
	compressed := dst[start+dataAt:]
	if f != block.FormRaw {
		digest = blake3.Sum256(compressed)
	}
	h := block.Header{Scheme: block.SchemeSealed, Form: f, KeyID: k.id.Short(), PlainLen: uint32(len(plain))}
	header := h.Append(dst[start:start])
	siv := k.siv(header, digest)
	copy(dst[start+sivStart:], siv[:])
	aead, err := k.aead(siv[:])
	if err != nil {
		return nil, sum, err
	}
	return aead.Seal(dst[:start+dataAt], zeroNonce[:], compressed, header), sum, nil
}

// Open is the plain bytes of a chunk. They may lie in the memory of sealed, which is overwritten, and belong to the
// caller as far as sealed does. Errors: ErrOtherKey, and block.ErrCorrupt for what Seal did not write.
func (k *Key) Open(sealed []byte) ([]byte, error) {
	h, err := block.ParseSealedHeader(sealed)
	if err != nil {
		return nil, fmt.Errorf("seal: open: %w", err)
	}
	n := len(sealed) - dataAt - tagLen
	switch {
	case h.KeyID != k.id.Short():
		return nil, fmt.Errorf("seal: open: key %08x, this pod has %08x: %w", h.KeyID, k.id.Short(), ErrOtherKey)
	case n < 0 || n > int(h.PlainLen) || h.Form == block.FormRaw && n != int(h.PlainLen):
		return nil, fmt.Errorf("seal: open: %d bytes, header says %d plain ones: %w", len(sealed), h.PlainLen, block.ErrCorrupt)
	}
	header, siv := sealed[:sivStart], sealed[sivStart:dataAt]
	aead, err := k.aead(siv)
	if err != nil {
		return nil, err
	}
	compressed, err := aead.Open(sealed[dataAt:dataAt], zeroNonce[:], sealed[dataAt:], header)
	if err != nil {
		return nil, fmt.Errorf("seal: open: %w: %w", err, block.ErrCorrupt)
	}
	// GCM binds no ciphertext to one key; the siv does, and holds the chunk to the one that Seal writes for its bytes.
	if want := k.siv(header, blake3.Sum256(compressed)); subtle.ConstantTimeCompare(siv, want[:]) != 1 {
		return nil, fmt.Errorf("seal: open: synthetic nonce differs: %w", block.ErrCorrupt)
	}
	plain, err := k.codec.Decode(h, compressed, nil)
	if err != nil {
		return nil, fmt.Errorf("seal: open: %w", err)
	}
	return plain, nil
}

var zeroNonce [12]byte

// siv is the synthetic nonce of a chunk; digest is of its compressed bytes.
func (k *Key) siv(header []byte, digest [32]byte) [sivLen]byte {
	return sumBy(&k.sivs, header, digest[:])
}

// aead is the cipher of the chunk with a siv.
func (k *Key) aead(siv []byte) (cipher.AEAD, error) {
	chunkKey := sumBy(&k.encs, siv)
	cipherBlock, err := aes.NewCipher(chunkKey[:])
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCM(cipherBlock)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return aead, nil
}

// sumBy is the digest of the parts by a hasher of a pool.
func sumBy(pool *sync.Pool, parts ...[]byte) (out [32]byte) {
	hasher := pool.Get().(*blake3.Hasher) //nolint:errcheck,forcetypeassert // the pools have only these
	hasher.Reset()
	for _, p := range parts {
		_, _ = hasher.Write(p) // it never fails
	}
	hasher.Sum(out[:0])
	pool.Put(hasher)
	return out
}
