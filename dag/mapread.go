package dag

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// ErrStop ends a walk without an error, when the function that WalkTree or DiffTree calls returns it.
var ErrStop = errors.New("stop")

// GetTree returns the value of a key in the map with this root, and whether it is there.
func GetTree(ctx context.Context, get block.Getter, root block.ID, key []byte) ([]byte, bool, error) {
	if root.IsZero() {
		return nil, false, nil
	}
	n, err := loadMapNode(ctx, get, root)
	if err != nil {
		return nil, false, err
	}
	for {
		i := n.find(key, true)
		if i < 0 {
			return nil, false, nil
		}
		if n.level == 0 {
			return n.items[i].Value, bytes.Equal(n.items[i].Key, key), nil
		}
		if n, err = n.loadChild(ctx, get, i); err != nil {
			return nil, false, err
		}
	}
}

// WalkTree calls f for the items of a map in order, from the first key that is not less than from (nil: the
// first of all). An error of f ends it and is returned as it is, but ErrStop as nil.
func WalkTree(ctx context.Context, get block.Getter, root block.ID, from []byte, f func(KV) error) error {
	c, err := newMapCursor(ctx, get, root)
	if err != nil {
		return err
	}
	for !c.done() {
		switch kv, n, i := c.at(); {
		case n.level > 0 && i+1 < len(n.items) && bytes.Compare(n.items[i+1].Key, from) <= 0,
			n.level == 0 && bytes.Compare(kv.Key, from) < 0:
			c.skip() // All of it is before from.
		case n.level > 0:
			err = c.descend(ctx)
		default:
			if err = f(kv); err == nil {
				c.skip()
			}
		}
		if errors.Is(err, ErrStop) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mapCursor stands at an item of any level: a key with its value, or a subtree.
type mapCursor struct {
	get   block.Getter
	stack []mapFrame
}

type mapFrame struct {
	n *mapNode
	i int
}

// newMapCursor stands at the first item of the root node.
func newMapCursor(ctx context.Context, get block.Getter, root block.ID) (*mapCursor, error) {
	c := &mapCursor{get: get}
	if root.IsZero() {
		return c, nil
	}
	n, err := loadMapNode(ctx, get, root)
	if err != nil {
		return nil, err
	}
	c.stack = append(c.stack, mapFrame{n: n})
	return c, nil
}

func (c *mapCursor) done() bool { return len(c.stack) == 0 }

// at is the item, the node that it is in, and its index there.
func (c *mapCursor) at() (KV, *mapNode, int) {
	f := c.stack[len(c.stack)-1]
	return f.n.items[f.i], f.n, f.i
}

// skip goes to what comes after the item and all below it.
func (c *mapCursor) skip() {
	for len(c.stack) > 0 {
		f := &c.stack[len(c.stack)-1]
		if f.i++; f.i < len(f.n.items) {
			return
		}
		c.stack = c.stack[:len(c.stack)-1]
	}
}

// descend goes to the first item of the subtree that it stands at. It refuses one that reaches beyond the
// subtree after it.
func (c *mapCursor) descend(ctx context.Context) error {
	f := c.stack[len(c.stack)-1]
	kid, err := f.n.loadChild(ctx, c.get, f.i)
	if err != nil {
		return err
	}
	if next := c.next(); next != nil && bytes.Compare(kid.last(), next) >= 0 {
		return overlap(kid, next)
	}
	c.stack = append(c.stack, mapFrame{n: kid})
	return nil
}

// next is the key of what comes after the item and all below it, or nil.
func (c *mapCursor) next() []byte {
	for _, f := range slices.Backward(c.stack) {
		if f.i+1 < len(f.n.items) {
			return f.n.items[f.i+1].Key
		}
	}
	return nil
}

// TreeNodes calls f for every node of a map, the root included, a node before those below it. An error of f ends
// it and is returned as it is.
func TreeNodes(ctx context.Context, get block.Getter, root block.ID, f func(id block.ID) error) error {
	if root.IsZero() {
		return nil
	}
	if err := f(root); err != nil {
		return err
	}
	n, err := loadMapNode(ctx, get, root)
	if err != nil {
		return err
	}
	return n.nodesBelow(ctx, get, f)
}

func (n *mapNode) nodesBelow(ctx context.Context, get block.Getter, f func(id block.ID) error) error {
	if n.level == 0 {
		return nil
	}
	for i := range n.items {
		id, err := n.child(i)
		if err != nil {
			return corrupt("map node", err)
		}
		if err := f(id); err != nil {
			return err
		}
		if n.level == 1 {
			continue // A leaf need not be read: it links to no nodes of the map.
		}
		kid, err := n.loadChild(ctx, get, i)
		if err != nil {
			return err
		}
		if err := kid.nodesBelow(ctx, get, f); err != nil {
			return err
		}
	}
	return nil
}
