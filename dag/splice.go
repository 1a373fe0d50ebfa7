package dag

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Splice returns the body with the bytes [off, off+n) replaced by entries, whose lengths add up to n, and
// then cut off, or extended by a hole, to size bytes. A gap between the old end and off becomes a hole. So:
//
//	write              Splice(off, n, chunks, max(size, off+n))
//	punch              Splice(off, n, one hole of n bytes, size)
//	truncate, extend   Splice(0, 0, nil, size)
//
// Sum is cleared; Params stay. It reads and puts only the path of the tree that changes, O(n's entries + depth)
// nodes, and folds nothing: many small writes leave many small entries. The bytes of an inline
// body are put as a chunk when they can't stay inline. Errors: ErrBadEntry (lengths that don't add up, too),
// ErrTooLarge, block.ErrCorrupt, the Store's.
func Splice(ctx context.Context, st block.Store, b Body, off, n uint64, entries []Entry, size uint64) (Body, error) {
	if off > SizeMax || n > SizeMax || off+n > SizeMax || size > SizeMax {
		return Body{}, fmt.Errorf("dag: splice: %d bytes at %d, size %d: %w", n, off, size, ErrTooLarge)
	}
	entries, length, err := normalise(entries)
	if err != nil {
		return Body{}, err
	}
	if length != n {
		return Body{}, fmt.Errorf("dag: splice: %w: entries of %d bytes for %d", ErrBadEntry, length, n)
	}
	if len(b.Inline) > 0 {
		if size <= InlineMax && (n == 0 || (len(entries) == 1 && entries[0].IsHole())) {
			return spliceInline(b.Inline, off, n, size), nil
		}
		if b, err = b.outline(ctx, st); err != nil {
			return Body{}, err
		}
	}
	t := &bodyTree{st: st}
	if b.Size > 0 {
		root, err := b.root(ctx, st)
		if err != nil {
			return Body{}, err
		}
		t.nodes = []*bodyNode{root}
	}
	if err := t.splice(ctx, off, n, entries, size); err != nil {
		return Body{}, err
	}
	return Body{Size: size, Params: b.Params}.withNodes(ctx, st, t.nodes)
}

// spliceInline puts zeros over [off, off+n) of an inline body and makes it size bytes long.
func spliceInline(data []byte, off, n, size uint64) Body {
	out := make([]byte, size)
	copy(out, data)
	if off < size {
		clear(out[off:min(off+n, size)])
	}
	return InlineBody(out)
}

// outline puts an inline body's bytes as a chunk and returns the body with one entry.
func (b Body) outline(ctx context.Context, put block.Putter) (Body, error) {
	data := bytes.Clone(b.Inline)
	id := block.Sum(block.Raw, data)
	if err := put.Put(ctx, id, data); err != nil {
		return Body{}, fmt.Errorf("dag: put chunk %s: %w", id, err)
	}
	return Body{Size: b.Size, Entries: []Entry{{Len: b.Size, ID: id}}}, nil
}

// bodyTree is a tree of entries that is being changed.
type bodyTree struct {
	st    block.Store
	nodes []*bodyNode // none (no bytes) or one: the root, loaded
}

func (t *bodyTree) size() uint64 {
	if len(t.nodes) == 0 {
		return 0
	}
	return t.nodes[0].length
}

// splice is Splice on the tree: at most three replacements, in the common cases one.
func (t *bodyTree) splice(ctx context.Context, off, n uint64, entries []Entry, size uint64) error {
	if off < size && n > 0 {
		if off+n > size {
			entries = cutEntries(entries, size-off)
			n = size - off
		}
		old := t.size()
		lo, hi := off, min(off+n, old)
		if off > old {
			lo, hi = old, old
			entries = append([]Entry{{Len: off - old}}, entries...)
		}
		if err := t.replace(ctx, lo, max(lo, hi), entries); err != nil {
			return err
		}
	}
	switch old := t.size(); {
	case size < old:
		return t.replace(ctx, size, old, nil)
	case size > old:
		return t.replace(ctx, old, old, []Entry{{Len: size - old}})
	}
	return nil
}

// cutEntries is the first n bytes of entries.
func cutEntries(entries []Entry, n uint64) []Entry {
	for i, e := range entries {
		if e.Len >= n {
			return append(entries[:i:i], e.cut(0, n))
		}
		n -= e.Len
	}
	return entries
}

// replace replaces the bytes [lo, hi) by entries, of any length in all. Entries that lo or hi cuts, and
// neighbours that the new ones can be joined with, are replaced whole.
func (t *bodyTree) replace(ctx context.Context, lo, hi uint64, entries []Entry) error {
	var left, right Placed
	var err error
	hasLeft, hasRight := lo > 0, hi < t.size()
	around := make([]Entry, 0, len(entries)+2)
	if hasLeft {
		if left, err = t.at(ctx, lo-1); err != nil {
			return err
		}
		around = append(around, left.cut(0, lo-left.Off))
	}
	around = append(around, entries...)
	if hasRight {
		if right, err = t.at(ctx, hi); err != nil {
			return err
		}
		around = append(around, right.cut(hi-right.Off, right.Len))
	}
	if around, _, err = normalise(around); err != nil {
		return err
	}
	// A neighbour that is neither cut nor joined stays where it is.
	switch {
	case !hasLeft:
	case left.Off+left.Len == lo && around[0] == left.Entry:
		around = around[1:]
	default:
		lo = left.Off
	}
	switch last := len(around) - 1; {
	case !hasRight:
	case right.Off == hi && around[last] == right.Entry:
		around = around[:last]
	default:
		hi = right.Off + right.Len
	}
	return t.replaceWhole(ctx, lo, hi, around)
}

// at is the entry with the byte off, which is within the body.
func (t *bodyTree) at(ctx context.Context, off uint64) (Placed, error) {
	found, err := t.nodes[0].appendRange(ctx, t.st, nil, 0, off, off+1)
	if err == nil && len(found) != 1 {
		err = corruptf("body", "%d entries at byte %d", len(found), off)
	}
	if err != nil {
		return Placed{}, err
	}
	return found[0], nil
}

// replaceWhole replaces whole entries, those of the bytes [lo, hi), by others.
func (t *bodyTree) replaceWhole(ctx context.Context, lo, hi uint64, entries []Entry) error {
	var err error
	nodes := packEntries(entries)
	if len(t.nodes) > 0 {
		if nodes, err = t.replaceIn(ctx, t.nodes[0], lo, hi, entries); err != nil {
			return err
		}
	}
	for len(nodes) > 1 {
		if nodes, err = packNodes(ctx, t.st, nodes); err != nil {
			return err
		}
	}
	for len(nodes) == 1 && len(nodes[0].kids) == 1 {
		nodes = nodes[0].kids
		if err := nodes[0].load(ctx, t.st, true); err != nil {
			return err
		}
	}
	t.nodes = nodes
	return nil
}

// replaceIn is replaceWhole in the node n, whose first byte is byte 0, and returns the nodes that take its
// place: none, one of any number of items, or several with fanMin items at least.
func (t *bodyTree) replaceIn(ctx context.Context, n *bodyNode, lo, hi uint64, entries []Entry) ([]*bodyNode, error) {
	if err := n.load(ctx, t.st, n == t.nodes[0]); err != nil {
		return nil, err
	}
	if n.depth == 1 {
		return packEntries(replaceEntries(n.entries, lo, hi, entries)), nil
	}
	first, at := n.kidAt(lo)
	last, atLast := first, at
	if hi > at+n.kids[first].length {
		last, atLast = n.kidAt(hi - 1)
	}
	var middle []*bodyNode
	var err error
	if first == last {
		middle, err = t.replaceIn(ctx, n.kids[first], lo-at, hi-at, entries)
	} else if middle, err = t.replaceIn(ctx, n.kids[first], lo-at, n.kids[first].length, entries); err == nil {
		var end []*bodyNode
		end, err = t.replaceIn(ctx, n.kids[last], 0, hi-atLast, nil)
		middle = append(middle, end...)
	}
	if err != nil {
		return nil, err
	}
	kids := slices.Concat(n.kids[:first], middle, n.kids[last+1:])
	if kids, err = t.fill(ctx, kids); err != nil {
		return nil, err
	}
	return packNodes(ctx, t.st, kids)
}

// kidAt finds the child with the byte at, the last one for the end of the node, and the child's first byte.
func (n *bodyNode) kidAt(at uint64) (kid int, start uint64) {
	for i, k := range n.kids {
		if at < start+k.length || i == len(n.kids)-1 {
			return i, start
		}
		start += k.length
	}
	return 0, 0
}

// replaceEntries replaces the whole entries of the bytes [lo, hi); the input stays as it is.
func replaceEntries(old []Entry, lo, hi uint64, entries []Entry) []Entry {
	var at uint64
	first := 0
	for first < len(old) && at < lo {
		at += old[first].Len
		first++
	}
	last := first
	for last < len(old) && at < hi {
		at += old[last].Len
		last++
	}
	return slices.Concat(old[:first], entries, old[last:])
}

// fill merges each child that has fewer than fanMin items with a neighbour, so that only an only child
// can have so few. Children that are not loaded have enough.
func (t *bodyTree) fill(ctx context.Context, kids []*bodyNode) ([]*bodyNode, error) {
	for i := 0; i < len(kids) && len(kids) > 1; i++ {
		if !kids[i].loaded() || kids[i].items() >= fanMin {
			continue
		}
		a := min(i, len(kids)-2)
		merged, err := t.merge(ctx, kids[a], kids[a+1])
		if err != nil {
			return nil, err
		}
		kids = slices.Replace(kids, a, a+2, merged...)
		i = a - 1
	}
	return kids, nil
}

// merge packs the items of two neighbours anew.
func (t *bodyTree) merge(ctx context.Context, a, b *bodyNode) ([]*bodyNode, error) {
	for _, n := range []*bodyNode{a, b} {
		if err := n.load(ctx, t.st, false); err != nil {
			return nil, err
		}
	}
	if a.depth == 1 {
		return packEntries(slices.Concat(a.entries, b.entries)), nil
	}
	return packNodes(ctx, t.st, slices.Concat(a.kids, b.kids))
}
