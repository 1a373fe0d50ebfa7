package block

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/zeebo/blake3"
)

// Codec says what the bytes that an ID names are: a multicodec code below 128.
type Codec byte

// The codecs in use; every other one is refused.
const (
	Raw     Codec = cid.Raw          // a chunk: bytes of a file
	DagCBOR Codec = cid.DagCBOR      // a node: links to other blocks
	idLen         = 4 + HashLen      // version, codec, hash code, hash length, hash
	hashFn        = multihash.BLAKE3 // BLAKE3 with 256 bits
)

// HashLen is the length of a BLAKE3-256 digest in bytes.
const HashLen = 32

// IDLen is the length of an ID's binary form in bytes.
const IDLen = idLen

// Errors that every holder of blocks returns, wrapped; test them with errors.Is.
var (
	// ErrNotFound says that no block of this ID is held where it was asked for.
	ErrNotFound = errors.New("block not found")
	// ErrCorrupt says that bytes were found which do not have the hash, length or form that they must have.
	ErrCorrupt = errors.New("corrupt data")
	// ErrUnavailable says that a block exists, or should, but that no pod which holds it can be reached now.
	ErrUnavailable = errors.New("unavailable: no pod that holds it can be reached")
	// ErrBadID says that a text or bytes are no CID of a kind that is used here.
	ErrBadID = errors.New("no valid CID")
)

// ID is the CID, version 1, of a block: codec raw or dag-cbor, multihash BLAKE3-256.
// The zero value names no block. IDs are comparable and may be keys of maps.
type ID struct {
	b [idLen]byte
}

// Sum is the ID of data under a codec.
func Sum(c Codec, data []byte) ID {
	id := prefix(c)
	h := blake3.Sum256(data)
	copy(id.b[4:], h[:])
	return id
}

// FromHash is the ID with a codec and a BLAKE3-256 digest.
func FromHash(c Codec, hash [HashLen]byte) ID {
	id := prefix(c)
	copy(id.b[4:], hash[:])
	return id
}

func prefix(c Codec) ID {
	return ID{b: [idLen]byte{1, byte(c), byte(hashFn), HashLen}}
}

// FromBytes reads an ID's binary form, which Bytes writes; the error is ErrBadID.
func FromBytes(b []byte) (ID, error) {
	if len(b) != idLen {
		return ID{}, fmt.Errorf("%w: %d bytes instead of %d", ErrBadID, len(b), idLen)
	}
	var id ID
	copy(id.b[:], b)
	if p := prefix(id.Codec()); !bytes.Equal(p.b[:4], b[:4]) || (id.Codec() != Raw && id.Codec() != DagCBOR) {
		return ID{}, fmt.Errorf("%w: prefix %x, not CIDv1 raw or dag-cbor with BLAKE3-256", ErrBadID, b[:4])
	}
	return id, nil
}

// Parse reads an ID's text form, in any multibase; the error is ErrBadID.
func Parse(s string) (ID, error) {
	c, err := cid.Decode(s)
	if err != nil {
		return ID{}, fmt.Errorf("%w: %q: %w", ErrBadID, s, err)
	}
	return FromBytes(c.Bytes())
}

// Codec is the codec of the bytes that the ID names.
func (id ID) Codec() Codec { return Codec(id.b[1]) }

// Hash is the BLAKE3-256 digest in the ID.
func (id ID) Hash() [HashLen]byte { return [HashLen]byte(id.b[4:]) }

// Multihash is the ID without version and codec; the caller owns the bytes.
func (id ID) Multihash() []byte { return bytes.Clone(id.b[2:]) }

// Bytes is the binary form; the caller owns it.
func (id ID) Bytes() []byte { return bytes.Clone(id.b[:]) }

// Append appends the binary form to b.
func (id ID) Append(b []byte) []byte { return append(b, id.b[:]...) }

// IsZero says whether the ID names no block.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders IDs by their bytes: -1, 0 or +1.
func (id ID) Compare(other ID) int { return bytes.Compare(id.b[:], other.b[:]) }

// String is the text form in base32, or "" for the zero ID.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	c, err := cid.Cast(id.b[:])
	if err != nil {
		return fmt.Sprintf("bad-cid-%x", id.b)
	}
	return c.String()
}

// MarshalText is String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is Parse; an empty text is the zero ID.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	got, err := Parse(string(b))
	if err != nil {
		return err
	}
	*id = got
	return nil
}

// Verify says whether data is what the ID names; if not, the error is ErrCorrupt.
func (id ID) Verify(data []byte) error {
	if Sum(id.Codec(), data) != id {
		return fmt.Errorf("block: %s: hash differs over %d bytes: %w", id, len(data), ErrCorrupt)
	}
	return nil
}
