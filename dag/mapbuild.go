package dag

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// BuildTree puts a map of items, whose keys must ascend, and returns its root: zero for no items. It holds one node
// in memory and the IDs of all. Errors: ErrOrder, ErrTooLarge, the sequence's, the Putter's.
func BuildTree(ctx context.Context, put block.Putter, items iter.Seq2[KV, error]) (block.ID, error) {
	b := &mapBuilder{put: put}
	for kv, err := range items {
		if err != nil {
			return block.ID{}, err
		}
		if err := b.add(ctx, kv); err != nil {
			return block.ID{}, err
		}
	}
	if err := b.flush(ctx); err != nil {
		return block.ID{}, err
	}
	return buildUp(ctx, put, 1, b.nodes)
}

// buildUp builds the levels from this one up over the nodes of the level below it, until one is left.
func buildUp(ctx context.Context, put block.Putter, level int, nodes []KV) (block.ID, error) {
	for ; len(nodes) > 1; level++ {
		if level > levelMax {
			return block.ID{}, fmt.Errorf("dag: map of over %d levels: %w", levelMax, ErrTooLarge)
		}
		b := &mapBuilder{put: put, level: level}
		for _, kv := range nodes {
			if err := b.add(ctx, kv); err != nil {
				return block.ID{}, err
			}
		}
		if err := b.flush(ctx); err != nil {
			return block.ID{}, err
		}
		nodes = b.nodes
	}
	if len(nodes) == 0 {
		return block.ID{}, nil
	}
	return block.FromBytes(nodes[0].Value)
}

// mapBuilder cuts the items of one level into nodes and puts them.
type mapBuilder struct {
	put   block.Putter
	known func(id block.ID) bool // nil, or: this node is stored already
	level int

	items []KV // of the node that is being filled
	size  int  // bytes of these
	last  []byte
	nodes []KV // first key and ID of each node that is done
}

// add adds the next item. It is kept until its node is done, its key as long as the builder.
func (b *mapBuilder) add(ctx context.Context, kv KV) error {
	switch {
	case len(kv.Key) == 0 || len(kv.Key) > KeyMax:
		return fmt.Errorf("dag: key of %d bytes: %w", len(kv.Key), ErrTooLarge)
	case len(kv.Value) > ValueMax:
		return fmt.Errorf("dag: value of %d bytes, over the limit of %d: %w", len(kv.Value), ValueMax, ErrTooLarge)
	case b.last != nil && bytes.Compare(b.last, kv.Key) >= 0:
		return fmt.Errorf("dag: key %x after %x: %w", kv.Key, b.last, ErrOrder)
	}
	if err := b.flushBefore(ctx, kv); err != nil {
		return err
	}
	w := width(b.level, kv)
	b.items = append(b.items, kv)
	b.size += w
	b.last = kv.Key
	if boundary(b.level, kv.Key, len(b.items), b.size, w) {
		return b.flush(ctx)
	}
	return nil
}

// flushBefore ends the node if it has no room for the next item.
func (b *mapBuilder) flushBefore(ctx context.Context, kv KV) error {
	if full(b.level, len(b.items), b.size, width(b.level, kv)) {
		return b.flush(ctx)
	}
	return nil
}

// flush ends the node, if it has items.
func (b *mapBuilder) flush(ctx context.Context) error {
	if len(b.items) == 0 {
		return nil
	}
	n := mapNode{level: b.level, items: b.items}
	data := n.encode()
	id := block.Sum(block.DagCBOR, data)
	if b.known == nil || !b.known(id) {
		if err := b.put.Put(ctx, id, data); err != nil {
			return fmt.Errorf("dag: put node %s: %w", id, err)
		}
	}
	b.nodes = append(b.nodes, KV{Key: n.first(), Value: id.Bytes()})
	b.items, b.size = b.items[:0], 0
	return nil
}
