// Package block is the vocabulary of stored objects: their names (ID), the header that says how
// one is stored (Header), and the small interfaces by which blocks are got and put.
//
// A block is a chunk (bytes of a file) or a node (DAG-CBOR that links to others). Its ID names the
// plain bytes; how they are stored, plain or compressed, stands in the header outside them.
//
// All types are values and safe for concurrent use.
package block

import "context"

// Limits of a block's plain bytes.
const (
	ChunkMax = 4 << 20 // bytes of a chunk (DESIGN section 3)
	NodeMax  = 1 << 20 // bytes of a node
)

// SizeMax is the most plain bytes that a block of this ID may have.
func SizeMax(id ID) int {
	if id.Codec() == Raw {
		return ChunkMax
	}
	return NodeMax
}

// Getter gets blocks. It is safe for concurrent use.
type Getter interface {
	// Get returns the plain bytes of a block, verified against its ID. They are shared: the caller
	// must not change them. Errors: ErrNotFound, ErrUnavailable, ErrCorrupt, the context's.
	Get(ctx context.Context, id ID) ([]byte, error)
}

// Putter puts blocks. It is safe for concurrent use.
type Putter interface {
	// Put stores a block's plain bytes under the ID that the caller computed from them; a block
	// that is there already is no error. The bytes are not kept after the return. Whether they are
	// durable then, the implementation says.
	Put(ctx context.Context, id ID, plain []byte) error
}

// Store gets and puts blocks.
type Store interface {
	Getter
	Putter
}
