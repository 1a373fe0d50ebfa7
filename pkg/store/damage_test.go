package store

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// segmentFiles lists the segments of the test store, in order.
func segmentFiles(t testing.TB, fs vfs.FS) []string {
	t.Helper()
	segs, err := openSegments(fs, testDir+"/segments")
	if err != nil {
		t.Fatal(err)
	}
	defer closeSegments(segs)
	var paths []string
	for _, g := range segs {
		paths = append(paths, g.path)
	}
	return paths
}

// overwrite changes bytes of a file.
func overwrite(t testing.TB, fs vfs.FS, path string, off int64, b []byte) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

const (
	rotLen  = 3001 // odd seeds don't compress: records of this and a head
	rotSize = rotLen + recordHead
)

// rotten is a store of blocks 1, 3 … 19, one after the other in one segment, closed.
func rotten(t *testing.T) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	s := openAt(t, fs, Options{})
	for i := range uint64(10) {
		mustPut(t, s, 2*i+1, rotLen)
	}
	mustSync(t, s)
	mustPut(t, s, 100, 10) // its record says that all before it is synced
	mustClose(t, s)
	return fs
}

// TestRot: a rotten record in the middle is reported, refused and can be replaced; all the good
// ones behind it stay. With the index and without.
func TestRot(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		name string
		off  int64 // of the byte that rots
		lost bool  // the index
		want map[ProblemKind]int
	}{
		{"form", 3*rotSize + 1000, false, map[ProblemKind]int{Damaged: 1}},
		{"head", 3*rotSize + 20, false, map[ProblemKind]int{Damaged: 1, Garbage: 1}},
		{"form, index lost", 3*rotSize + 1000, true, map[ProblemKind]int{Damaged: 1}},
		{"head, index lost", 3*rotSize + 20, true, map[ProblemKind]int{Garbage: 1}},
		{"first head, index lost", 2, true, map[ProblemKind]int{Garbage: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fs := rotten(t)
			overwrite(t, fs, segmentFiles(t, fs)[0], tt.off, []byte{0xee})
			if tt.lost {
				if err := fs.RemoveAll(testDir + "/index"); err != nil {
					t.Fatal(err)
				}
			}
			s := openAt(t, fs, Options{})
			if r := s.Recovered(); len(r.Problems) != tt.want[Garbage] && tt.lost || r.CutBytes != 0 {
				t.Errorf("recovered %+v", r)
			}
			hit := uint64(tt.off/rotSize)*2 + 1
			for i := range uint64(10) {
				if 2*i+1 != hit {
					wantBlock(t, s, 2*i+1, rotLen)
				}
			}
			wantCheck(t, s, tt.want)
			id, b := testBlock(hit, rotLen)
			_, err := s.Get(ctx, id)
			if !errors.Is(err, block.ErrCorrupt) && (tt.want[Damaged] != 0 || !errors.Is(err, block.ErrNotFound)) {
				t.Errorf("get of the rotten block: %v", err)
			}
			if owned, cached := s.Has(id); owned || cached {
				t.Error("the rotten block is held")
			}
			if err := s.Put(ctx, id, b); err != nil {
				t.Fatal(err)
			}
			wantBlock(t, s, hit, rotLen)
			mustClose(t, s)
			s = openAt(t, fs, Options{})
			wantBlock(t, s, hit, rotLen)
			delete(tt.want, Damaged)
			wantCheck(t, s, tt.want)
		})
	}
}

// TestRebuildSaysWhatIsMissing: an index is not made shorter than it was without a word.
func TestRebuildSaysWhatIsMissing(t *testing.T) {
	fs := rotten(t)
	overwrite(t, fs, segmentFiles(t, fs)[0], 3*rotSize+20, []byte{0xee})
	overwrite(t, fs, segmentFiles(t, fs)[0], 5*rotSize+1000, []byte{0xee})
	s := openAt(t, fs, Options{})
	found := make(map[block.ID]ProblemKind)
	if err := s.RebuildIndex(context.Background(), func(p Problem) { found[p.ID] = p.Kind }); err != nil {
		t.Fatal(err)
	}
	id7, _ := testBlock(7, rotLen)
	id11, _ := testBlock(11, rotLen)
	if len(found) != 3 || found[id7] != Damaged || found[id11] != Damaged || found[block.ID{}] != Garbage {
		t.Errorf("found %v", found)
	}
	for _, id := range []block.ID{id7, id11} {
		_, err := s.Get(context.Background(), id)
		wantErr(t, "get", err, block.ErrCorrupt)
	}
	wantBlock(t, s, 9, rotLen)
	wantBlock(t, s, 19, rotLen)
	mustPut(t, s, 7, rotLen)
	mustPut(t, s, 11, rotLen)
	wantCheck(t, s, map[ProblemKind]int{Garbage: 1})
}

// TestMissingSegment: a segment that somebody removed is reported, at Open and by Check.
func TestMissingSegment(t *testing.T) {
	fs := vfs.NewMem()
	s := openAt(t, fs, Options{SegmentBytes: rotSize})
	mustPut(t, s, 1, rotLen)
	mustPut(t, s, 3, rotLen)
	mustClose(t, s)
	if err := fs.Remove(segmentFiles(t, fs)[0]); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, fs, Options{SegmentBytes: rotSize})
	if r := s.Recovered(); len(r.Problems) != 1 || r.Problems[0].Kind != Missing {
		t.Errorf("recovered %+v", r)
	}
	wantCheck(t, s, map[ProblemKind]int{Missing: 1})
	mustPut(t, s, 1, rotLen)
	wantBlock(t, s, 1, rotLen)
	wantBlock(t, s, 3, rotLen)
}

// TestTornTail: unsynced bytes that a crash tore are cut without an alarm, whatever is torn; what
// was synced stays, the log goes on, and the cut is remembered when the index is lost.
func TestTornTail(t *testing.T) {
	for _, torn := range []int64{1, 50, recordHead, recordHead + 1, rotSize - 1} {
		fs := rotten(t)
		path := segmentFiles(t, fs)[0]
		info, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		junk := make([]byte, torn)
		var r record
		r.kind, r.id = kindBlock, block.Sum(block.Raw, nil)
		if _, nonce, _ := parseSegmentName(fs.PathBase(path)); torn >= recordHead {
			r.nonce, r.off, r.length, r.header.PlainLen = nonce, info.Size(), rotLen, rotLen
			r.encode(junk)
		}
		overwrite(t, fs, path, info.Size(), junk)
		for _, lost := range []bool{false, true, true} {
			if lost {
				if err := fs.RemoveAll(testDir + "/index"); err != nil {
					t.Fatal(err)
				}
			}
			s := openAt(t, fs, Options{})
			if r := s.Recovered(); len(r.Problems) > 0 || r.CutBytes != 0 && lost || r.CutBytes != torn && !lost {
				t.Errorf("torn %d, index lost %t: %+v", torn, lost, r)
			}
			for i := range uint64(10) {
				wantBlock(t, s, 2*i+1, rotLen)
			}
			mustPut(t, s, 31, rotLen)
			mustSync(t, s)
			mustPut(t, s, 33, 5)
			wantBlock(t, s, 31, rotLen)
			wantCheck(t, s, nil)
			mustClose(t, s)
		}
	}
}

// failing is a file system that fails operations of some kinds while it is switched on.
func failing(fs vfs.FS, err error, fails func(op errorfs.Op) bool) (*errorfs.FS, *errorfs.Toggle) {
	on := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fails(op) {
			return err
		}
		return nil
	})}
	return errorfs.Wrap(fs, on), on
}

// TestFailedSync: after a failed fsync nothing is acknowledged any more, reads go on, and a new
// open has all that was acknowledged before.
func TestFailedSync(t *testing.T) {
	ctx := context.Background()
	mem := vfs.NewMem()
	fs, on := failing(mem, syscall.EIO, func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSyncData })
	s := openAt(t, fs, Options{})
	mustPut(t, s, 1, 1000)
	mustSync(t, s)
	id := mustPut(t, s, 3, 1000)
	on.On()
	wantErr(t, "sync", s.Sync(ctx), ErrPoisoned)
	on.Off()
	wantErr(t, "second sync", s.Sync(ctx), ErrPoisoned)
	_, b := testBlock(5, 1000)
	wantErr(t, "put", s.Put(ctx, block.Sum(block.Raw, b), b), ErrPoisoned)
	_, b = testBlock(3, 1000)
	wantErr(t, "put of what is there", s.Put(ctx, id, b), ErrPoisoned)
	wantErr(t, "delete", s.Delete(ctx, id), ErrPoisoned)
	wantBlock(t, s, 1, 1000)
	wantErr(t, "close", s.Close(), ErrPoisoned)
	s = openAt(t, fs, Options{})
	wantBlock(t, s, 1, 1000)
	wantCheck(t, s, nil)
}

// TestNoSpace: a write that finds the disk full, at any point, fails with ErrNoSpace; all that was
// acknowledged stays, and writing goes on when there is space.
func TestNoSpace(t *testing.T) {
	ctx := context.Background()
	for nth := range 30 {
		n := 0
		mem := vfs.NewMem()
		fs, on := failing(mem, syscall.ENOSPC, func(op errorfs.Op) bool {
			switch op.Kind {
			case errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpCreate, errorfs.OpFilePreallocate:
				n++
				return n > nth
			}
			return false
		})
		o := Options{SegmentBytes: 10_000}
		s := openAt(t, fs, o)
		on.On()
		stored := make(map[uint64]bool)
		for seed := range uint64(30) {
			id, b := testBlock(seed, 2000)
			switch err := s.Put(ctx, id, b); {
			case err == nil:
				stored[seed] = true
			case !errors.Is(err, ErrNoSpace):
				t.Fatalf("put: %v", err)
			}
			if err := s.Sync(ctx); err != nil {
				t.Fatalf("sync: %v", err)
			}
		}
		if len(stored) == 30 {
			t.Errorf("failing from write %d on: nothing failed", nth)
		}
		on.Off()
		for seed := range uint64(30) {
			if stored[seed] {
				wantBlock(t, s, seed, 2000)
			}
			mustPut(t, s, seed, 2000)
		}
		mustClose(t, s)
		if err := mem.RemoveAll(testDir + "/index"); err != nil {
			t.Fatal(err)
		}
		s = openAt(t, mem, o)
		if r := s.Recovered(); len(r.Problems) > 0 {
			t.Errorf("failing from write %d on: %v", nth, r.Problems)
		}
		for seed := range uint64(30) {
			wantBlock(t, s, seed, 2000)
		}
		wantCheck(t, s, nil)
		mustClose(t, s)
	}
}

// TestCapacity: the capacity is never passed, not by one byte, and deleting and rewriting work in
// the reserve when it is full.
func TestCapacity(t *testing.T) {
	ctx := context.Background()
	const capacity, reserve = 40_000, 8_000
	s := openAt(t, vfs.NewMem(), Options{CapacityBytes: capacity, ReserveBytes: reserve, SegmentBytes: 7000})
	full := func() (stored []uint64) {
		for i := range uint64(100) {
			id, b := testBlock(2*i+1, rotLen)
			if err := s.Put(ctx, id, b); err == nil {
				stored = append(stored, 2*i+1)
			} else if !errors.Is(err, ErrNoSpace) {
				t.Fatal(err)
			}
		}
		if u := s.Usage(); u.OwnedBytes+u.DeadBytes > capacity-reserve || u.FreeBytes >= rotSize {
			t.Errorf("usage %+v", u)
		}
		return stored
	}
	stored := full()
	if len(stored) != (capacity-reserve)/rotSize {
		t.Errorf("%d blocks fit", len(stored))
	}
	for _, seed := range stored[:len(stored)-1] {
		id, _ := testBlock(seed, rotLen)
		if err := s.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	freed, err := s.Compact(ctx)
	if err != nil || freed < 5*rotSize {
		t.Errorf("compact freed %d, %v", freed, err)
	}
	if again := full(); len(again) < 5 {
		t.Errorf("after compacting only %d blocks fit", len(again))
	}
	wantCheck(t, s, nil)
}
