package store

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// cachedCount is how many of the odd seeds below a number are cached copies.
func cachedCount(s *Store, below uint64, n int) (count int) {
	for seed := uint64(1); seed < below; seed += 2 {
		if _, cached := holds(s, seed, n); cached {
			count++
		}
	}
	return count
}

// TestCacheReaders: whoever reads at once, cached copies pass the limit by a copy for each reader at most.
func TestCacheReaders(t *testing.T) {
	const n, readers, limit = 1001, 4, 20 * (1001 + recordHead)
	s := openAt(t, vfs.NewMem(), Options{})
	s.SetCacheLimit(limit, 0)
	var most atomic.Int64
	var work sync.WaitGroup
	for reader := range uint64(readers) {
		work.Go(func() {
			for i := range uint64(200) {
				id, b := testBlock(2*(reader*1000+i)+1, n)
				if err := s.PutCached(context.Background(), id, b); err != nil && !errors.Is(err, ErrNoSpace) {
					t.Errorf("put cached: %v", err)
				}
				for u := s.Usage().CachedBytes; u > most.Load(); {
					most.Store(u)
				}
			}
		})
	}
	work.Wait()
	if got, bound := most.Load(), int64(limit+readers*(n+recordHead)); got > bound || got < limit/2 {
		t.Errorf("%d bytes of cached copies, limit %d", got, limit)
	}
	wantCheck(t, s, nil)
}

// TestCacheScan: what is used again outlives what is read once, whatever there is of it, also over a restart.
func TestCacheScan(t *testing.T) {
	const n = 1001
	fs := vfs.NewMem()
	s := openAt(t, fs, Options{})
	s.SetCacheLimit(10*(n+recordHead), 0)
	for seed := uint64(1); seed < 10; seed += 2 {
		s.mustPutCached(t, seed, n)
		wantBlock(t, s, seed, n)
	}
	scan := func(from uint64) {
		for seed := from; seed < from+100; seed += 2 {
			s.mustPutCached(t, seed, n)
		}
		if got := cachedCount(s, 10, n); got != 5 {
			t.Errorf("%d of 5 copies that are used again are left by a scan", got)
		}
	}
	scan(1001)
	mustClose(t, s)
	s = openAt(t, fs, Options{})
	s.SetCacheLimit(10*(n+recordHead), 0)
	scan(2001)
}

// TestCacheKept: what must stay is not evicted, not even for what would find no room then.
func TestCacheKept(t *testing.T) {
	const n = 1001
	s := openAt(t, vfs.NewMem(), Options{})
	s.SetCacheLimit(3*(n+recordHead), 0)
	var keepAll atomic.Bool
	kept, _ := testBlock(1, n)
	s.KeepCached(func(id block.ID) bool { return id == kept || keepAll.Load() })
	for seed := uint64(1); seed < 40; seed += 2 {
		s.mustPutCached(t, seed, n)
	}
	if _, cached := s.Has(kept); !cached {
		t.Error("a copy that must stay was evicted")
	}
	keepAll.Store(true)
	id, b := testBlock(41, n)
	wantErr(t, "nothing may go", s.PutCached(context.Background(), id, b), ErrNoSpace)
	if _, err := s.EvictTo(context.Background(), 0); err != nil || s.Usage().CachedBytes != 3*(n+recordHead) {
		t.Errorf("%v, %+v", err, s.Usage())
	}
	keepAll.Store(false)
	if _, err := s.EvictTo(context.Background(), 0); err != nil || s.Usage().CachedBytes != n+recordHead {
		t.Errorf("%v, %+v", err, s.Usage())
	}
}

// filling is a disk with some free bytes; what this program writes and gives back does not count.
type filling struct {
	vfs.FS
	free atomic.Int64
}

func (f *filling) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: uint64(f.free.Load()), TotalBytes: 1 << 40}, nil
}

// TestCacheFree: cached copies go when others need the disk.
func TestCacheFree(t *testing.T) {
	const n, free = 1001, 1 << 20
	disk := &filling{FS: vfs.NewMem()}
	disk.free.Store(2 * free)
	s := openAt(t, disk, Options{})
	s.SetCacheLimit(1<<30, free)
	for seed := uint64(1); seed < 80; seed += 2 {
		s.mustPutCached(t, seed, n)
	}
	if _, err := s.TrimCache(context.Background()); err != nil || cachedCount(s, 80, n) != 40 {
		t.Errorf("%v; %d of 40 are left on a disk with room", err, cachedCount(s, 80, n))
	}
	disk.free.Store(free - 10*(n+recordHead)) // somebody else filled it
	got, err := s.TrimCache(context.Background())
	if err != nil || got != 10*(n+recordHead) || cachedCount(s, 80, n) != 30 {
		t.Errorf("%v; %d bytes went, %d are left", err, got, cachedCount(s, 80, n))
	}
	disk.free.Store(free - 100*(n+recordHead))
	id, b := testBlock(81, n)
	wantErr(t, "no room", s.PutCached(context.Background(), id, b), ErrNoSpace)
	if _, err := s.TrimCache(context.Background()); err != nil || cachedCount(s, 80, n) != 0 {
		t.Errorf("%v; %d copies are left on a full disk", err, cachedCount(s, 80, n))
	}
}
