package dag

import (
	"bytes"
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Edit sets a key's value, or removes the key if Value is nil. An empty value is not nil.
type Edit struct{ Key, Value []byte }

// EditTree applies edits, whose keys must ascend, to the map with this root (zero: empty), and returns the new root: that
// which BuildTree gives for the result. It reads and puts O(edits) nodes of each level: those that
// change, now and then a neighbour. Removing a key that is not there is no error. Errors: ErrOrder, ErrTooLarge,
// block.ErrCorrupt, the Store's.
func EditTree(ctx context.Context, st block.Store, root block.ID, edits []Edit) (block.ID, error) {
	for i, e := range edits {
		if i > 0 && bytes.Compare(edits[i-1].Key, e.Key) >= 0 {
			return block.ID{}, fmt.Errorf("dag: edit of key %x after %x: %w", e.Key, edits[i-1].Key, ErrOrder)
		}
	}
	if root.IsZero() {
		b := &mapBuilder{put: st}
		if err := b.merge(ctx, nil, edits); err != nil {
			return block.ID{}, err
		}
		if err := b.flush(ctx); err != nil {
			return block.ID{}, err
		}
		return buildUp(ctx, st, 1, b.nodes)
	}
	if len(edits) == 0 {
		return root, nil
	}
	ed := &mapEditor{st: st, root: root, nodes: make(map[block.ID]*mapNode)}
	return ed.edit(ctx, edits)
}

// mapEditor applies edits level by level: what changes on one is a list of edits for the level above it.
type mapEditor struct {
	st    block.Store
	root  block.ID
	top   *mapNode              // root's node
	nodes map[block.ID]*mapNode // all that was read
}

func (ed *mapEditor) edit(ctx context.Context, edits []Edit) (block.ID, error) {
	var err error
	if ed.top, err = loadMapNode(ctx, ed.st, ed.root); err != nil {
		return block.ID{}, err
	}
	ed.nodes[ed.root] = ed.top
	var made []KV
	for level := 0; level <= ed.top.level; level++ {
		var gone []KV
		if gone, made, err = ed.editLevel(ctx, level, edits); err != nil {
			return block.ID{}, err
		}
		if edits = changes(gone, made); len(edits) == 0 {
			return ed.root, nil
		}
	}
	// All nodes of the old root's level are new.
	root, err := buildUp(ctx, ed.st, ed.top.level+1, made)
	if err != nil || root.IsZero() {
		return block.ID{}, err
	}
	return lowest(ctx, ed.st, root)
}

// lowest goes down from a root while it has one child only, which a map's root has not.
func lowest(ctx context.Context, get block.Getter, root block.ID) (block.ID, error) {
	for {
		n, err := loadMapNode(ctx, get, root)
		if err != nil {
			return block.ID{}, err
		}
		if n.level == 0 || len(n.items) > 1 {
			return root, nil
		}
		if root, err = n.child(0); err != nil {
			return block.ID{}, corrupt("map node", err)
		}
	}
}

// changes compares the nodes that are gone from a level with those made in their place: the edits of the level above.
func changes(gone, made []KV) []Edit {
	var edits []Edit
	for len(gone) > 0 || len(made) > 0 {
		var c int
		switch {
		case len(gone) == 0:
			c = 1
		case len(made) == 0:
			c = -1
		default:
			c = bytes.Compare(gone[0].Key, made[0].Key)
		}
		switch {
		case c < 0:
			edits = append(edits, Edit{Key: gone[0].Key})
		case c > 0 || !bytes.Equal(gone[0].Value, made[0].Value):
			edits = append(edits, Edit{Key: made[0].Key, Value: made[0].Value})
		}
		if c <= 0 {
			gone = gone[1:]
		}
		if c >= 0 {
			made = made[1:]
		}
	}
	return edits
}

// editLevel applies edits to the items of one level. It returns the nodes of that level which are gone and those
// made in their place, in order.
//
// Where a node ends depends on its own items and, if it is full, on the item after it. So each run
// of changes begins at the node with the last item before an edit, and ends where the builder ends a node at
// the place where an old one ended.
func (ed *mapEditor) editLevel(ctx context.Context, level int, edits []Edit) (gone, made []KV, err error) {
	b := &mapBuilder{put: ed.st, level: level, known: ed.known}
	c := &levelCursor{ed: ed, level: level}
	if err := c.seek(ctx, edits[0].Key); err != nil {
		return nil, nil, err
	}
	for {
		node, id, err := c.node(ctx)
		if err != nil {
			return nil, nil, err
		}
		gone = append(gone, KV{Key: node.first(), Value: id.Bytes()})
		more, err := c.next(ctx)
		if err != nil {
			return nil, nil, err
		}
		here := edits
		if more {
			if bytes.Compare(node.last(), c.first()) >= 0 {
				return nil, nil, overlap(node, c.first())
			}
			here = editsBefore(edits, c.first())
		}
		if err := b.merge(ctx, node.items, here); err != nil {
			return nil, nil, err
		}
		if edits = edits[len(here):]; !more {
			break
		}
		resume, err := c.resume(ctx, b, edits)
		if err != nil {
			return nil, nil, err
		}
		if !resume {
			break
		}
	}
	if err := b.flush(ctx); err != nil {
		return nil, nil, err
	}
	return gone, b.nodes, nil
}

// resume goes to the node that is to be read next, the current one or a later one, and says whether
// there is any: not if the builder ended a node before the current one and no edits are left.
func (c *levelCursor) resume(ctx context.Context, b *mapBuilder, edits []Edit) (bool, error) {
	firstStays := len(edits) == 0 || !bytes.Equal(edits[0].Key, c.first())
	if firstStays && len(b.items) > 0 {
		node, _, err := c.node(ctx)
		if err != nil {
			return false, err
		}
		if err := b.flushBefore(ctx, node.items[0]); err != nil {
			return false, err
		}
	}
	switch {
	case len(b.items) > 0:
		return true, nil
	case len(edits) == 0:
		return false, nil
	case firstStays:
		return true, c.seek(ctx, edits[0].Key)
	}
	return true, nil
}

// editsBefore is the edits of keys less than key.
func editsBefore(edits []Edit, key []byte) []Edit {
	n := 0
	for n < len(edits) && bytes.Compare(edits[n].Key, key) < 0 {
		n++
	}
	return edits[:n]
}

// merge adds items with edits applied.
func (b *mapBuilder) merge(ctx context.Context, items []KV, edits []Edit) error {
	for len(items) > 0 || len(edits) > 0 {
		var c int
		switch {
		case len(items) == 0:
			c = 1
		case len(edits) == 0:
			c = -1
		default:
			c = bytes.Compare(items[0].Key, edits[0].Key)
		}
		var kv KV
		if c < 0 {
			kv = items[0]
		} else {
			kv = KV(edits[0])
			edits = edits[1:]
		}
		if c <= 0 {
			items = items[1:]
		}
		if kv.Value == nil {
			continue
		}
		if err := b.add(ctx, kv); err != nil {
			return err
		}
	}
	return nil
}

// known says that a node is a block of the old map. Its top is not counted: that of a folder's map is no block of its
// own (topStore), and has to become one if the map grows over it.
func (ed *mapEditor) known(id block.ID) bool { return id != ed.root && ed.nodes[id] != nil }

// levelCursor stands at a node of one level.
type levelCursor struct {
	ed    *mapEditor
	level int
	stack []mapFrame // from the top down to the level above; empty on the level of the top
}

// seek goes to the node with the last item before key, or to the first node.
func (c *levelCursor) seek(ctx context.Context, key []byte) error {
	c.stack = c.stack[:0]
	for n := c.ed.top; n.level > c.level; {
		i := max(n.find(key, false), 0)
		c.stack = append(c.stack, mapFrame{n: n, i: i})
		if n.level == c.level+1 {
			break
		}
		var err error
		if n, _, err = c.ed.loadChild(ctx, n, i); err != nil {
			return err
		}
	}
	return nil
}

// first is the first key of the node.
func (c *levelCursor) first() []byte {
	if len(c.stack) == 0 {
		return c.ed.top.first()
	}
	f := c.stack[len(c.stack)-1]
	return f.n.items[f.i].Key
}

// node reads the node.
func (c *levelCursor) node(ctx context.Context) (*mapNode, block.ID, error) {
	if len(c.stack) == 0 {
		return c.ed.top, c.ed.root, nil
	}
	f := c.stack[len(c.stack)-1]
	return c.ed.loadChild(ctx, f.n, f.i)
}

// next goes to the next node of the level; false: there is none.
func (c *levelCursor) next(ctx context.Context) (bool, error) {
	up := len(c.stack) - 1
	for up >= 0 && c.stack[up].i+1 == len(c.stack[up].n.items) {
		up--
	}
	if up < 0 {
		return false, nil
	}
	c.stack[up].i++
	for j := up; j+1 < len(c.stack); j++ {
		kid, _, err := c.ed.loadChild(ctx, c.stack[j].n, c.stack[j].i)
		if err != nil {
			return false, err
		}
		c.stack[j+1] = mapFrame{n: kid}
	}
	return true, nil
}

// loadChild reads a child once.
func (ed *mapEditor) loadChild(ctx context.Context, n *mapNode, i int) (*mapNode, block.ID, error) {
	id, err := n.child(i)
	if err != nil {
		return nil, id, corrupt("map node", err)
	}
	if kid := ed.nodes[id]; kid != nil && kid.level == n.level-1 && bytes.Equal(kid.first(), n.items[i].Key) {
		return kid, id, nil
	}
	kid, err := n.loadChild(ctx, ed.st, i)
	if err != nil {
		return nil, id, err
	}
	ed.nodes[id] = kid
	return kid, id, nil
}
