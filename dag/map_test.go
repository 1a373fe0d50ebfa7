package dag

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/block/blocktest"
)

// sorted yields a map's items in order.
func sorted(m map[string]string) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(KV{Key: []byte(k), Value: []byte(m[k])}, nil) {
				return
			}
		}
	}
}

func build(t *testing.T, st block.Store, m map[string]string) block.ID {
	t.Helper()
	return must[block.ID](t)(BuildTree(t.Context(), st, sorted(m)))
}

func readMap(t *testing.T, st block.Store, root block.ID) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := WalkTree(t.Context(), st, root, nil, func(kv KV) error {
		got[string(kv.Key)] = string(kv.Value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// rowKey is a key like those of rows.
func rowKey(n uint64) string { return string(binary.BigEndian.AppendUint64([]byte("i"), n)) }

// randomKey draws a key of one of several shapes, from a small set so that edits meet.
func randomKey(r *rand.Rand, shape int) string {
	switch n := r.Uint64N(4000); shape {
	case 0:
		return rowKey(n)
	case 1:
		return fmt.Sprintf("file-%d.txt", n)
	default:
		key := bytes.Repeat([]byte{byte(n)}, 1+int(n)%KeyMax) // few fit a node
		return string(binary.BigEndian.AppendUint16(key[:max(1, len(key)-2)], uint16(n)))
	}
}

// randomValue draws a value: mostly small, now and then wider than a node.
func randomValue(r *rand.Rand, shape int) string {
	n := r.IntN(120)
	switch r.IntN(200) {
	case 0:
		n = r.IntN(64 << 10)
	case 1:
		n = mapNodeMax - r.IntN(100)
	case 2:
		n = 3000 + r.IntN(3000)
	}
	if shape == 3 {
		n = mapNodeMax - 40 + r.IntN(60) // at the edge of a node
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// TestMapCanonical: after any edits in any order a map's root is that of its content built at once. If it
// fails, converged pods show different roots.
func TestMapCanonical(t *testing.T) {
	r := newRand(t)
	rounds := 24
	if testing.Short() {
		rounds = 8
	}
	for round := range rounds {
		st := blocktest.NewMem()
		shape := round % 4
		model := map[string]string{}
		for range r.IntN(3) * r.IntN(1500) {
			model[randomKey(r, shape)] = randomValue(r, shape)
			if shape == 3 && len(model) > 200 {
				break
			}
		}
		root := build(t, st, model)
		for step := range 25 {
			edits := randomEdits(r, shape, model)
			got, err := EditTree(t.Context(), st, root, edits)
			if err != nil {
				t.Fatal(err)
			}
			root = got
			if want := build(t, st, model); root != want {
				t.Fatalf("round %d, step %d: %d edits of a map of %d items: root %s, want %s",
					round, step, len(edits), len(model), root, want)
			}
		}
		if diff := cmp.Diff(readMap(t, st, root), model); diff != "" {
			t.Fatalf("content differs:\n%s", diff)
		}
	}
}

// randomEdits draws edits and applies them to the model.
func randomEdits(r *rand.Rand, shape int, model map[string]string) []Edit {
	keys := map[string]bool{}
	removeAll := r.IntN(25) == 0
	old := slices.Sorted(maps.Keys(model))
	if removeAll {
		for _, k := range old {
			keys[k] = r.IntN(50) > 0
		}
	}
	if lo := r.IntN(len(old) + 1); r.IntN(6) == 0 { // a run of keys
		for _, k := range old[lo:min(len(old), lo+r.IntN(300))] {
			keys[k] = true
		}
	}
	for range r.IntN(1 + r.IntN(30)) {
		if len(old) > 0 && r.IntN(2) == 0 {
			keys[old[r.IntN(len(old))]] = true
		} else {
			keys[randomKey(r, shape)] = true
		}
	}
	var edits []Edit
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if removeAll || r.IntN(2) == 0 {
			delete(model, k)
			edits = append(edits, Edit{Key: []byte(k)})
			continue
		}
		model[k] = randomValue(r, shape)
		edits = append(edits, Edit{Key: []byte(k), Value: []byte(model[k])})
	}
	return edits
}

// TestMapEditCost: one change in a large map reads and puts a path and few neighbours.
func TestMapEditCost(t *testing.T) {
	r := newRand(t)
	st := &counted{Store: blocktest.NewMem()}
	const n = 100_000
	m := make(map[string]string, n)
	for i := range uint64(n) {
		m[rowKey(i*7)] = "value of about sixty bytes, as a short row of the state would have"
	}
	root := build(t, st, m)
	var gets, puts int
	const edits = 300
	for range edits {
		st.gets, st.puts = 0, 0
		key := rowKey(r.Uint64N(n * 7))
		var value []byte
		if r.IntN(3) > 0 {
			value = []byte("another")
		}
		var err error
		if root, err = EditTree(t.Context(), st, root, []Edit{{Key: []byte(key), Value: value}}); err != nil {
			t.Fatal(err)
		}
		gets, puts = gets+st.gets, puts+st.puts
		if st.gets > 40 || st.puts > 40 {
			t.Errorf("%d gets, %d puts for one edit", st.gets, st.puts)
		}
	}
	t.Logf("%.2f gets, %.2f puts for an edit of %d items", float64(gets)/edits, float64(puts)/edits, n)
	if puts > 5*edits || gets > 6*edits {
		t.Errorf("%d gets, %d puts for %d edits", gets, puts, edits)
	}
}

// TestMapNodeSizes holds the sizes that the package doc promises.
func TestMapNodeSizes(t *testing.T) {
	st := blocktest.NewMem()
	m := map[string]string{}
	for i := range uint64(20_000) {
		m[fmt.Sprintf("some name %d", i)] = "a value of about eighty bytes, as an entry of a folder has, with a CID"
	}
	root := build(t, st, m)
	var nodes, total, small int
	err := TreeNodes(t.Context(), st, root, func(id block.ID) error {
		data, err := st.Get(t.Context(), id)
		nodes++
		total += len(data)
		if len(data) < mapNodeMin {
			small++
		}
		if len(data) > mapNodeMax+16 {
			t.Errorf("node of %d bytes", len(data))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	mean := total / nodes
	t.Logf("%d nodes of %d bytes on average", nodes, mean)
	if mean < 3500 || mean > 4700 || small > 3 {
		t.Errorf("%d nodes, mean %d bytes, %d too small", nodes, mean, small)
	}
}

// TestMapDiff compares random maps with a plain comparison.
func TestMapDiff(t *testing.T) {
	r := newRand(t)
	for round := range 30 {
		st := blocktest.NewMem()
		shape := round % 3
		a := map[string]string{}
		for range r.IntN(3) * r.IntN(1000) {
			a[randomKey(r, shape)] = randomValue(r, shape)
		}
		b := maps.Clone(a)
		for range r.IntN(3) {
			randomEdits(r, shape, b)
		}
		want := []string{}
		for _, k := range slices.Sorted(maps.Keys(merged(a, b))) {
			va, oka := a[k]
			vb, okb := b[k]
			if oka != okb || va != vb {
				want = append(want, fmt.Sprintf("%x %v %v", k, oka, okb))
			}
		}
		got := []string{}
		err := DiffTree(t.Context(), st, build(t, st, a), build(t, st, b), func(key, va, vb []byte) error {
			if va != nil && a[string(key)] != string(va) || vb != nil && b[string(key)] != string(vb) {
				t.Errorf("wrong values of %x", key)
			}
			got = append(got, fmt.Sprintf("%x %v %v", key, va != nil, vb != nil))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Fatalf("round %d:\n%s", round, diff)
		}
	}
}

func merged(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// TestMapDiffCost: equal subtrees are not read.
func TestMapDiffCost(t *testing.T) {
	st := &counted{Store: blocktest.NewMem()}
	m := map[string]string{}
	for i := range uint64(50_000) {
		m[rowKey(i)] = "a value, which is sixty bytes long or so, like rows are in fact"
	}
	a := build(t, st, m)
	b := must[block.ID](t)(EditTree(t.Context(), st, a, []Edit{{Key: []byte(rowKey(25_000))}}))
	st.gets = 0
	found := 0
	err := DiffTree(t.Context(), st, a, b, func(_, _, _ []byte) error { found++; return nil })
	if err != nil || found != 1 || st.gets > 30 {
		t.Errorf("%d differences, %d gets, %v", found, st.gets, err)
	}
}

func TestMapGetAndWalk(t *testing.T) {
	st := blocktest.NewMem()
	m := map[string]string{}
	for i := range uint64(5000) {
		m[rowKey(2*i)] = fmt.Sprint(i)
	}
	root := build(t, st, m)
	for i := range uint64(10_001) {
		got, ok, err := GetTree(t.Context(), st, root, []byte(rowKey(i)))
		want, there := m[rowKey(i)]
		if err != nil || ok != there || (there && string(got) != want) {
			t.Fatalf("key %d: %q, %v, %v", i, got, ok, err)
		}
	}
	for _, from := range []uint64{0, 1, 777, 4000, 9998, 9999} {
		n := 0
		first := ""
		err := WalkTree(t.Context(), st, root, []byte(rowKey(from)), func(kv KV) error {
			if n++; n == 1 {
				first = string(kv.Key)
			}
			return nil
		})
		wantN := int(10_000-from) / 2
		if err != nil || n != wantN || (n > 0 && first != rowKey((from+1)/2*2)) {
			t.Errorf("from %d: %d items from %x, %v; want %d", from, n, first, err, wantN)
		}
	}
	boom := errors.New("boom")
	if err := WalkTree(t.Context(), st, root, nil, func(KV) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if err := WalkTree(t.Context(), st, root, nil, func(KV) error { return ErrStop }); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestMapRefuses(t *testing.T) {
	st := blocktest.NewMem()
	for _, tt := range []struct {
		name  string
		items []KV
		want  error
	}{
		{"descending keys", []KV{{Key: []byte("b")}, {Key: []byte("a")}}, ErrOrder},
		{"equal keys", []KV{{Key: []byte("b")}, {Key: []byte("b")}}, ErrOrder},
		{"no key", []KV{{}}, ErrTooLarge},
		{"long key", []KV{{Key: make([]byte, KeyMax+1)}}, ErrTooLarge},
		{"long value", []KV{{Key: []byte("a"), Value: make([]byte, ValueMax+1)}}, ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := BuildTree(t.Context(), st, func(yield func(KV, error) bool) {
				for _, kv := range tt.items {
					if !yield(kv, nil) {
						return
					}
				}
			})
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := EditTree(t.Context(), st, block.ID{}, []Edit{{Key: []byte("b")}, {Key: []byte("a")}}); !errors.Is(err, ErrOrder) {
		t.Errorf("edits out of order: %v", err)
	}
}

// TestMapWideValue: the widest value and key make a node that is legal.
func TestMapWideValue(t *testing.T) {
	st := blocktest.NewMem()
	m := map[string]string{"a": "1", "b": string(make([]byte, 64<<10)), "c": "3"}
	wide := string(bytes.Repeat([]byte("k"), KeyMax))
	m[wide] = string(make([]byte, ValueMax))
	if diff := cmp.Diff(readMap(t, st, build(t, st, m)), m); diff != "" {
		t.Error("content differs")
	}
}

// TestMapMissingNode: a node that is not there is an error, not a shorter map.
func TestMapMissingNode(t *testing.T) {
	st := blocktest.NewMem()
	m := map[string]string{}
	for i := range uint64(2000) {
		m[rowKey(i)] = "some value"
	}
	root := build(t, st, m)
	var last block.ID
	if err := TreeNodes(t.Context(), st, root, func(id block.ID) error { last = id; return nil }); err != nil {
		t.Fatal(err)
	}
	st.Delete(last)
	err := WalkTree(t.Context(), st, root, nil, func(KV) error { return nil })
	if !errors.Is(err, block.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// TestMapRefusesTree: a tree from others is believed only as far as its nodes agree with each other.
func TestMapRefusesTree(t *testing.T) {
	st := blocktest.NewMem()
	put := func(level int, items ...KV) KV {
		n := mapNode{level: level, items: items}
		id := must[block.ID](t)(putNode(t.Context(), st, n.encode()))
		return KV{Key: n.first(), Value: id.Bytes()}
	}
	kv := func(key string) KV { return KV{Key: []byte(key), Value: []byte("v")} }
	renamed := put(0, kv("b"), kv("c"))
	renamed.Key = []byte("bb")
	for name, root := range map[string]KV{
		"other first key": put(1, put(0, kv("a")), renamed),
		"level skipped":   put(2, put(0, kv("a")), put(0, kv("b"))),
		"overlap":         put(1, put(0, kv("a"), kv("d")), put(0, kv("c"))),
		"overlap below":   put(2, put(1, put(0, kv("a")), put(0, kv("b"), kv("x"))), put(1, put(0, kv("w")))),
	} {
		t.Run(name, func(t *testing.T) {
			id := must[block.ID](t)(block.FromBytes(root.Value))
			err := WalkTree(t.Context(), st, id, nil, func(KV) error { return nil })
			if !errors.Is(err, block.ErrCorrupt) {
				t.Errorf("walk: %v", err)
			}
			err = DiffTree(t.Context(), st, id, block.ID{}, func(_, _, _ []byte) error { return nil })
			if !errors.Is(err, block.ErrCorrupt) {
				t.Errorf("diff: %v", err)
			}
			edits := []Edit{{Key: []byte("a")}, {Key: []byte("b")}, {Key: []byte("bb"), Value: []byte("2")}, {Key: []byte("bc")}}
			if got, err := EditTree(t.Context(), st, id, edits); !errors.Is(err, block.ErrCorrupt) {
				t.Errorf("edit: %s, %v", got, err)
			}
		})
	}
}

func BenchmarkEditTree(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("edits=%d", n), func(b *testing.B) {
			ctx := context.Background()
			st := blocktest.NewMem()
			root, err := BuildTree(ctx, st, func(yield func(KV, error) bool) {
				for i := range uint64(100_000) {
					if !yield(KV{Key: []byte(rowKey(i)), Value: make([]byte, 100)}, nil) {
						return
					}
				}
			})
			if err != nil {
				b.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			for b.Loop() {
				keys := map[string]bool{}
				for range n {
					keys[rowKey(r.Uint64N(100_000))] = true
				}
				var edits []Edit
				for _, k := range slices.Sorted(maps.Keys(keys)) {
					edits = append(edits, Edit{Key: []byte(k), Value: []byte("new")})
				}
				if _, err := EditTree(ctx, st, root, edits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
