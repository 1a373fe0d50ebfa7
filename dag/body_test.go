package dag

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/block/blocktest"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// goldenBodies are bodies of every form, with the names of their golden files.
func goldenBodies() map[string]Body {
	sum := [32]byte(bytes.Repeat([]byte{0xab}, 32))
	params := []byte("params of 13b")
	return map[string]Body{
		"body-empty":   {},
		"body-inline":  InlineBody([]byte("hello\x00\xff")),
		"body-one":     {Size: 1 << 20, Entries: []Entry{{Len: 1 << 20, ID: chunkID(1)}}, Sum: sum, Params: params},
		"body-entries": {Size: 70_100, Entries: []Entry{{Len: 100, ID: chunkID(1), Skip: 24}, {Len: 65_000}, {Len: 5000, ID: chunkID(2)}}},
		"body-tree":    {Size: 1 << 40, Tree: nodeID(1), Depth: 3, Sum: sum, Params: params},
	}
}

// goldenNodes are nodes of every kind.
func goldenNodes() map[string][]byte {
	d := Dirent{Name: "a", Kind: 4, RDev: 7, Mtime: -1, Ino: math.MaxUint64, Xattrs: []Xattr{{Name: "user.x", Value: []byte("v")}}}
	kv := KV{Key: []byte(d.Name), Value: d.appendValue(nil)}
	e := file("b", 5)
	leaf := mapNode{items: []KV{kv, {Key: []byte(e.Name), Value: e.appendValue(nil)}}}
	inner := mapNode{level: 2, items: []KV{{Key: []byte("a"), Value: nodeID(1).Bytes()}, {Key: []byte("k"), Value: nodeID(2).Bytes()}}}
	attr := FolderAttr{Mode: 0o1755, UID: 1000, GID: 100, Mtime: -1, Entries: 2, Size: 5}
	bodyInner := bodyNode{depth: 2, kids: []*bodyNode{{length: 5, id: nodeID(1)}, {length: 1 << 33, id: nodeID(2)}}}
	bodyLeaf := bodyNode{depth: 1, entries: goldenBodies()["body-entries"].Entries}
	return map[string][]byte{
		"map-leaf":     leaf.encode(),
		"map-inner":    inner.encode(),
		"folder":       (&folder{attr: attr, top: leaf.encode()}).encode(),
		"folder-empty": (&folder{attr: FolderAttr{Mode: 0o755}}).encode(),
		"bodynode":     bodyInner.encode(),
		"bodyleaf":     bodyLeaf.encode(),
	}
}

// TestGolden holds every format, and that what is written is read again.
func TestGolden(t *testing.T) {
	for name, b := range goldenBodies() {
		golden(t, name, b.Encode())
		got, err := DecodeBody(b.Encode())
		if diff := cmp.Diff(got, b, equateIDs); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	for name, data := range goldenNodes() {
		golden(t, name, data)
		if err := decodeAny(t, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	sum := NewSum([32]byte{1})
	sum.Add(5, chunkID(1))
	sum.Add(1<<20, chunkID(2))
	got := sum.Sum()
	golden(t, "sum", got[:])
}

// decodeAny decodes data as each kind of node, checks that what is accepted is written as it was, and returns an
// error if no kind accepts it.
func decodeAny(t *testing.T, data []byte) error {
	t.Helper()
	var errs []error
	check := func(again []byte, err error) {
		switch {
		case err != nil && !errors.Is(err, block.ErrCorrupt):
			t.Errorf("%v is not ErrCorrupt", err)
		case err == nil && !bytes.Equal(again, data):
			t.Errorf("%x is written as %x", data, again)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	b, err := DecodeBody(data)
	check(b.Encode(), err)
	if n, err := decodeBodyNode(data); err != nil {
		check(nil, err)
	} else {
		check(n.encode(), nil)
	}
	if n, err := decodeMapNode(data); err != nil {
		check(nil, err)
	} else {
		check(n.encode(), nil)
		for _, kv := range n.items {
			if d, err := decodeDirent(kv); err == nil && !bytes.Equal(d.appendValue(nil), kv.Value) {
				t.Errorf("entry %x is written otherwise", kv.Value)
			}
		}
	}
	if f, err := decodeFolder(data); err != nil {
		check(nil, err)
	} else {
		check(f.encode(), nil)
	}
	if len(errs) == 4 {
		return errors.Join(errs...)
	}
	return nil
}

// TestDecodeBodyRefuses: bytes from others are taken in the one canonical form only.
func TestDecodeBodyRefuses(t *testing.T) {
	e := func(n uint64) Entry { return Entry{Len: n, ID: chunkID(n)} }
	many := make([]Entry, 40)
	for i := range many {
		many[i] = e(uint64(i + 1))
	}
	raw := func(form, size uint64, content func([]byte) []byte, sum, params []byte) []byte {
		b := cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(nil, 6), typeBody), form)
		return cbor.AppendBytes(cbor.AppendBytes(content(cbor.AppendUint(b, size)), sum), params)
	}
	inline := func(n int) func([]byte) []byte {
		return func(b []byte) []byte { return cbor.AppendBytes(b, make([]byte, n)) }
	}
	tree := func(depth uint64, id block.ID) func([]byte) []byte {
		return func(b []byte) []byte { return appendLink(cbor.AppendUint(cbor.AppendArray(b, 2), depth), id) }
	}
	good := raw(formTree, 5, tree(1, nodeID(1)), make([]byte, 0), nil)
	if _, err := DecodeBody(good); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"nothing":              {},
		"left over":            append(bytes.Clone(good), 0),
		"cut off":              good[:len(good)-1],
		"inline too long":      raw(formInline, InlineMax+1, inline(InlineMax+1), nil, nil),
		"inline of other size": raw(formInline, 4, inline(5), nil, nil),
		"inline with a sum":    raw(formInline, 5, inline(5), bytes.Repeat([]byte{1}, 32), nil),
		"inline with params":   raw(formInline, 5, inline(5), nil, []byte{1}),
		"zero sum":             raw(formTree, 5, tree(1, nodeID(1)), make([]byte, 32), nil),
		"short sum":            raw(formTree, 5, tree(1, nodeID(1)), make([]byte, 31), nil),
		"long params":          raw(formTree, 5, tree(1, nodeID(1)), nil, make([]byte, ParamsMax+1)),
		"unknown form":         raw(3, 5, tree(1, nodeID(1)), nil, nil),
		"tree of no depth":     raw(formTree, 5, tree(0, nodeID(1)), nil, nil),
		"tree too deep":        raw(formTree, 5, tree(DepthMax+1, nodeID(1)), nil, nil),
		"tree is a chunk":      raw(formTree, 5, tree(1, chunkID(1)), nil, nil),
		"tree of no bytes":     raw(formTree, 0, tree(1, nodeID(1)), nil, nil),
		"too large":            raw(formTree, SizeMax+1, tree(1, nodeID(1)), nil, nil),
		"no entries":           raw(formEntries, 0, func(b []byte) []byte { return cbor.AppendArray(b, 0) }, nil, nil),
		"entries too many":     Body{Size: 820, Entries: many}.Encode(),
		"entries add up wrong": Body{Size: 4, Entries: []Entry{e(5)}}.Encode(),
		"two holes":            Body{Size: 4, Entries: []Entry{{Len: 2}, {Len: 2}}}.Encode(),
		"empty entry":          Body{Size: 5, Entries: []Entry{{ID: chunkID(1)}, e(5)}}.Encode(),
		"entry beyond a chunk": Body{Size: 5, Entries: []Entry{{ID: chunkID(1), Len: 5, Skip: block.ChunkMax - 4}}}.Encode(),
		"entry of a node":      Body{Size: 5, Entries: []Entry{{ID: nodeID(1), Len: 5}}}.Encode(),
		"lengths overflow":     Body{Size: 0, Entries: []Entry{{Len: SizeMax}, e(1), {Len: SizeMax}}}.Encode(),
	} {
		t.Run(name, func(t *testing.T) {
			if b, err := DecodeBody(data); !errors.Is(err, block.ErrCorrupt) {
				t.Errorf("got %+v, %v", b, err)
			}
		})
	}
}

// TestBuildBody: the form follows from the entries, and equal entries give the equal body.
func TestBuildBody(t *testing.T) {
	r := newRand(t)
	for _, n := range []int{0, 1, 2, 20, 40, 63, 64, 65, 200, 256, 257, 300, 5000, 40_000} {
		st := blocktest.NewMem()
		entries := make([]Entry, n)
		var size uint64
		for i := range entries {
			entries[i] = Entry{Len: 1 + r.Uint64N(1000), ID: chunkID(r.Uint64())}
			size += entries[i].Len
		}
		sum := [32]byte{1}
		b := must[Body](t)(BuildBody(t.Context(), st, entries, sum, []byte("p")))
		again := must[Body](t)(BuildBody(t.Context(), blocktest.NewMem(), entries, sum, []byte("p")))
		if b.ID() != again.ID() {
			t.Errorf("%d entries: two bodies", n)
		}
		if got := must[Body](t)(DecodeBody(b.Encode())); !cmp.Equal(got, b, equateIDs) {
			t.Errorf("%d entries: decoded body differs", n)
		}
		placed := must[[]Placed](t)(Range(t.Context(), st, b, 0, math.MaxUint64))
		got := make([]Entry, 0, n)
		for _, p := range placed {
			got = append(got, p.Entry)
		}
		if diff := cmp.Diff(got, entries, equateIDs); diff != "" || b.Size != size {
			t.Errorf("%d entries: size %d, want %d\n%s", n, b.Size, size, diff)
		}
		if (len(b.Encode()) > EmbedMax) || (n > 30) != (b.Depth > 0) {
			t.Errorf("%d entries: depth %d, %d bytes", n, b.Depth, len(b.Encode()))
		}
	}
}

// TestBuildBodyShares: a body with an entry inserted in front shares nearly all tree nodes.
func TestBuildBodyShares(t *testing.T) {
	st := blocktest.NewMem()
	entries := make([]Entry, 20_000)
	for i := range entries {
		entries[i] = Entry{Len: 1 << 20, ID: chunkID(uint64(i))}
	}
	must[Body](t)(BuildBody(t.Context(), st, entries[1:], [32]byte{}, nil))
	before := st.Len()
	must[Body](t)(BuildBody(t.Context(), st, entries, [32]byte{}, nil))
	if fresh := st.Len() - before; fresh > 8 {
		t.Errorf("%d new nodes of %d", fresh, before)
	}
}

// TestBuildBodyJoins: what can be one entry is one.
func TestBuildBodyJoins(t *testing.T) {
	id := chunkID(1)
	entries := []Entry{{Len: 1}, {Len: 2}, {Len: 5, ID: id}, {Len: 6, ID: id, Skip: 5}, {Len: 6, ID: id, Skip: 5}, {Len: 6, ID: id}, {Len: 3}}
	want := []Entry{{Len: 3}, {Len: 11, ID: id}, {Len: 6, ID: id, Skip: 5}, {Len: 6, ID: id}, {Len: 3}}
	b := must[Body](t)(BuildBody(t.Context(), blocktest.NewMem(), entries, [32]byte{}, nil))
	if diff := cmp.Diff(b.Entries, want, equateIDs); diff != "" {
		t.Error(diff)
	}
}

// TestRange compares ranges with all the entries.
func TestRange(t *testing.T) {
	r := newRand(t)
	st := blocktest.NewMem()
	entries, data := randomEntries(t, r, st, 30_000, 20)
	b := must[Body](t)(BuildBody(t.Context(), st, entries, [32]byte{}, nil))
	all := must[[]Placed](t)(Range(t.Context(), st, b, 0, uint64(len(data))))
	for range 500 {
		off, n := r.Uint64N(uint64(len(data)+10)), r.Uint64N(300)
		var want []Placed
		for _, p := range all {
			if n > 0 && p.Off < off+n && p.Off+p.Len > off {
				want = append(want, p)
			}
		}
		got := must[[]Placed](t)(Range(t.Context(), st, b, off, n))
		if diff := cmp.Diff(got, want, equateIDs); diff != "" {
			t.Fatalf("%d bytes at %d:\n%s", n, off, diff)
		}
	}
}

// TestTreeRefuses: a tree is believed only as far as its nodes agree with each other.
func TestTreeRefuses(t *testing.T) {
	st := blocktest.NewMem()
	leaf := func(n int) *bodyNode {
		node := &bodyNode{depth: 1}
		for i := range n {
			node.entries = append(node.entries, Entry{Len: 10, ID: chunkID(uint64(i))})
			node.length += 10
		}
		if err := node.put(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		return node
	}
	inner := func(depth int, kids ...*bodyNode) *bodyNode {
		node := &bodyNode{depth: depth, kids: kids}
		for _, k := range kids {
			node.length += k.length
		}
		if err := node.put(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		return node
	}
	longer := *leaf(100)
	longer.length += 5
	for name, b := range map[string]Body{
		"size":                {Size: 999, Tree: leaf(100).id, Depth: 1},
		"depth":               {Size: 1000, Tree: leaf(100).id, Depth: 2},
		"few entries":         {Size: 50, Tree: leaf(5).id, Depth: 1},
		"one child":           {Size: 1000, Tree: inner(2, leaf(100)).id, Depth: 2},
		"child of few":        {Size: 1050, Tree: inner(2, leaf(100), leaf(5)).id, Depth: 2},
		"child of other size": {Size: 2005, Tree: inner(2, leaf(100), &longer).id, Depth: 2},
		"depth skipped":       {Size: 2000, Tree: inner(3, leaf(100), leaf(100)).id, Depth: 3},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Range(t.Context(), st, b, 0, b.Size); !errors.Is(err, block.ErrCorrupt) {
				t.Errorf("got %d entries, %v", len(got), err)
			}
		})
	}
}

// TestBlocksShared: a body that says it has 2^56 bytes, of nodes that are all equal, is walked in a few steps.
func TestBlocksShared(t *testing.T) {
	st := blocktest.NewMem()
	n := &bodyNode{depth: 1}
	for range fanMax {
		n.entries = append(n.entries, Entry{Len: 1, ID: chunkID(1)})
	}
	n.length = fanMax
	for n.depth < 7 {
		if err := n.put(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		up := &bodyNode{depth: n.depth + 1, length: n.length * fanMax}
		for range fanMax {
			up.kids = append(up.kids, n)
		}
		n = up
	}
	if err := n.put(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	nodes, chunks := 0, 0
	b := Body{Size: n.length, Tree: n.id, Depth: uint8(n.depth)}
	err := Blocks(t.Context(), st, b, func(_ block.ID, node bool, _ uint64) error {
		if node {
			nodes++
		} else {
			chunks++
		}
		return nil
	})
	if err != nil || nodes != 7 || chunks != fanMax {
		t.Errorf("%d nodes, %d chunks, %v", nodes, chunks, err)
	}
}

// FuzzDecode: no bytes make a decoder of bodies, folders or tree nodes panic, and what is accepted is canonical.
func FuzzDecode(f *testing.F) {
	for _, b := range goldenBodies() {
		f.Add(b.Encode())
	}
	for _, data := range goldenNodes() {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { _ = decodeAny(t, data) })
}
