package dag

import (
	"bytes"
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// BuildBody makes the body of entries in order: they stand in it as long as its encoding has at most EmbedMax
// bytes, else in a tree whose nodes are put. Neighbours that can be joined are: holes, and stretches of a chunk that
// follow each other there. Equal input gives the equal body. Without entries it is the empty body, without sum
// and params. Errors: ErrBadEntry, ErrTooLarge, the Putter's.
func BuildBody(ctx context.Context, put block.Putter, entries []Entry, sum [32]byte, params []byte) (Body, error) {
	entries, size, err := normalise(entries)
	if err != nil {
		return Body{}, err
	}
	if len(params) > ParamsMax {
		return Body{}, fmt.Errorf("dag: params of %d bytes: %w", len(params), ErrTooLarge)
	}
	b := Body{Size: size, Sum: sum, Params: bytes.Clone(params)}
	return b.withNodes(ctx, put, packEntries(entries))
}

// withNodes is b, whose size, sum and params are set, with the content of nodes of one depth: entries if there is
// room, else a tree, which is put.
func (b Body) withNodes(ctx context.Context, put block.Putter, nodes []*bodyNode) (Body, error) {
	b.Inline, b.Entries, b.Tree, b.Depth = nil, nil, block.ID{}, 0
	for len(nodes) > 1 {
		var err error
		if nodes, err = packNodes(ctx, put, nodes); err != nil {
			return Body{}, err
		}
	}
	if len(nodes) == 0 {
		return Body{}, nil
	}
	root := nodes[0]
	if root.depth == 1 && len(root.entries) <= embedEntriesMax {
		embedded := b
		embedded.Entries = root.entries
		if len(embedded.Encode()) <= EmbedMax {
			return embedded, nil
		}
	}
	if err := root.put(ctx, put); err != nil {
		return Body{}, err
	}
	b.Tree, b.Depth = root.id, uint8(root.depth)
	return b, nil
}

// root is the root of the body's entries, as a tree. An inline body has none.
func (b Body) root(ctx context.Context, get block.Getter) (*bodyNode, error) {
	if b.Tree.IsZero() {
		return &bodyNode{length: b.Size, depth: 1, entries: b.Entries}, nil
	}
	n := &bodyNode{length: b.Size, depth: int(b.Depth), id: b.Tree}
	if err := n.load(ctx, get, true); err != nil {
		return nil, err
	}
	return n, b.checkRoot(n.items(), len(n.encode()))
}

// checkRoot says what is wrong with the number of items and the bytes of the root of the body's tree: one above entries has
// two children at least, and entries that have room in the body itself have no tree.
func (b Body) checkRoot(count, size int) error {
	if b.Depth > 1 {
		if count < 2 {
			return corruptf("body", "a root with %d child", count)
		}
		return nil
	}
	// In both the same array of entries stands behind a head; an inline body of no bytes has one byte there.
	const nodeHead, none = 3, 1
	b.Tree, b.Depth = block.ID{}, 0
	var buf [128 + ParamsMax]byte
	if len(b.append(buf[:0]))-none+size-nodeHead <= EmbedMax {
		return corruptf("body", "a tree where %d entries have room", count)
	}
	return nil
}
