package state

import (
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Root is a state root: all rows, and the version vector under which they stand.
type Root struct {
	Network ident.Network
	Rows    block.ID // the tree of rows; zero: there are none
	VV      VV
}

// DecodeRoot reads the block of a state root. The error is block.ErrCorrupt.
func DecodeRoot(b []byte) (Root, error) {
	r := cbor.NewReader(b)
	r.Tuple(4)
	if v := r.Uint(); v != stateVersion {
		r.Fail("version %d of the state root's format is not known", v)
	}
	root := Root{Network: readDigest(r), Rows: readLink(r), VV: readVV(r)}
	if err := r.Done(); err != nil {
		return Root{}, corrupt("state root", err)
	}
	return root, nil
}

// RowNode is what a node of the tree of rows links to: the nodes of the level below, or, in a leaf (level 0), the raw blocks of
// rows that are too long for the tree.
type RowNode struct {
	Level int
	Links []block.ID
}

// DecodeRowNode reads a node of the tree of rows, but for what the rows say. The error is block.ErrCorrupt.
func DecodeRowNode(plain []byte) (RowNode, error) {
	n, err := dag.DecodeMapNode(plain)
	if err != nil {
		return RowNode{}, err
	}
	out := RowNode{Level: n.Level}
	for _, kv := range n.Items {
		var id block.ID
		if n.Level > 0 {
			id, err = block.FromBytes(kv.Value)
		} else {
			id, err = longRow(kv.Value)
		}
		if err != nil {
			return RowNode{}, corrupt(fmt.Sprintf("item %x of the tree of rows", kv.Key), err)
		}
		if !id.IsZero() {
			out.Links = append(out.Links, id)
		}
	}
	return out, nil
}

// longRow is the block that stands for a row's versions in the tree of rows; zero if they stand there themselves, as an array.
func longRow(value []byte) (block.ID, error) {
	if len(value) == 0 || value[0]>>5 == cborArray {
		return block.ID{}, nil
	}
	r := cbor.NewReader(value)
	b := r.Link(block.IDLen)
	if err := r.Done(); err != nil {
		return block.ID{}, err
	}
	id, err := block.FromBytes(b)
	if err == nil && id.Codec() != block.Raw {
		err = errors.New("a row's block is a node")
	}
	return id, err
}

// longRowLink is what stands for a row's block in the tree of rows.
func longRowLink(id block.ID) []byte { return cbor.AppendLink(nil, id.Bytes()) }

// cborArray is the major type of arrays (RFC 8949, section 3.1).
const cborArray = 4
