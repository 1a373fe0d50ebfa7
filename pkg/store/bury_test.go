package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func mustDelete(t *testing.T, s *Store, seeds ...uint64) {
	t.Helper()
	for _, seed := range seeds {
		id, _ := testBlock(seed, rotLen)
		if err := s.Delete(context.Background(), id); err != nil {
			t.Fatal(err)
		}
	}
}

// compactAll compacts until what is dead and its deletions are gone, but for what stands in segments that are alive.
func compactAll(t *testing.T, s *Store) {
	t.Helper()
	for range 4 {
		mustPut(t, s, 2001, rotLen) // the segment before is none that takes appends any more
		mustDelete(t, s, 2001)
		mustPut(t, s, 2003, rotLen)
		mustDelete(t, s, 2003)
		if _, err := s.Compact(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// wantGone closes the store and fails if blocks are there that were deleted: as it is, and when the index is lost.
func wantGone(t *testing.T, fs vfs.FS, s *Store, o Options, problems map[ProblemKind]int, seeds ...uint64) {
	t.Helper()
	for _, lost := range []bool{false, true} {
		for _, seed := range seeds {
			if owned, cached := holds(s, seed, rotLen); owned || cached {
				t.Errorf("index lost %t: deleted block %d is back", lost, seed)
			}
		}
		wantCheck(t, s, problems)
		mustClose(t, s)
		if !lost {
			if err := fs.RemoveAll(testDir + "/index"); err != nil {
				t.Fatal(err)
			}
			s = openAt(t, fs, o)
			delete(problems, Damaged) // what nothing names any more
		}
	}
}

// lostDeletion is what a crash left that took the first of two deletions of block 1: of all that was written after the
// last sync only that did not get to the disk, or the segment in which it stands. more blocks were put behind the second.
func lostDeletion(t *testing.T, o Options, segment bool, more int) *vfs.MemFS {
	t.Helper()
	mem := vfs.NewCrashableMem()
	s := openAt(t, mem, o)
	mustPut(t, s, 1, rotLen)
	mustPut(t, s, 3, rotLen)
	mustClose(t, s) // the index names both
	s = openAt(t, mem, o)
	mustDelete(t, s, 1)
	if segment {
		mustPut(t, s, 5, 2*rotLen) // its segment is full
	}
	mustPut(t, s, 1, rotLen)
	mustDelete(t, s, 1)
	for i := range more {
		mustPut(t, s, uint64(3001+2*i), 16)
	}
	crashed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	mustClose(t, s)
	path := segmentFiles(t, crashed)[1]
	if !segment {
		overwrite(t, crashed, path, 0, make([]byte, recordHead))
	} else if err := crashed.Remove(path); err != nil {
		t.Fatal(err)
	}
	return crashed
}

// TestLostDeletion breaks if a block that was deleted, put again and deleted again comes back with its first record,
// because a crash took the first deletion and Compact drops the second.
func TestLostDeletion(t *testing.T) {
	for _, segment := range []bool{false, true} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("segment=%t/index lost=%t", segment, lost), func(t *testing.T) {
				o := Options{SegmentBytes: 2 * rotSize}
				fs := lostDeletion(t, o, segment, 0)
				if lost {
					if err := fs.RemoveAll(testDir + "/index"); err != nil {
						t.Fatal(err)
					}
				}
				s := openAt(t, fs, o)
				if r := s.Recovered(); len(r.Problems) > 0 || (r.CutBytes != 0) == segment {
					t.Fatalf("recovered %+v", r)
				}
				compactAll(t, s)
				wantBlock(t, s, 3, rotLen)
				wantGone(t, fs, s, o, nil, 1)
			})
		}
	}
}

// TestLostDeletionAgain breaks if it comes back after an Open that failed, when the index went on already.
func TestLostDeletionAgain(t *testing.T) {
	for fails := range 2 {
		o := Options{SegmentBytes: 2 * rotSize}
		mem := lostDeletion(t, o, false, unsyncedRowsMax-1)
		made := 0
		fs, on := failing(mem, syscall.EIO, func(op errorfs.Op) bool {
			if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".seg") {
				made++
				return made > fails
			}
			return false
		})
		on.On()
		if s, err := Open(fs, testDir, o); err == nil {
			mustClose(t, s)
			t.Fatalf("failing at segment %d: opened", fails)
		}
		on.Off()
		s := openAt(t, fs, o)
		if r := s.Recovered(); (r.Records < 100) != (fails == 1) {
			t.Errorf("failing at segment %d: recovered %+v", fails, r)
		}
		compactAll(t, s)
		wantGone(t, fs, s, o, nil, 1)
	}
}

// TestDamageThatHealed breaks if the record of a damaged block that was put anew brings it back, once it is readable.
func TestDamageThatHealed(t *testing.T) {
	o := Options{SegmentBytes: 2 * rotSize}
	fs := vfs.NewMem()
	s := openAt(t, fs, o)
	mustPut(t, s, 1, rotLen)
	mustPut(t, s, 3, rotLen)
	mustSync(t, s)
	path := segmentFiles(t, fs)[0]
	flip(t, fs, path, 1000)
	wantCheck(t, s, map[ProblemKind]int{Damaged: 1})
	mustPut(t, s, 1, rotLen)
	mustDelete(t, s, 1)
	compactAll(t, s)
	flip(t, fs, path, 1000)
	wantBlock(t, s, 3, rotLen)
	wantGone(t, fs, s, o, nil, 1)
}

// TestCompactHidden breaks if Compact brings blocks back that it copied from a segment that stays, because a rotten head
// hides another block there, or if it does so again and again.
func TestCompactHidden(t *testing.T) {
	fs := rotten(t)
	overwrite(t, fs, segmentFiles(t, fs)[0], 3*rotSize+20, []byte{0xee}) // of block 7
	o := Options{SegmentBytes: 2 * rotSize}
	s := openAt(t, fs, o)
	mustDelete(t, s, 1, 3, 5, 9, 11, 13)
	compactAll(t, s)
	for _, seed := range []uint64{15, 17, 19} {
		wantBlock(t, s, seed, rotLen)
	}
	mustDelete(t, s, 15, 17)
	compactAll(t, s)
	before := s.Usage().DeadBytes
	compactAll(t, s)
	if after := s.Usage().DeadBytes; after > before {
		t.Errorf("%d dead bytes, %d after compacting again", before, after)
	}
	wantBlock(t, s, 19, rotLen)
	wantGone(t, fs, s, o, map[ProblemKind]int{Garbage: 1, Damaged: 1}, 1, 3, 5, 9, 11, 13, 15, 17)
}
