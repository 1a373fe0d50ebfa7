// Package dag is the shape of stored data: what a file holds (Body), sorted maps of keys and values
// (prolly trees), and the folders of the view (Folder nodes), all of blocks that name each other by CID.
//
// # Nodes
//
// Every node is one canonical DAG-CBOR array (package cbor) that begins with its type:
//
//	1  body             [1, form, size, content, sum, params]     a file's bytes: Body
//	2  body tree node   [2, depth, items]                         entries, or nodes of the depth below
//	3  map node         [3, level, items]                         keys and values, or nodes of the level below
//	4  folder           [4, mode, uid, gid, mtime, entries, size, map node as bytes]
//
// A body's entries are keyed by nothing but their order and lengths, so that equal stretches of two bodies
// share their tree nodes wherever they stand. See Body, BuildBody and Splice.
//
// # Prolly trees
//
// A map is cut into nodes where the hashes of its keys say so: the same content gives the same root,
// whatever the order of edits. An item's width is the length of its encoding in bytes; x is the
// sum of the widths of a node's items so far, the last one included. A node ends after an item if
//
//	be32(BLAKE3(level, key)) < width << shift(x)          in 64 bits
//
//	x < 512        never
//	x < 2048       shift 19: a chance of 1/8192 for each byte
//	x < 4096       shift 20: 1/4096
//	x < 8192       shift 21: 1/2048
//	else           shift 22: 1/1024
//
// and before an item with which x would pass 16384; so a wider item stands alone in its node. Above
// level 0 no node ends before it has two items. With these chances a node has 4 KiB on average. An item
// above level 0 is the first key of a node and its ID. The level on which a single node remains is the
// top; no tree at all, the zero ID, is the empty map.
//
// # Promises
//
// All decoders are strict: what they accept, encoding again gives the same bytes; what they refuse is
// block.ErrCorrupt. Depth, width and sizes are bounded, and a node is believed only as far as what its parent says of it
// holds. Getters are trusted to have verified a block's hash. Trees made by others can be not canonical, which
// costs equality of roots, not safety.
//
// All functions are safe for concurrent use; values are immutable once made. An error of a Getter or Putter comes
// back wrapped.
package dag

import (
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// Types of nodes: the first item of each.
const (
	typeBody     = 1
	typeBodyNode = 2
	typeMapNode  = 3
	typeFolder   = 4
)

// corrupt says that the bytes of something are not what they must be.
func corrupt(what string, err error) error {
	return fmt.Errorf("dag: %s: %w: %w", what, block.ErrCorrupt, err)
}

// corruptf is corrupt with the reason in words.
func corruptf(what, format string, args ...any) error {
	return fmt.Errorf("dag: %s: %s: %w", what, fmt.Sprintf(format, args...), block.ErrCorrupt)
}

// readLink reads a link to a block of a codec.
func readLink(r *cbor.Reader, codec block.Codec) block.ID {
	b := r.Link(block.IDLen)
	if r.Err() != nil {
		return block.ID{}
	}
	id, err := block.FromBytes(b)
	if err != nil || id.Codec() != codec {
		r.Fail("no CID of codec %#x", byte(codec))
		return block.ID{}
	}
	return id
}

// appendLink appends a link to a block.
func appendLink(b []byte, id block.ID) []byte {
	var raw [block.IDLen]byte
	return cbor.AppendLink(b, id.Append(raw[:0]))
}

// readType reads the head of a node: an array of n items, the first of which is its type.
func readType(r *cbor.Reader, n int, typ uint64) {
	r.Tuple(n)
	if got := r.Uint(); r.Err() == nil && got != typ {
		r.Fail("node of type %d instead of %d", got, typ)
	}
}

// putNode puts an encoded node.
func putNode(ctx context.Context, put block.Putter, data []byte) (block.ID, error) {
	id := block.Sum(block.DagCBOR, data)
	if err := put.Put(ctx, id, data); err != nil {
		return block.ID{}, fmt.Errorf("dag: put node %s: %w", id, err)
	}
	return id, nil
}

// getNode gets a node's bytes.
func getNode(ctx context.Context, get block.Getter, id block.ID) ([]byte, error) {
	data, err := get.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("dag: get node %s: %w", id, err)
	}
	if len(data) > block.NodeMax {
		return nil, corruptf("node "+id.String(), "%d bytes, over the limit of %d", len(data), block.NodeMax)
	}
	return data, nil
}
