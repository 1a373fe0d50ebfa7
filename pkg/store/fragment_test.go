package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/block/blocktest"
)

// testFragment is a fragment made from a seed, of n bytes or a little more. Four seeds in a row are of one block, two of them of one stripe.
func testFragment(seed uint64, n int) (block.Fragment, []byte) {
	id, _ := testBlock(seed/4, 100)
	formLen := block.HeaderLen + 2*n
	r := block.StripeRecord{Stripe: block.Stripe{ID: id, Form: [32]byte{byte(seed / 2)}, K: 2, M: 1}, FormLen: formLen}
	i := int(seed % 2)
	data := blocktest.Bytes(seed, block.FragmentSize(formLen, 2))
	r.Digests = make([][block.HashLen]byte, 3)
	r.Digests[i] = blake3.Sum256(data)
	return block.Fragment{Stripe: r.Stripe, I: uint8(i)}, r.AppendWire(nil, i, data)
}

func mustPutFragment(t testing.TB, s *Store, seed uint64, n int) block.Fragment {
	t.Helper()
	f, wire := testFragment(seed, n)
	if err := s.PutFragment(context.Background(), f, wire); err != nil {
		t.Fatalf("put fragment of seed %d: %v", seed, err)
	}
	return f
}

func wantFragment(t testing.TB, s *Store, seed uint64, n int) {
	t.Helper()
	f, want := testFragment(seed, n)
	got, err := s.Fragment(context.Background(), f)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("fragment of seed %d: %d bytes, %v", seed, len(got), err)
	}
}

// fragmentsOf lists what is held of a block, sorted.
func fragmentsOf(t testing.TB, s *Store, id block.ID) []block.Fragment {
	t.Helper()
	got, err := s.Fragments(id)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b block.Fragment) int { return bytes.Compare(a.Append(nil), b.Append(nil)) })
	return got
}

// TestFragments: what is put is listed and read, in all lives of the store, beside blocks; what is deleted or in the trash is not listed; blocks are listed without
// fragments.
func TestFragments(t *testing.T) {
	ctx := context.Background()
	fs := vfs.NewMem()
	c := &testClock{}
	o := Options{Clock: c, SegmentBytes: 64 << 10}
	s := openAt(t, fs, o)
	var all []block.Fragment
	for seed := range uint64(12) {
		all = append(all, mustPutFragment(t, s, seed, 1000+int(seed)))
		mustPut(t, s, seed, 500)
		if seed == 5 {
			mustSync(t, s)
		}
	}
	gone, trashed, back := all[1], all[6], all[7]
	c.seconds.Add(7)
	_, terr := s.TrashFragment(ctx, trashed, nil)
	_, berr := s.TrashFragment(ctx, back, nil)
	if err := errors.Join(s.DeleteFragment(ctx, gone), s.DeleteFragment(ctx, gone), terr, berr, s.OwnFragment(ctx, back)); err != nil {
		t.Fatal(err)
	}
	since := c.Now()
	mustSync(t, s)
	want := map[block.ID][]block.Fragment{}
	for _, f := range all {
		if f != gone && f != trashed {
			want[f.ID] = append(want[f.ID], f)
		}
	}
	everyLife(t, fs, s, o, func(s *Store) {
		for id, list := range want {
			slices.SortFunc(list, func(a, b block.Fragment) int { return bytes.Compare(a.Append(nil), b.Append(nil)) })
			if diff := cmp.Diff(fmt.Sprint(list), fmt.Sprint(fragmentsOf(t, s, id))); diff != "" {
				t.Errorf("fragments of %s (-want +got):\n%s", id, diff)
			}
		}
		for seed := range uint64(12) {
			if f := all[seed]; f == gone {
				_, err := s.Fragment(ctx, f)
				wantErr(t, "a deleted fragment", err, block.ErrNotFound)
			} else {
				wantFragment(t, s, seed, 1000+int(seed))
			}
			if has := s.HasFragment(all[seed]); has != (all[seed] != gone && all[seed] != trashed) {
				t.Errorf("seed %d: has %t", seed, has)
			}
		}
		seen, inTrash := 0, 0
		err := s.EachFragment(ctx, func(f block.Fragment, n int64, isTrash bool, at time.Time) error {
			seen++
			if isTrash {
				inTrash++
			}
			if f == gone || n < 1000 || isTrash != (f == trashed) || isTrash && !at.Equal(time.Unix(since.Unix(), 0)) {
				t.Errorf("%s: %d bytes, trash %t since %v", f, n, isTrash, at)
			}
			return nil
		})
		if err != nil || seen != 11 || inTrash != 1 {
			t.Errorf("%d fragments, %d in the trash, %v", seen, inTrash, err)
		}
		blocks := 0
		if err := s.Each(ctx, func(id block.ID, _ int64, _ bool) error { blocks++; return nil }); err != nil || blocks != 12 {
			t.Errorf("%d blocks, %v", blocks, err)
		}
		if len(trashOf(t, s)) != 0 {
			t.Error("fragments are in the trash of blocks")
		}
		for seed, f := range all {
			if knows, err := s.KnowsFragments(f.ID); err != nil || !knows {
				t.Errorf("seed %d: fragments of its block are known: %t, %v", seed, knows, err)
			}
		}
		if knows, err := s.KnowsFragments(block.Sum(block.Raw, []byte("another"))); err != nil || knows {
			t.Errorf("fragments of nothing are known: %t, %v", knows, err)
		}
		if got, err := s.Fragments(block.Sum(block.Raw, []byte("another"))); err != nil || len(got) != 0 {
			t.Errorf("fragments of nothing: %v, %v", got, err)
		}
		wantCheck(t, s, nil)
		scrubAll(t, s, 23, nil)
	})
}

// scrubAll scrubs in small steps and compares what is found.
func scrubAll(t *testing.T, s *Store, blocks int, want map[block.Fragment]bool) {
	t.Helper()
	got := map[block.Fragment]bool{}
	n := 0
	for cursor := ""; ; {
		out, err := s.Scrub(context.Background(), cursor, 3000, func(p Problem) {
			if p.Kind != Damaged || p.ID != p.Fragment.ID {
				t.Errorf("found %v", p)
			}
			got[p.Fragment] = true
		})
		if err != nil {
			t.Fatal(err)
		}
		n += out.Blocks
		if out.Done {
			break
		}
		cursor = out.Next
	}
	if n != blocks || len(got) != len(want) {
		t.Errorf("%d scrubbed of %d, found %v, want %v", n, blocks, got, want)
	}
	for f := range want {
		if !got[f] {
			t.Errorf("damage of %s was not found", f)
		}
	}
}

// TestPutFragmentRefuses: bytes that are not what they say are never stored.
func TestPutFragmentRefuses(t *testing.T) {
	ctx := context.Background()
	s := openAt(t, vfs.NewMem(), Options{})
	f, wire := testFragment(1, 1000)
	flipped := bytes.Clone(wire)
	flipped[len(flipped)-1] ^= 4
	other := f
	other.I = 0
	bad := f
	bad.K = 0
	wantErr(t, "flipped", s.PutFragment(ctx, f, flipped), block.ErrCorrupt)
	wantErr(t, "short", s.PutFragment(ctx, f, wire[:len(wire)-1]), block.ErrCorrupt)
	wantErr(t, "empty", s.PutFragment(ctx, f, nil), block.ErrCorrupt)
	wantErr(t, "of another name", s.PutFragment(ctx, other, wire), block.ErrCorrupt)
	wantErr(t, "of no name", s.PutFragment(ctx, bad, wire), block.ErrBadID)
	if u := s.Usage(); u.OwnedBytes+u.DeadBytes != 0 {
		t.Errorf("usage %+v", u)
	}
	wantErr(t, "own what is not there", s.OwnFragment(ctx, f), block.ErrNotFound)
}

// TestFragmentRot: a rotten fragment is refused, listed no more, found by scrub and check, and can be put anew; the good ones stay.
func TestFragmentRot(t *testing.T) {
	const n = 1000
	_, wire := testFragment(0, n)
	size := int64(len(wire) + wireStart)
	for name, off := range map[string]int64{
		"bytes":  3*size + 600,
		"name":   3*size + recordHead + 20,
		"digest": 3*size + wireStart + block.FragmentNameLen + 33,
		"head":   3*size + 20,
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := openAt(t, fs, Options{})
			var all []block.Fragment
			for seed := range uint64(8) {
				all = append(all, mustPutFragment(t, s, seed, n))
			}
			mustSync(t, s)
			mustPut(t, s, 100, 10)
			mustClose(t, s)
			overwrite(t, fs, segmentFiles(t, fs)[0], off, []byte{0xee})
			s = openAt(t, fs, Options{})
			_, err := s.Fragment(context.Background(), all[3])
			wantErr(t, "get", err, block.ErrCorrupt)
			if s.HasFragment(all[3]) || slices.Contains(fragmentsOf(t, s, all[3].ID), all[3]) {
				t.Error("the rotten fragment is held")
			}
			scrubAll(t, s, 9, map[block.Fragment]bool{all[3]: true})
			err = s.EachFragment(context.Background(), func(f block.Fragment, n int64, _ bool, _ time.Time) error {
				if (n == 0) != (f == all[3]) {
					t.Errorf("%s has %d bytes", f, n)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			want := map[ProblemKind]int{Damaged: 1}
			if name == "head" {
				want[Garbage] = 1
			}
			wantCheck(t, s, want)
			mustPutFragment(t, s, 3, n)
			mustSync(t, s)
			scrubAll(t, s, 9, nil)
			for seed := range uint64(8) {
				wantFragment(t, s, seed, n)
			}
			mustClose(t, s)
		})
	}
}

// TestFragmentCompacted: fragments are carried along, and those in the trash with their time.
func TestFragmentCompacted(t *testing.T) {
	ctx := context.Background()
	fs := vfs.NewMem()
	c := &testClock{}
	o := Options{SegmentBytes: 50_000, Clock: c}
	s := openAt(t, fs, o)
	for seed := range uint64(80) {
		f := mustPutFragment(t, s, seed, 2000)
		var err error
		switch {
		case seed%8 == 3:
			_, err = s.TrashFragment(ctx, f, nil)
		case seed%8 != 0:
			err = s.DeleteFragment(ctx, f)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	since := c.Now().Unix()
	c.seconds.Add(100)
	if freed, err := s.Compact(ctx); err != nil || freed < 50_000 {
		t.Fatalf("freed %d, %v", freed, err)
	}
	everyLife(t, fs, s, o, func(s *Store) {
		n := 0
		err := s.EachFragment(ctx, func(f block.Fragment, _ int64, trashed bool, at time.Time) error {
			n++
			if trashed && at.Unix() != since {
				t.Errorf("%s: in the trash since %v", f, at)
			}
			return nil
		})
		if err != nil || n != 20 {
			t.Errorf("%d fragments, %v", n, err)
		}
		for seed := range uint64(80) {
			if seed%8 == 0 || seed%8 == 3 {
				wantFragment(t, s, seed, 2000)
			}
		}
		wantCheck(t, s, nil)
		checkCounts(t, s)
	})
}

// goldenFragments is one record of each kind that has to do with fragments.
func goldenFragments() ([]record, [][]byte) {
	f, wire := testFragment(5, 60)
	name := nameOf(f)
	body := wire[block.FragmentHeaderLen:]
	part := block.FragmentHeader{K: 2, M: 1, I: 1, FormLen: block.HeaderLen + 120}
	since := appendUint64(nil, 1_700_000_000)
	rs := []record{
		{kind: kindFragment, id: name, part: part},
		{kind: kindTrash, id: name, target: place{1, 0}},
		{kind: kindOwn, id: name, target: place{1, 0}},
		{kind: kindGone, id: name, target: place{1, 0}},
		{kind: kindTrashedFragment, id: name, part: part},
	}
	bodies := [][]byte{body, since, nil, nil, body}
	off := int64(0)
	for i := range rs {
		rs[i].nonce, rs[i].off, rs[i].synced = goldenNonce, off, off/2
		rs[i].length, rs[i].sum = uint32(len(bodies[i])), checksum(bodies[i])
		off = rs[i].end()
	}
	return rs, bodies
}

// goldenFragmentBytes is the segment with these records.
func goldenFragmentBytes() []byte {
	var b []byte
	rs, bodies := goldenFragments()
	for i, r := range rs {
		rec := make([]byte, r.size())
		r.encode(rec)
		copy(rec[recordHead:], bodies[i])
		b = append(b, rec...)
	}
	return b
}

// TestFragmentGolden: the bytes of records of fragments never change.
func TestFragmentGolden(t *testing.T) {
	b := goldenFragmentBytes()
	var text strings.Builder
	for rest := b; len(rest) > 0; {
		n := min(16, len(rest))
		fmt.Fprintln(&text, hex.EncodeToString(rest[:n]))
		rest = rest[n:]
	}
	path := filepath.Join("testdata", "format", "segment-fragments-v1.hex")
	if *update {
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("bytes changed (-want +got):\n%s", diff)
	}
	rs, _ := goldenFragments()
	sc := scanner{r: bytes.NewReader(b), nonce: goldenNonce, end: int64(len(b))}
	for i, want := range rs {
		got, gap, err := sc.next()
		if err != nil || got != want || gap.from != gap.to {
			t.Errorf("record %d: got %+v, gap %v, %v; want %+v", i, got, gap, err, want)
		}
	}
}

// TestFragmentRecordsRefused: a fragment's name in a record of a block, or the other way round, is no record.
func TestFragmentRecordsRefused(t *testing.T) {
	rs, _ := goldenFragments()
	blocks := goldenRecords()
	for name, r := range map[string]record{
		"block under a fragment's name":    {kind: kindBlock, id: rs[0].id},
		"fragment under a block's name":    {kind: kindFragment, id: blocks[0].id, part: rs[0].part, length: rs[0].length},
		"a fragment that is a cached copy": {kind: kindDisown, id: rs[0].id, target: place{1, 0}},
		"longer than its header says":      {kind: kindFragment, id: rs[0].id, part: rs[0].part, length: rs[0].length + 1},
		"a header of nothing":              {kind: kindFragment, id: rs[0].id, length: rs[0].length},
	} {
		r.nonce = goldenNonce
		b := make([]byte, recordHead)
		r.encode(b)
		if _, err := parseRecord(b, goldenNonce, 0); !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
