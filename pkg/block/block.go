// Package block is the vocabulary of stored objects: their names (ID), the header that says how
// one is stored (Header), and the small interfaces by which blocks are got and put.
//
// A block is a chunk (bytes of a file, on encrypted networks sealed) or a node (DAG-CBOR that links to others). Its ID names the
// uncompressed bytes; how they are stored, plain or compressed, stands in the header outside them.
//
// All types are values and safe for concurrent use.
package block

import "context"

// Limits of blocks.
const (
	ChunkMax     = 4 << 20 // bytes of a file in one chunk (DESIGN section 3)
	NodeMax      = 1 << 20 // bytes of a node
	SealOverhead = 64      // bytes that sealing adds to a chunk: a Header, 32 of synthetic nonce, 16 of tag (package seal)
)

// SizeMax is the most bytes that an ID may name: of a chunk as many as a sealed one has.
func SizeMax(id ID) int {
	if id.Codec() == Raw {
		return ChunkMax + SealOverhead
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

// Block is an ID and the bytes that it names.
type Block struct {
	ID    ID
	Plain []byte
}

// ManyPutter is a Putter that puts many blocks at less cost than one after the other.
type ManyPutter interface {
	// PutMany is Put for each block; an ID may be there twice. After an error some are stored.
	PutMany(ctx context.Context, blocks []Block) error
}

// PutAll puts blocks, many at once where p is a ManyPutter. After an error some are stored.
func PutAll(ctx context.Context, p Putter, blocks []Block) error {
	if many, ok := p.(ManyPutter); ok {
		return many.PutMany(ctx, blocks)
	}
	for i := range blocks {
		if err := p.Put(ctx, blocks[i].ID, blocks[i].Plain); err != nil {
			return err
		}
	}
	return nil
}
