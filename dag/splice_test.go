package dag

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/block/blocktest"
)

// content reads a whole body.
func content(t *testing.T, st block.Store, b Body) []byte {
	t.Helper()
	if b.Inline != nil {
		return b.Inline
	}
	out := make([]byte, b.Size)
	placed, err := Range(t.Context(), st, b, 0, b.Size)
	if err != nil {
		t.Fatal(err)
	}
	var at uint64
	for _, p := range placed {
		if p.Off != at {
			t.Fatalf("entry at %d, want %d", p.Off, at)
		}
		at += p.Len
		if p.IsHole() {
			continue
		}
		chunk, err := st.Get(t.Context(), p.ID)
		if err != nil {
			t.Fatal(err)
		}
		copy(out[p.Off:], chunk[p.Skip:uint64(p.Skip)+p.Len])
	}
	if at != b.Size {
		t.Fatalf("entries end at %d, want %d", at, b.Size)
	}
	return out
}

// checkBody checks a body's rules: its encoding, and each node of its tree.
func checkBody(t *testing.T, st block.Store, b Body) {
	t.Helper()
	got, err := DecodeBody(b.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, b, equateIDs); diff != "" {
		t.Fatalf("decoded body differs:\n%s", diff)
	}
	err = Blocks(t.Context(), st, b, func(id block.ID, _ bool, size uint64) error {
		data, err := st.Get(t.Context(), id)
		if err == nil && uint64(len(data)) < size {
			err = fmt.Errorf("block of %d bytes, at least %d expected", len(data), size)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	placed, err := Range(t.Context(), st, b, 0, b.Size)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(placed); i++ {
		if _, ok := join(placed[i-1].Entry, placed[i].Entry); ok {
			t.Fatalf("entries %d and %d could be one: %v %v", i-1, i, placed[i-1], placed[i])
		}
	}
}

// randomEntries makes entries of n bytes in all, with what they hold.
func randomEntries(t *testing.T, r *rand.Rand, st block.Store, n, pieceMax int) ([]Entry, []byte) {
	t.Helper()
	var entries []Entry
	var data []byte
	for n > 0 {
		k := min(n, 1+r.IntN(pieceMax))
		n -= k
		if r.IntN(4) == 0 {
			entries = append(entries, Entry{Len: uint64(k)})
			data = append(data, make([]byte, k)...)
			continue
		}
		skip := r.IntN(2) * r.IntN(50)
		chunk := make([]byte, skip+k+r.IntN(3))
		for i := range chunk {
			chunk[i] = byte(r.Uint32())
		}
		id := block.Sum(block.Raw, chunk)
		if err := st.Put(t.Context(), id, chunk); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, Entry{Len: uint64(k), ID: id, Skip: uint32(skip)})
		data = append(data, chunk[skip:skip+k]...)
	}
	return entries, data
}

// TestSpliceModel compares random splices with the same on plain bytes. If it fails, files lose or mix up bytes.
func TestSpliceModel(t *testing.T) {
	r := newRand(t)
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		st := blocktest.NewMem()
		pieceMax := 1 + r.IntN(40)
		entries, model := randomEntries(t, r, st, r.IntN(60000), pieceMax)
		b, err := BuildBody(t.Context(), st, entries, [32]byte{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for step := range 60 {
			checkBody(t, st, b)
			off := r.IntN(len(model) + 10)
			n := 0
			switch r.IntN(6) {
			case 0: // a change of size
			case 1:
				n = r.IntN(len(model) + 10)
			default:
				n = r.IntN(100)
			}
			entries, data := randomEntries(t, r, st, n, pieceMax)
			size := max(len(model), off+n)
			switch r.IntN(8) {
			case 0:
				size = r.IntN(size + 1)
			case 1:
				size += r.IntN(2000)
			}
			if b, err = Splice(t.Context(), st, b, uint64(off), uint64(n), entries, uint64(size)); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			model = spliceModel(model, off, data, size)
			if got := content(t, st, b); !bytes.Equal(got, model) || b.Size != uint64(len(model)) {
				t.Fatalf("step %d: splice of %d bytes at %d, size %d: content differs", step, n, off, size)
			}
		}
	}
}

func spliceModel(model []byte, off int, data []byte, size int) []byte {
	out := make([]byte, max(len(model), off+len(data), size))
	copy(out, model)
	copy(out[off:], data)
	return out[:size]
}

// TestSpliceInline: an inline body stays inline while it can, and its bytes are never lost.
func TestSpliceInline(t *testing.T) {
	st := blocktest.NewMem()
	hello := InlineBody([]byte("hello"))
	for _, tt := range []struct {
		name         string
		off, n, size uint64
		entries      []Entry
		want         string
		inline       bool
	}{
		{"truncate", 0, 0, 2, nil, "he", true},
		{"truncate to nothing", 0, 0, 0, nil, "", true},
		{"extend", 0, 0, 7, nil, "hello\x00\x00", true},
		{"punch", 1, 2, 5, []Entry{{Len: 2}}, "h\x00\x00lo", true},
		{"punch beyond the end", 4, 3, 7, []Entry{{Len: 3}}, "hell\x00\x00\x00", true},
		{"punch cut by the size", 4, 3, 5, []Entry{{Len: 3}}, "hell\x00", true},
		{"extend far", 0, 0, InlineMax + 1, nil, "hello" + string(make([]byte, InlineMax-4)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Splice(t.Context(), st, hello, tt.off, tt.n, tt.entries, tt.size)
			if err != nil {
				t.Fatal(err)
			}
			checkBody(t, st, got)
			if s := string(content(t, st, got)); s != tt.want || (got.Entries == nil) != tt.inline {
				t.Errorf("got %q, %d entries; want %q", s, len(got.Entries), tt.want)
			}
		})
	}
}

// TestSpliceSame: writing a stretch of a chunk over itself changes nothing, wherever it lies.
func TestSpliceSame(t *testing.T) {
	st := blocktest.NewMem()
	entries := []Entry{{Len: 100, ID: chunkID(1)}, {Len: 50}, {Len: 100, ID: chunkID(2), Skip: 7}}
	b := must[Body](t)(BuildBody(t.Context(), st, entries, [32]byte{}, nil))
	for off := uint64(0); off < b.Size; off += 3 {
		for end := off + 1; end <= b.Size; end++ {
			var write []Entry
			for _, p := range must[[]Placed](t)(Range(t.Context(), st, b, off, end-off)) {
				lo, hi := max(off, p.Off)-p.Off, min(end-p.Off, p.Len)
				write = append(write, p.cut(lo, hi))
			}
			got := must[Body](t)(Splice(t.Context(), st, b, off, end-off, write, b.Size))
			if got.ID() != b.ID() {
				t.Fatalf("[%d, %d): got %v, want %v", off, end, got.Entries, b.Entries)
			}
		}
	}
}

func TestSpliceErrors(t *testing.T) {
	st := blocktest.NewMem()
	chunk := Entry{Len: 10, ID: chunkID(1)}
	for _, tt := range []struct {
		name         string
		off, n, size uint64
		entries      []Entry
		want         error
	}{
		{"lengths don't add up", 0, 11, 11, []Entry{chunk}, ErrBadEntry},
		{"empty entry", 0, 0, 11, []Entry{{}}, ErrBadEntry},
		{"beyond a chunk", 0, 1, 11, []Entry{{Len: 1, Skip: block.ChunkMax, ID: chunkID(1)}}, ErrBadEntry},
		{"hole with a skip", 0, 1, 11, []Entry{{Len: 1, Skip: 1}}, ErrBadEntry},
		{"a node", 0, 1, 1, []Entry{{Len: 1, ID: nodeID(1)}}, ErrBadEntry},
		{"too large", 0, 0, SizeMax + 1, nil, ErrTooLarge},
		{"offset too large", 1 << 63, 1 << 63, 0, nil, ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Splice(t.Context(), st, Body{}, tt.off, tt.n, tt.entries, tt.size); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestSpliceCost: a change reads and puts a path of the tree, whatever the file's size; also where all chunks are equal,
// which gives no places to cut nodes at.
func TestSpliceCost(t *testing.T) {
	const chunks = 200_000
	for _, equal := range []bool{false, true} {
		t.Run(fmt.Sprintf("equal=%v", equal), func(t *testing.T) {
			r := newRand(t)
			st := &counted{Store: blocktest.NewMem()}
			entries := make([]Entry, chunks)
			for i := range entries {
				entries[i] = Entry{Len: 1 << 20, ID: chunkID(uint64(i))}
				if equal {
					entries[i].ID = chunkID(7)
				}
			}
			b := must[Body](t)(BuildBody(t.Context(), st, entries, [32]byte{}, nil))
			for i := range 200 {
				st.gets, st.puts = 0, 0
				off := r.Uint64N(b.Size - 4096)
				write := []Entry{{Len: 4096, ID: chunkID(uint64(chunks + i))}}
				var err error
				if b, err = Splice(t.Context(), st, b, off, 4096, write, b.Size); err != nil {
					t.Fatal(err)
				}
				if depth := int(b.Depth); st.gets > 3*depth || st.puts > 3*depth {
					t.Fatalf("%d gets, %d puts for one write in a tree of depth %d", st.gets, st.puts, depth)
				}
			}
		})
	}
}

// TestSpliceAppend: a log that grows by small appends has a tree of bounded depth and full enough nodes.
func TestSpliceAppend(t *testing.T) {
	st := &counted{Store: blocktest.NewMem()}
	var b Body
	const n = 5000
	for i := range n {
		var err error
		e := []Entry{{Len: 10, ID: chunkID(uint64(i))}}
		if b, err = Splice(t.Context(), st, b, b.Size, 10, e, b.Size+10); err != nil {
			t.Fatal(err)
		}
	}
	nodes := 0
	err := Blocks(t.Context(), st, b, func(_ block.ID, node bool, _ uint64) error {
		if node {
			nodes++
		}
		return nil
	})
	if err != nil || nodes > n/fanMin+2 || b.Depth != 2 {
		t.Errorf("%d nodes, depth %d, %v", nodes, b.Depth, err)
	}
}

func BenchmarkSplice(b *testing.B) {
	ctx := context.Background()
	st := blocktest.NewMem()
	entries := make([]Entry, 100_000)
	for i := range entries {
		entries[i] = Entry{Len: 1 << 20, ID: chunkID(uint64(i))}
	}
	body, err := BuildBody(ctx, st, entries, [32]byte{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		write := []Entry{{Len: 4096, ID: chunkID(uint64(i % 1000))}}
		if _, err := Splice(ctx, st, body, r.Uint64N(body.Size-4096), 4096, write, body.Size); err != nil {
			b.Fatal(err)
		}
	}
}
