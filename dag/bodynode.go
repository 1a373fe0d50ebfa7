package dag

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// Items of a body's tree node: entries, or child nodes. All nodes but the root keep to both limits.
const (
	fanMin = 64
	fanMax = 256
	// fanMask: beyond fanMin items a node ends where the hash of an item has these bits zero, after 64 more on average.
	fanMask = 64 - 1
)

// bodyNode is a node of a body's tree, in memory. A node that was read or put has an id; what it holds
// may then be not loaded. A new node has no id until put gives it one.
type bodyNode struct {
	length  uint64 // bytes below it
	depth   int    // 1: it holds entries
	id      block.ID
	entries []Entry
	kids    []*bodyNode
}

// loaded says whether the node's items are in memory.
func (n *bodyNode) loaded() bool { return n.entries != nil || n.kids != nil }

// items is how many entries or children a loaded node has.
func (n *bodyNode) items() int { return len(n.entries) + len(n.kids) }

// load reads the node's items and checks them against what its parent says.
func (n *bodyNode) load(ctx context.Context, get block.Getter, root bool) error {
	if n.loaded() {
		return nil
	}
	data, err := getNode(ctx, get, n.id)
	if err != nil {
		return err
	}
	got, err := decodeBodyNode(data)
	if err != nil {
		return err
	}
	least := fanMin
	if root {
		least = min(got.depth, 2) // a root above entries has two children at least
	}
	if got.length != n.length || got.depth != n.depth || got.items() < least {
		return corruptf("body node "+n.id.String(), "%d bytes, depth %d, %d items where %d bytes, depth %d, %d items or more are expected",
			got.length, got.depth, got.items(), n.length, n.depth, least)
	}
	n.entries, n.kids = got.entries, got.kids
	return nil
}

// encode encodes a loaded node whose children have ids: [2, depth, [entry, ...]] for depth 1,
// else [2, depth, [[length, link], ...]].
func (n *bodyNode) encode() []byte {
	b := cbor.AppendArray(make([]byte, 0, 16+52*n.items()), 3)
	b = cbor.AppendUint(cbor.AppendUint(b, typeBodyNode), uint64(n.depth))
	if n.depth == 1 {
		return appendEntries(b, n.entries)
	}
	b = cbor.AppendArray(b, len(n.kids))
	for _, k := range n.kids {
		b = appendLink(cbor.AppendUint(cbor.AppendArray(b, 2), k.length), k.id)
	}
	return b
}

// decodeBodyNode decodes what encode writes.
func decodeBodyNode(data []byte) (*bodyNode, error) {
	n := &bodyNode{}
	var err error
	n.depth, _, err = scanBodyNode(data, func(depth int, item Entry) {
		if n.length += item.Len; depth == 1 {
			n.entries = append(n.entries, item)
		} else {
			n.kids = append(n.kids, &bodyNode{depth: depth - 1, length: item.Len, id: item.ID})
		}
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// scanBodyNode calls f for each item of an encoded node, in order: an entry if depth is 1, else a child, as its length
// and ID. What it told is to be believed only when it returns no error.
func scanBodyNode(data []byte, f func(depth int, item Entry)) (depth, count int, err error) {
	r := cbor.NewReader(data)
	readType(r, 3, typeBodyNode)
	if depth = int(r.UintMax(DepthMax)); r.Err() == nil && depth == 0 {
		r.Fail("depth 0")
	}
	if count = r.Array(fanMax); r.Err() == nil && count == 0 {
		r.Fail("no items")
	}
	if depth == 1 {
		scanEntries(r, count, func(e Entry) { f(depth, e) })
	} else {
		scanKids(r, count, func(kid Entry) { f(depth, kid) })
	}
	if err := r.Done(); err != nil {
		return 0, 0, corrupt("body node", err)
	}
	return depth, count, nil
}

// scanKids reads the n children of a node and calls f for each.
func scanKids(r *cbor.Reader, n int, f func(Entry)) {
	var size uint64
	for range n {
		r.Tuple(2)
		kid := Entry{Len: r.UintMax(SizeMax), ID: readLink(r, block.DagCBOR)}
		if size += kid.Len; r.Err() == nil && (kid.Len == 0 || size > SizeMax) {
			r.Fail("child of %d bytes, %d in all", kid.Len, size)
		}
		if r.Err() != nil {
			return
		}
		f(kid)
	}
}

// put puts the node and all below it that have no ids yet, children first.
func (n *bodyNode) put(ctx context.Context, put block.Putter) error {
	if !n.id.IsZero() {
		return nil
	}
	for _, k := range n.kids {
		if err := k.put(ctx, put); err != nil {
			return err
		}
	}
	var err error
	n.id, err = putNode(ctx, put, n.encode())
	return err
}

// ends says whether an item with this ID may be the last of a node that has fanMin items.
func ends(id block.ID) bool {
	hash := id.Hash()
	return !id.IsZero() && binary.BigEndian.Uint64(hash[:])&fanMask == 0
}

// packEntries cuts entries into nodes of depth 1.
func packEntries(entries []Entry) []*bodyNode {
	var nodes []*bodyNode
	for _, n := range packSizes(len(entries), func(i int) bool { return ends(entries[i].ID) }) {
		node := &bodyNode{depth: 1, entries: entries[:n:n]}
		for _, e := range node.entries {
			node.length += e.Len
		}
		nodes = append(nodes, node)
		entries = entries[n:]
	}
	return nodes
}

// packNodes cuts nodes of one depth into nodes of the next. The content of a new child decides where its
// parent ends, therefore it is put first.
func packNodes(ctx context.Context, put block.Putter, kids []*bodyNode) ([]*bodyNode, error) {
	if len(kids) > 0 && kids[0].depth >= DepthMax {
		return nil, fmt.Errorf("dag: body tree of depth %d: %w", kids[0].depth, ErrTooLarge)
	}
	for _, k := range kids {
		if err := k.put(ctx, put); err != nil {
			return nil, err
		}
	}
	var nodes []*bodyNode
	for _, n := range packSizes(len(kids), func(i int) bool { return ends(kids[i].id) }) {
		node := &bodyNode{depth: kids[0].depth + 1, kids: kids[:n:n]}
		for _, k := range node.kids {
			node.length += k.length
		}
		nodes = append(nodes, node)
		kids = kids[n:]
	}
	return nodes, nil
}

// packSizes says how many of n items each node gets: a node ends at an item that may end one, after fanMin
// items at least and fanMax at most. A short rest is shared with the node before it. Only a single node
// can have fewer than fanMin items.
func packSizes(n int, ends func(i int) bool) []int {
	var sizes []int
	count := 0
	for i := range n {
		count++
		if count == fanMax || (count >= fanMin && ends(i)) {
			sizes = append(sizes, count)
			count = 0
		}
	}
	last := len(sizes) - 1
	switch {
	case count == 0:
	case last < 0 || count >= fanMin:
		sizes = append(sizes, count)
	case sizes[last]+count <= fanMax:
		sizes[last] += count
	default:
		both := sizes[last] + count
		sizes[last] = both / 2
		sizes = append(sizes, both-both/2)
	}
	return sizes
}
