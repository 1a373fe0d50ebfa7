package store

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// checkFilter compares the filter with all rows there are: it must deny none.
func checkFilter(t testing.TB, s *Store) {
	t.Helper()
	err := s.eachRow(context.Background(), block.ID{}, func(id block.ID, r row) error {
		s.mu.RLock()
		defer s.mu.RUnlock()
		if !s.filter.mayHave(id) {
			return fmt.Errorf("%s has the row %+v, and the filter denies it", id, r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFilterModel breaks if a block that is there is said to be absent, or the other way round, whatever is done to the store; it is
// opened again and again, and used before the filter is made or after.
func TestFilterModel(t *testing.T) {
	ctx := context.Background()
	rng := testRand(t)
	fs := vfs.NewMem()
	o := Options{SegmentBytes: 16 << 10, filterMin: 8}
	s := openAt(t, fs, o)
	const seeds = 1500 // more than a page when most are there
	have := make(map[uint64]bool)
	steps := 20_000
	if testing.Short() {
		steps = 4000
	}
	for step := range steps {
		seed := rng.Uint64N(seeds)
		id, b := testBlock(seed, 16+int(seed%40))
		owned, cached := s.Has(id)
		if in := owned || cached || s.InTrash(id); in != have[seed] {
			t.Fatalf("step %d, seed %d: there is %v, want %v", step, seed, in, have[seed])
		}
		var err error
		switch n := rng.IntN(1000); {
		case n < 500:
			err = s.Put(ctx, id, b)
			have[seed] = true
		case n < 650:
			err = s.PutCached(ctx, id, b)
			have[seed] = true
		case n < 700:
			_, err = s.Trash(ctx, id, nil)
		case n < 850:
			err = s.Delete(ctx, id)
			delete(have, seed)
		case n < 990 && have[seed]:
			_, err = s.Get(ctx, id)
		case n < 994:
			err = s.Sync(ctx)
		case n < 995:
			_, err = s.Compact(ctx)
			checkFilter(t, s)
		case n < 996 && rng.IntN(4) == 0:
			err = s.RebuildIndex(ctx, func(p Problem) { t.Errorf("rebuild: %v", p) })
			checkFilter(t, s)
		case n < 997 && rng.IntN(4) == 0:
			s, err = reopened(t, s, fs, o, rng)
		}
		if err != nil {
			t.Fatalf("step %d, seed %d: %v", step, seed, err)
		}
	}
	s.filling.Wait()
	if s.filter.whole == nil {
		t.Error("the filter was never made")
	}
	wantCheck(t, s, nil)
}

// reopened closes a store and opens it again; at times its index is lost in between.
func reopened(t *testing.T, s *Store, fs vfs.FS, o Options, rng *rand.Rand) (*Store, error) {
	t.Helper()
	if rng.IntN(2) == 0 {
		checkFilter(t, s)
	}
	mustClose(t, s)
	if rng.IntN(4) == 0 {
		if err := fs.RemoveAll(testDir + "/index"); err != nil {
			return nil, err
		}
	}
	return Open(fs, testDir, o)
}

// TestFilterConcurrent breaks if a block is said to be absent, while the filter is made anew over and over, to the one who
// put it.
func TestFilterConcurrent(t *testing.T) {
	ctx := context.Background()
	s := openAt(t, vfs.NewMem(), Options{SegmentBytes: 64 << 10, filterMin: 4})
	for seed := range uint64(3 * fillPage) {
		mustPut(t, s, seed, 10)
	}
	mustSync(t, s)
	var workers sync.WaitGroup
	var stop atomic.Bool
	end := func() {
		stop.Store(true)
		workers.Wait()
	}
	defer end()
	for worker := range uint64(3) {
		workers.Go(func() {
			for i := uint64(0); !stop.Load(); i++ {
				seed := 1<<32*(worker+1) + i
				id, b := testBlock(seed, 20)
				if owned, _ := s.Has(id); owned {
					t.Errorf("%s is there before it was put", id)
				}
				if err := s.Put(ctx, id, b); err != nil {
					t.Error(err)
				}
				for old := seed &^ 63; old <= seed; old += 7 {
					oldID, want := testBlock(old, 20)
					if got, err := s.Get(ctx, oldID); old%3 != 0 && (err != nil || !bytes.Equal(got, want)) {
						t.Errorf("get: %d bytes, %v", len(got), err)
					}
				}
				if seed%3 == 0 {
					if err := s.Delete(ctx, id); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for i := range 40 {
		mustSync(t, s)
		switch i % 20 {
		case 7:
			if _, err := s.Compact(ctx); err != nil {
				t.Error(err)
			}
		case 14:
			if err := s.RebuildIndex(ctx, func(p Problem) { t.Errorf("rebuild: %v", p) }); err != nil {
				t.Error(err)
			}
		}
		s.syncing <- struct{}{}
		s.mu.RLock()
		idle := s.filter.growing == nil
		s.mu.RUnlock()
		if idle {
			s.growFilter()
		}
		<-s.syncing
	}
	end()
	s.filling.Wait()
	checkFilter(t, s)
	for seed := range uint64(3 * fillPage) {
		wantBlock(t, s, seed, 10)
	}
}

// TestFilterWhileItGrows breaks if what is pending when a filter begins, or is put, moved to the index or deleted before
// its rows are read, is missing in it.
func TestFilterWhileItGrows(t *testing.T) {
	s := openAt(t, vfs.NewMem(), Options{filterMin: 2})
	s.filling.Wait()
	old := mustPut(t, s, 1, 10)
	mustPut(t, s, 2, 10)
	s.mu.Lock()
	s.filter.whole = nil // as after Open
	s.mu.Unlock()
	s.claims.gate.Lock() // the filling waits
	s.growFilter()
	s.mu.Lock()
	id, _ := testBlock(3, 10)
	s.notePending(id, s.pending[old])
	snap := snapshot{rows: s.pending}
	s.flushing, s.pending = s.pending, make(map[block.ID]change)
	if !s.filter.mayHave(block.ID{}) {
		t.Error("a filter that is not whole denies")
	}
	s.mu.Unlock()
	if err := s.writeIndex(&snap); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.flushing = nil
	s.mu.Unlock()
	s.claims.gate.Unlock()
	s.filling.Wait()
	checkFilter(t, s)
	if got := s.filter.whole.len(); got != 3 {
		t.Errorf("%d IDs, want 3", got)
	}
}

// TestFilterBeginsWithPending breaks if a row that gets to the index only after the filter was made is missing in it.
func TestFilterBeginsWithPending(t *testing.T) {
	s := openAt(t, vfs.NewMem(), Options{})
	s.filling.Wait()
	mustPut(t, s, 1, 10)
	s.mu.Lock()
	s.flushing, s.pending = s.pending, make(map[block.ID]change)
	s.mu.Unlock()
	mustPut(t, s, 2, 10)
	s.growFilter()
	s.filling.Wait()
	checkFilter(t, s)
	if got := s.filter.whole.len(); got != 2 {
		t.Errorf("%d IDs, want 2", got)
	}
}

// TestAbsentAsksNothing breaks if the index is asked for blocks that are absent, once the filter is made, and shows that it is
// asked for those that are there.
func TestAbsentAsksNothing(t *testing.T) {
	fs := vfs.NewMem()
	s := openAt(t, fs, Options{})
	for seed := range uint64(2000) {
		mustPut(t, s, seed, 10)
	}
	mustClose(t, s)
	s = openAt(t, fs, Options{})
	s.filling.Wait()
	for seed := range uint64(200) {
		mustPut(t, s, 10_000+seed, 10) // pending
	}
	index := s.index
	s.index = nil // who asks it panics
	defer func() { s.index = index }()
	asks := func(seed uint64) (asked bool) {
		defer func() { asked = recover() != nil; s.claims.leave() }()
		s.claims.enter()
		id, _ := testBlock(seed, 10)
		if _, ok, err := s.find(id); err != nil || ok != (seed < 20_000) {
			t.Errorf("seed %d: %v, %v", seed, ok, err)
		}
		return false
	}
	for seed := range uint64(2000) {
		if !asks(seed) {
			t.Fatalf("seed %d: the index was not asked", seed)
		}
	}
	asked := 0
	for seed := range uint64(5000) {
		if asks(10_000+seed%200) || asks(20_000+seed) {
			asked++
		}
	}
	if asked > 100 {
		t.Errorf("%d of 5000 absent ones were asked for", asked)
	}
}

// TestFilterNeedsAllRows breaks if a filter is used though the rows could not all be read.
func TestFilterNeedsAllRows(t *testing.T) {
	s := openAt(t, vfs.NewMem(), Options{})
	s.filling.Wait()
	for seed := range uint64(3 * fillPage) {
		mustPut(t, s, seed, 10)
	}
	mustSync(t, s)
	if err := s.index.db.Set([]byte{keyBlock, s.generation, 0xff}, nil, pebble.NoSync); err != nil { // no ID
		t.Fatal(err)
	}
	s.filter.whole = nil // as after Open
	s.growFilter()
	s.filling.Wait()
	if s.filter.whole != nil || s.filter.growing != nil {
		t.Error("the filter is in use")
	}
	for seed := range uint64(3 * fillPage) {
		wantBlock(t, s, seed, 10)
	}
}

// TestFilterForgetsDeleted breaks if a store in which as much is deleted as is put needs ever more memory.
func TestFilterForgetsDeleted(t *testing.T) {
	ctx := context.Background()
	s := openAt(t, vfs.NewMem(), Options{filterMin: 50})
	s.filling.Wait()
	most := 0
	for seed := range uint64(5000) {
		id := mustPut(t, s, seed, 10)
		if seed >= 20 {
			old, _ := testBlock(seed-20, 10)
			if err := s.Delete(ctx, old); err != nil {
				t.Fatal(err)
			}
		}
		if seed%10 == 0 {
			mustSync(t, s)
			s.filling.Wait()
		}
		most = max(most, s.filter.whole.len())
		if owned, _ := s.Has(id); !owned {
			t.Fatalf("seed %d is gone", seed)
		}
	}
	if most > 120 {
		t.Errorf("up to %d IDs were kept for 20 blocks", most)
	}
}
