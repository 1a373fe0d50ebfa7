package store

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// mustTrash puts a block into the trash.
func mustTrash(t testing.TB, s *Store, id block.ID) {
	t.Helper()
	if done, err := s.Trash(context.Background(), id, nil); err != nil || !done {
		t.Fatalf("trash %s: %t, %v", id, done, err)
	}
}

// trashOf lists the trash: since when each block is there.
func trashOf(t testing.TB, s *Store) map[block.ID]int64 {
	t.Helper()
	got := make(map[block.ID]int64)
	err := s.EachTrash(context.Background(), func(id block.ID, _ int64, since time.Time) error {
		got[id] = since.Unix()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// everyLife calls verify with the store as it is, reopened, with its index lost, and with it rebuilt.
func everyLife(t *testing.T, fs vfs.FS, s *Store, o Options, verify func(*Store)) {
	t.Helper()
	verify(s)
	mustClose(t, s)
	s = openAt(t, fs, o)
	verify(s)
	mustClose(t, s)
	if err := fs.(*vfs.MemFS).RemoveAll(testDir + "/index"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, fs, o)
	verify(s)
	if err := s.RebuildIndex(context.Background(), func(p Problem) { t.Errorf("rebuild: %v", p) }); err != nil {
		t.Fatal(err)
	}
	verify(s)
	mustClose(t, s)
}

// TestTrash breaks if a block in the trash counts as held, can't be read, loses the time of its trashing with a new
// index, or does not come back at the cost of a mark.
func TestTrash(t *testing.T) {
	const n = 3001 // odd seeds don't compress
	ctx := context.Background()
	fs := vfs.NewMem()
	c := &testClock{}
	o := Options{Clock: c}
	s := openAt(t, fs, o)
	want := make(map[block.ID]int64)
	for seed := range uint64(8) {
		id := mustPut(t, s, 2*seed+1, n)
		c.seconds.Add(1)
		mustTrash(t, s, id)
		want[id] = c.Now().Unix()
		if again, err := s.Trash(ctx, id, nil); again || err != nil {
			t.Errorf("trashing it again: %t, %v", again, err)
		}
	}
	mustSync(t, s)
	before := s.Usage()
	if before.TrashBytes != 8*(n+recordHead) || before.OwnedBytes != 0 || before.Blocks != 0 {
		t.Errorf("usage %+v", before)
	}
	back := func(seed uint64, how func(id block.ID, b []byte) error) {
		t.Helper()
		id, b := testBlock(seed, n)
		wantBlock(t, s, seed, n)
		if owned, cached := s.Has(id); owned || cached || !s.InTrash(id) {
			t.Errorf("seed %d in the trash: owned %t, cached %t", seed, owned, cached)
		}
		if err := how(id, b); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		delete(want, id)
	}
	wire := func(id block.ID) []byte {
		w, err := s.Wire(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	back(1, func(id block.ID, b []byte) error { return s.Put(ctx, id, b) })
	back(3, func(id block.ID, b []byte) error { return s.PutCached(ctx, id, b) })
	back(5, func(id block.ID, _ []byte) error { return s.PutWire(ctx, id, wire(id), false) })
	back(7, func(id block.ID, _ []byte) error { return s.PutWire(ctx, id, wire(id), true) })
	back(9, func(id block.ID, _ []byte) error { return s.Own(ctx, id) })
	if after := s.Usage(); after.DeadBytes != before.DeadBytes+5*recordHead {
		t.Errorf("bringing back five blocks took %d bytes", after.DeadBytes-before.DeadBytes)
	}
	id11, _ := testBlock(11, n)
	wantErr(t, "disown of trash", s.Disown(ctx, id11), block.ErrNotFound)
	everyLife(t, fs, s, o, func(s *Store) {
		t.Helper()
		for seed, want := range map[uint64][2]bool{1: {true}, 3: {false, true}, 5: {true}, 7: {false, true}, 9: {true}, 11: {}} {
			if owned, cached := holds(s, seed, n); owned != want[0] || cached != want[1] {
				t.Errorf("seed %d: owned %t, cached %t, want %v", seed, owned, cached, want)
			}
			wantBlock(t, s, seed, n)
		}
		if got := trashOf(t, s); !maps.Equal(got, want) {
			t.Errorf("trash %v, want %v", got, want)
		}
		wantCheck(t, s, nil)
	})
}

// TestUnless breaks if a block goes although its user says no at the last moment, or goes by the wrong call.
func TestUnless(t *testing.T) {
	const n = 501
	ctx := context.Background()
	s := openAt(t, vfs.NewMem(), Options{})
	type call func(context.Context, block.ID, func() bool) (bool, error)
	no := func() bool { return true }
	yes := func() bool { return false }
	id := mustPut(t, s, 1, n)
	s.mustPutCached(t, 3, n)
	cachedID, _ := testBlock(3, n)
	absentID, _ := testBlock(5, n)
	try := func(what string, f call, id block.ID, unless func() bool, want bool) {
		t.Helper()
		if done, err := f(ctx, id, unless); done != want || err != nil {
			t.Errorf("%s: %t, %v, want %t", what, done, err, want)
		}
	}
	for _, id := range []block.ID{cachedID, absentID} {
		try("trash of what is not owned", s.Trash, id, yes, false)
		try("drop of what is not owned", s.Drop, id, yes, false)
		try("delete of what is not owned", s.DeleteUnless, id, yes, false)
	}
	try("drop of an owned block", s.Drop, id, yes, false)
	try("trash, no", s.Trash, id, no, false)
	try("delete, no", s.DeleteUnless, id, no, false)
	if owned, _ := s.Has(id); !owned {
		t.Error("the block went against the word of its user")
	}
	try("trash", s.Trash, id, yes, true)
	try("delete of trash", s.DeleteUnless, id, yes, false)
	try("drop, no", s.Drop, id, no, false)
	wantBlock(t, s, 1, n)
	try("drop", s.Drop, id, yes, true)
	_, err := s.Get(ctx, id)
	wantErr(t, "get of a dropped block", err, block.ErrNotFound)
	mustPut(t, s, 1, n)
	try("delete", s.DeleteUnless, id, yes, true)
	_, err = s.Get(ctx, id)
	wantErr(t, "get of a deleted block", err, block.ErrNotFound)
	wantCheck(t, s, nil)
}

// TestTrashCompact breaks if rewriting segments loses the trash, its time, or what was brought back.
func TestTrashCompact(t *testing.T) {
	const n = 3001
	ctx := context.Background()
	fs := vfs.NewMem()
	c := &testClock{}
	o := Options{Clock: c, SegmentBytes: 20_000}
	s := openAt(t, fs, o)
	want := make(map[block.ID]int64)
	for seed := range uint64(40) {
		id := mustPut(t, s, 2*seed+1, n)
		c.seconds.Add(1)
		if seed%4 == 0 {
			mustTrash(t, s, id)
			want[id] = c.Now().Unix()
		}
	}
	for seed := range uint64(40) {
		id, b := testBlock(2*seed+1, n)
		switch {
		case seed%8 == 0:
			if err := s.Put(ctx, id, b); err != nil {
				t.Fatal(err)
			}
			delete(want, id)
		case seed%4 != 0:
			if err := s.Delete(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.seconds.Add(1000)
	for range 3 { // the marks of the first are carried by the others
		if freed, err := s.Compact(ctx); err != nil {
			t.Fatalf("compact freed %d, %v", freed, err)
		}
		for range 10 { // a segment of marks and dead blocks
			id := mustPut(t, s, 1001, n)
			if err := s.Delete(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustSync(t, s)
	if u := s.Usage(); u.DeadBytes > 60_000 {
		t.Errorf("usage %+v", u)
	}
	everyLife(t, fs, s, o, func(s *Store) {
		t.Helper()
		if got := trashOf(t, s); !maps.Equal(got, want) {
			t.Errorf("trash %v, want %v", got, want)
		}
		for seed := uint64(0); seed < 40; seed += 4 {
			wantBlock(t, s, 2*seed+1, n)
			if owned, _ := holds(s, 2*seed+1, n); owned != (seed%8 == 0) {
				t.Errorf("seed %d: owned %t", 2*seed+1, owned)
			}
		}
		wantCheck(t, s, nil)
	})
}

// TestTrashDamaged breaks if a Put into the trash believes a record that is known to be damaged, or if damaged trash
// can't be dropped.
func TestTrashDamaged(t *testing.T) {
	ctx := context.Background()
	fs := rotten(t)
	s := openAt(t, fs, Options{})
	id7, b := testBlock(7, rotLen)
	id9, _ := testBlock(9, rotLen)
	mustTrash(t, s, id7)
	mustTrash(t, s, id9)
	mustSync(t, s)
	for _, i := range []int64{3, 4} {
		overwrite(t, fs, segmentFiles(t, fs)[0], i*rotSize+1000, []byte{0xee})
	}
	wantCheck(t, s, map[ProblemKind]int{Damaged: 2})
	if err := s.Put(ctx, id7, b); err != nil {
		t.Fatal(err)
	}
	wantBlock(t, s, 7, rotLen)
	if len(trashOf(t, s)) != 1 {
		t.Errorf("trash %v", trashOf(t, s))
	}
	if done, err := s.Drop(ctx, id9, nil); !done || err != nil {
		t.Errorf("drop of damaged trash: %t, %v", done, err)
	}
	wantCheck(t, s, nil)
}

// TestTrashMarkRot breaks if a trash mark with damaged bytes is believed, not reported, or takes its block with it.
func TestTrashMarkRot(t *testing.T) {
	fs := rotten(t)
	s := openAt(t, fs, Options{})
	id, _ := testBlock(7, rotLen)
	mustTrash(t, s, id)
	mustSync(t, s)
	mustPut(t, s, 101, 10) // its record says that all before is on disk
	mustClose(t, s)
	path := segmentFiles(t, fs)[0]
	info, err := fs.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	flip(t, fs, path, info.Size()-10-recordHead-1) // the last byte of the time
	s = openAt(t, fs, Options{})
	wantCheck(t, s, map[ProblemKind]int{Garbage: 1})
	mustClose(t, s)
	if err := fs.RemoveAll(testDir + "/index"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, fs, Options{})
	if owned, _ := s.Has(id); !owned {
		t.Error("the block is in the trash, by a damaged mark")
	}
	wantBlock(t, s, 7, rotLen)
	wantCheck(t, s, map[ProblemKind]int{Garbage: 1})
}

// TestMetaV1 breaks if an index that was written before there was a trash can't be read.
func TestMetaV1(t *testing.T) {
	want := meta{generation: 3, upTo: place{4, 5}, totals: totals{owned: 6, cached: 7, blocks: 8}}
	b := want.encode()[:metaLenV1]
	b[0] = 1
	if got, err := decodeMeta(b); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}
