package store

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// TestGroupCommit: callers of Sync that wait for a running sync share the next one.
func TestGroupCommit(t *testing.T) {
	const callers = 20
	var syncs atomic.Int64
	hold := make(chan struct{})
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && filepath.Ext(op.Path) == ".seg" {
			if syncs.Add(1) == 1 {
				<-hold
			}
		}
		return nil
	}))
	s := openAt(t, fs, Options{})
	var wg sync.WaitGroup
	syncOne := func(seed uint64) {
		mustPut(t, s, seed, 100)
		wg.Go(func() {
			if err := s.Sync(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	syncOne(0)
	for syncs.Load() == 0 { // until the first sync is on its way
		runtime.Gosched()
	}
	for seed := range uint64(callers) {
		syncOne(seed + 1)
	}
	for { // until all wait for one round
		s.roundMu.Lock()
		r := s.round
		s.roundMu.Unlock()
		if r != nil {
			break
		}
		runtime.Gosched()
	}
	close(hold)
	wg.Wait()
	if n := syncs.Load(); n > 4 { // callers may come late on a slow machine, but not all
		t.Errorf("%d syncs for %d callers", n, callers)
	}
}

// TestBallast: with the disk full to the last byte a deletion still works, because the ballast
// gives way, and no Put takes what it leaves.
func TestBallast(t *testing.T) {
	ctx := context.Background()
	mem := vfs.NewMem()
	ballast := testDir + "/ballast"
	fs, on := failing(mem, syscall.ENOSPC, func(op errorfs.Op) bool {
		_, err := mem.Stat(ballast)
		return err == nil && (op.Kind == errorfs.OpFileWriteAt || op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate)
	})
	s := openAt(t, fs, Options{ReserveBytes: 1 << 20, CapacityBytes: 10 << 20})
	id := mustPut(t, s, 1, 1000)
	mustSync(t, s)
	if _, err := mem.Stat(ballast); err != nil {
		t.Fatalf("no ballast: %v", err)
	}
	on.On()
	id3, b := testBlock(3, 1000)
	wantErr(t, "put", s.Put(ctx, id3, b), ErrNoSpace)
	if _, err := mem.Stat(ballast); err != nil {
		t.Errorf("a Put took the ballast: %v", err)
	}
	if err := s.Delete(ctx, id); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := mem.Stat(ballast); err == nil {
		t.Error("the ballast is still there")
	}
	on.Off()
	mustSync(t, s)
	if _, err := mem.Stat(ballast); err != nil {
		t.Errorf("the ballast is not made again: %v", err)
	}
	wantCheck(t, s, nil)
	mustClose(t, s)
}

// TestManyAtOnce: puts, gets, deletions, syncs, compactions, checks and rebuilds at the same time
// never serve a wrong block, and the counts are right in the end.
func TestManyAtOnce(t *testing.T) {
	const workers, blocks, n = 6, 40, 3001
	ctx := context.Background()
	s := openAt(t, vfs.NewMem(), Options{SegmentBytes: 40_000})
	s.SetCacheLimit(20*n, 0)
	var wg sync.WaitGroup
	for w := range uint64(workers) {
		wg.Go(func() {
			for i := range uint64(150) {
				if err := oneOf(ctx, s, w, i, blocks, n); err != nil {
					t.Errorf("worker %d, step %d: %v", w, i, err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for range 4 {
			if _, err := s.Compact(ctx); err != nil {
				t.Error(err)
			}
			if err := s.Check(ctx, func(p Problem) { t.Errorf("check: %v", p) }); err != nil {
				t.Error(err)
			}
			if err := s.RebuildIndex(ctx, func(p Problem) { t.Errorf("rebuild: %v", p) }); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	wantCheck(t, s, nil)
}

// oneOf does one thing, with a block that others use too.
func oneOf(ctx context.Context, s *Store, w, i, blocks uint64, n int) error {
	seed := (i*7 + w*3) % blocks
	id, b := testBlock(seed, n)
	switch (i + w) % 6 {
	case 0, 1:
		return s.Put(ctx, id, b)
	case 2:
		return s.PutCached(ctx, id, b)
	case 3:
		return s.Delete(ctx, id)
	case 4:
		if i%5 == 0 {
			return s.Sync(ctx)
		}
		_, err := s.EvictTo(ctx, 10*int64(n))
		return err
	}
	got, err := s.Get(ctx, id)
	if errors.Is(err, block.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = id.Verify(got)
	}
	return err
}
