package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// hurriedClock is a test clock whose timers end soon, and that calls enough when many were asked for.
type hurriedClock struct {
	testClock
	timers atomic.Int64
	enough func()
}

func (c *hurriedClock) NewTimer(d time.Duration) *time.Timer {
	if c.timers.Add(1) == 100 && c.enough != nil {
		c.enough()
	}
	return time.NewTimer(min(d, time.Millisecond))
}

// TestFullAt: the disk is full from the n-th write on, or at the n-th only, n from 1 to 500, and each failing write leaves
// a part of itself. Nothing is acknowledged that isn't so, and when there is room again the store goes on by itself, or
// is opened as after a crash.
func TestFullAt(t *testing.T) {
	rng := testRand(t)
	step := 40
	switch {
	case *fullFlag:
		step = 1
	case testing.Short():
		step = 200
	}
	for n := 1 + rng.IntN(step); n <= 500; n += step {
		for _, to := range []int{n, math.MaxInt} {
			if err := fullAt(n, to, rng); err != nil {
				t.Fatalf("full at writes %d to %d: %v", n, to, err)
			}
		}
	}
}

func fullAt(from, to int, rng *rand.Rand) (err error) {
	mem := vfs.NewCrashableMem()
	if err := errors.Join(mem.MkdirAll("home", 0o700), syncDir(mem, "/"), syncDir(mem, "home")); err != nil {
		return err
	}
	on := newTightFS(mem)
	clock := &hurriedClock{enough: on.free} // Open waits for room when Pebble is on the way to open the index
	m := newModel()
	o := Options{SegmentBytes: 16 << 10, Clock: clock}
	on.failFrom, on.failTo = from, to
	s, err := Open(on, testDir, o)
	for try := 0; errors.Is(err, ErrNoSpace) && try < 3; try++ {
		if try == 1 {
			on.free()
		}
		s, err = Open(on, testDir, o)
	}
	if err != nil {
		return err
	}
	w := workload{s: s, m: m, clock: &clock.testClock, rng: rng, last: make(map[uint64]state)}
	failed := 0
	for step := 0; failed < 30; step++ {
		err := w.step()
		if err != nil && !errors.Is(err, ErrNoSpace) {
			return fmt.Errorf("step %d: %w", step, err)
		}
		on.mu.Lock()
		past := on.writes >= on.failFrom
		on.mu.Unlock()
		if past || step > 2000 {
			failed++
		}
	}
	clone := crash{mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng}), m.clone()}
	on.free()
	if err := clone.verify(o); err != nil {
		return fmt.Errorf("after a crash: %w", err)
	}
	for range 20 {
		if err := w.step(); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	if err := errors.Join(w.sync(), m.verify(s), s.Close()); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	return crash{mem, m}.verify(o)
}

// TestFailedWritesAreNoRecord breaks if what several failed writes left makes a record together, so that a deletion that
// was refused comes true in a crash.
func TestFailedWritesAreNoRecord(t *testing.T) {
	ctx := context.Background()
	mem := vfs.NewCrashableMem()
	on := newTightFS(mem)
	s := openAt(t, on, Options{})
	if err := errors.Join(syncDir(mem, "/"), syncDir(mem, "home")); err != nil {
		t.Fatal(err)
	}
	id := mustPut(t, s, 1, 1000)
	mustSync(t, s)
	on.failFrom, on.failTo = 0, math.MaxInt
	for range 10 { // each leaves a longer part of itself
		_, err := s.Trash(ctx, id, nil)
		wantErr(t, "trash", err, ErrNoSpace)
	}
	wantErr(t, "delete", s.Delete(ctx, id), ErrNoSpace) // its last byte stands there, from the other mark
	clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: testRand(t)})
	on.free()
	c := openAt(t, clone, Options{})
	if owned, _ := c.Has(id); !owned {
		t.Error("the block is gone by a deletion that was refused")
	}
	wantBlock(t, c, 1, 1000)
}

// failAt makes the nth write from now on find the disk full, and no other.
func (f *tightFS) failAt(nth int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failFrom, f.failTo = f.writes+nth, f.writes+nth
}

// TestFailedWriteIsCut breaks if what a failed write left at the end of a segment is taken for damage without the index,
// also when the disk had no room for the record that cuts it at first.
func TestFailedWriteIsCut(t *testing.T) {
	ctx := context.Background()
	mem := vfs.NewMem()
	on := newTightFS(mem)
	o := Options{SegmentBytes: 10_000}
	s := openAt(t, on, o)
	mustPut(t, s, 1, 7001)
	id3, b3 := testBlock(3, 2001)
	on.failAt(1)
	wantErr(t, "put", s.Put(ctx, id3, b3), ErrNoSpace)
	id5, b5 := testBlock(5, 3501) // begins the next segment
	on.failAt(2)
	wantErr(t, "put, the cut fails", s.Put(ctx, id5, b5), ErrNoSpace)
	mustPut(t, s, 5, 3501)
	mustSync(t, s)
	mustPut(t, s, 7, 11) // its record says that all before is on disk
	mustClose(t, s)
	if err := mem.RemoveAll(testDir + "/index"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, mem, o)
	if r := s.Recovered(); len(r.Problems) > 0 {
		t.Errorf("recovered %+v", r)
	}
	wantBlock(t, s, 1, 7001)
	wantBlock(t, s, 5, 3501)
	wantCheck(t, s, nil)
}

// TestTrashTimeStays breaks if a block comes out of the trash, or its time goes with a segment, because the disk was full
// between a compaction's copy of it and the mark with the time.
func TestTrashTimeStays(t *testing.T) {
	ctx := context.Background()
	mem := vfs.NewCrashableMem()
	on := newTightFS(mem)
	clock := &testClock{}
	o := Options{SegmentBytes: 10_000, Clock: clock}
	s := openAt(t, on, o)
	id := mustPut(t, s, 1, 501)
	for _, seed := range []uint64{3, 5, 7, 9} {
		if err := s.Delete(ctx, mustPut(t, s, seed, 3001)); err != nil {
			t.Fatal(err)
		}
	}
	mustTrash(t, s, id)
	since := clock.Now().Unix()
	mustSync(t, s)
	clock.seconds.Add(1000)
	on.failAt(2) // the first is the copy
	_, err := s.Compact(ctx)
	wantErr(t, "compact", err, ErrNoSpace)
	if err := errors.Join(syncDir(mem, "/"), syncDir(mem, "home")); err != nil {
		t.Fatal(err)
	}
	crashed := openAt(t, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: testRand(t)}), o)
	if got := trashOf(t, crashed); got[id] != since {
		t.Errorf("after a crash in the trash since %d, want %d", got[id], since)
	}
	if freed, err := s.Compact(ctx); freed == 0 || err != nil {
		t.Fatalf("compact freed %d, %v", freed, err)
	}
	mustClose(t, s)
	if err := mem.RemoveAll(testDir + "/index"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, mem, o)
	if got := trashOf(t, s); got[id] != since {
		t.Errorf("in the trash since %d, want %d", got[id], since)
	}
	wantCheck(t, s, nil)
}

// TestCollectOnFullDisk: without a free byte on the disk, but the store's own reserve, blocks go to the trash and out of
// it, segments are rewritten, and there is room again.
func TestCollectOnFullDisk(t *testing.T) {
	const n = 3001
	ctx := context.Background()
	on := newTightFS(vfs.NewMem())
	o := Options{ReserveBytes: 4 << 20, SegmentBytes: 64 << 10, Clock: &hurriedClock{}}
	s := openAt(t, on, o)
	var ids []block.ID
	for seed := range uint64(300) {
		ids = append(ids, mustPut(t, s, 2*seed+1, n))
	}
	mustSync(t, s)
	for _, reopen := range []bool{false, true} {
		on.fill()
		if reopen {
			mustClose(t, s)
			s = openAt(t, on, o)
		}
		id, b := testBlock(1001, n)
		if !reopen { // else the store has the ballast's bytes, some of which are above the reserve
			wantErr(t, "put", s.Put(ctx, id, b), ErrNoSpace)
		}
		part := ids[:100]
		ids = ids[100:]
		for i, id := range part {
			if i%2 == 0 {
				if done, err := s.DeleteUnless(ctx, id, nil); !done || err != nil {
					t.Fatalf("delete: %t, %v", done, err)
				}
				continue
			}
			mustTrash(t, s, id)
			if done, err := s.Drop(ctx, id, nil); i%10 > 1 && (!done || err != nil) {
				t.Fatalf("drop: %t, %v", done, err)
			}
		}
		mustSync(t, s)
		freed, err := s.Compact(ctx)
		if err != nil || freed < 200_000 {
			t.Fatalf("compact freed %d, %v", freed, err)
		}
		wantCheck(t, s, nil)
		on.free()
		mustPut(t, s, 1001, n)
		if err := s.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
		mustSync(t, s) // the ballast is made again
	}
	for i := range ids {
		wantBlock(t, s, uint64(2*(200+i)+1), n)
	}
	mustClose(t, s)
}
