package dag

import (
	"context"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Placed is an entry at its place in a body.
type Placed struct {
	Off uint64 // bytes from the body's start to the entry's
	Entry
}

// Range returns the entries that overlap the bytes [off, off+n) of a body, whole, in order. What lies
// beyond the end is left out; an inline body has no entries. It reads the nodes on the way only. A body from
// others can have an entry for each byte, so ask for ranges of bounded length.
// Errors: block.ErrCorrupt, the Getter's.
func Range(ctx context.Context, get block.Getter, b Body, off, n uint64) ([]Placed, error) {
	return AppendRange(ctx, get, nil, b, off, n)
}

// AppendRange is Range that appends to out. It allocates nothing where out has room and the Getter doesn't.
func AppendRange(ctx context.Context, get block.Getter, out []Placed, b Body, off, n uint64) ([]Placed, error) {
	if len(b.Inline) > 0 || n == 0 || off >= b.Size {
		return out, nil
	}
	s := rangeScan{out: out, lo: off, hi: off + min(n, b.Size-off)}
	if b.Tree.IsZero() {
		for _, e := range b.Entries {
			s.entry(e)
		}
		return s.out, nil
	}
	count, size, err := s.node(ctx, get, b.Tree, int(b.Depth), b.Size)
	if err == nil {
		err = b.checkRoot(count, size)
	}
	if err != nil {
		return nil, err
	}
	return s.out, nil
}

// rangeScan finds entries in encoded nodes, which are read from front to back and not taken apart in memory.
type rangeScan struct {
	out    []Placed
	lo, hi uint64 // the bytes that are asked for
	at     uint64 // where the next entry begins
}

func (s *rangeScan) entry(e Entry) {
	if s.at < s.hi && s.at+e.Len > s.lo {
		s.out = append(s.out, Placed{Off: s.at, Entry: e})
	}
	s.at += e.Len
}

// node reads a node of a depth and a length in bytes, and those below it that overlap. It checks what bodyNode.load
// does, but for the least number of items, which is the caller's to check.
func (s *rangeScan) node(ctx context.Context, get block.Getter, id block.ID, depth int, length uint64) (count, size int, err error) {
	data, err := getNode(ctx, get, id)
	if err != nil {
		return 0, 0, err
	}
	begin := s.at
	var below error
	got, count, err := scanBodyNode(data, func(d int, e Entry) {
		switch {
		case d != depth || below != nil: // told below
		case d == 1:
			s.entry(e)
		case s.at < s.hi && s.at+e.Len > s.lo:
			below = s.kid(ctx, get, e, d-1)
		default:
			s.at += e.Len
		}
	})
	switch {
	case err != nil:
		return 0, 0, err
	case below != nil:
		return 0, 0, below
	case got != depth || s.at-begin != length:
		return 0, 0, corruptf("body node "+id.String(), "depth %d, %d bytes where depth %d, %d bytes are expected", got, s.at-begin, depth, length)
	}
	return count, len(data), nil
}

// kid reads a child of a node.
func (s *rangeScan) kid(ctx context.Context, get block.Getter, e Entry, depth int) error {
	count, _, err := s.node(ctx, get, e.ID, depth, e.Len)
	if err == nil && count < fanMin {
		err = corruptf("body node "+e.ID.String(), "%d items where %d or more are expected", count, fanMin)
	}
	return err
}

// appendRange appends the entries that overlap [lo, hi) of the body; the node, loaded, begins at byte at.
func (n *bodyNode) appendRange(ctx context.Context, get block.Getter, out []Placed, at, lo, hi uint64) ([]Placed, error) {
	for _, e := range n.entries {
		if at < hi && at+e.Len > lo {
			out = append(out, Placed{Off: at, Entry: e})
		}
		at += e.Len
	}
	for _, k := range n.kids {
		if at >= hi {
			break
		}
		if at+k.length > lo {
			if err := k.load(ctx, get, false); err != nil {
				return nil, err
			}
			var err error
			if out, err = k.appendRange(ctx, get, out, at, lo, hi); err != nil {
				return nil, err
			}
		}
		at += k.length
	}
	return out, nil
}

// Blocks calls f for every block below a body, in the order of its bytes, a node before what it links to:
// tree nodes (node is true, size the node's own bytes) and chunks (size is the least that the chunk
// must have: Skip+Len). Holes are left out. What is below a node that occurs again is told once only, so that the
// work is bounded by the blocks that exist, however large a body says it is; a chunk can be told often. The body's own
// block (Body.ID) is not among them. An error of f ends it and is returned as it is.
func Blocks(ctx context.Context, get block.Getter, b Body, f func(id block.ID, node bool, size uint64) error) error {
	if len(b.Inline) > 0 || b.Size == 0 {
		return nil
	}
	root, err := b.root(ctx, get)
	if err != nil {
		return err
	}
	w := &blockWalk{get: get, f: f, seen: make(map[block.ID]bool)}
	return w.walk(ctx, root)
}

// blockWalk is the state of Blocks.
type blockWalk struct {
	get  block.Getter
	f    func(id block.ID, node bool, size uint64) error
	seen map[block.ID]bool // nodes that were told
}

// walk tells a loaded node, if it is one, and what is below it.
func (w *blockWalk) walk(ctx context.Context, n *bodyNode) error {
	if !n.id.IsZero() {
		w.seen[n.id] = true
		if err := w.f(n.id, true, uint64(len(n.encode()))); err != nil {
			return err
		}
	}
	for _, e := range n.entries {
		if e.IsHole() {
			continue
		}
		if err := w.f(e.ID, false, uint64(e.Skip)+e.Len); err != nil {
			return err
		}
	}
	for i, k := range n.kids {
		if !w.seen[k.id] {
			if err := k.load(ctx, w.get, false); err != nil {
				return err
			}
			if err := w.walk(ctx, k); err != nil {
				return err
			}
		}
		n.kids[i] = nil // What was told need not stay in memory.
	}
	return nil
}
