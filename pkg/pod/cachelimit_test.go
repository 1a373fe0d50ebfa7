package pod

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

var (
	cacheLimit = flag.Int64("cache-limit", 8<<20, "TestCacheLimit: the cache's limit in bytes")
	cacheTree  = flag.Int64("cache-tree", 80<<20, "TestCacheLimit: bytes of the tree that is read")
)

const (
	cacheReaders = 4
	cacheFile    = 8 << 20
	cacheSample  = 2 * time.Millisecond
)

// TestCacheLimit: while several readers read a tree of ten times the cache's limit, again and again, from another pod, what is cached never passes the limit and a chunk for each reader, at any moment.
func TestCacheLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds")
	}
	a := firstPod(t)
	b := joinPod(t, a, "second")
	eventually(t, "connected", func() error { return a.reachable(b) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	ruled(t, map[string]string{"policy": "none"}, a, b)
	b.Tune(ctx, Tuning{CacheBytes: *cacheLimit})
	n := int(*cacheTree / cacheFile)
	var sums [][32]byte
	for i := range n {
		text := randomText(uint64(9000+i), cacheFile)
		sums = append(sums, blake3.Sum256([]byte(text)))
		a.write(fmt.Sprintf("/f%d", i), text)
	}
	a.settle()
	sameRoot(t, a, b)
	readAll := func(i int) error {
		b.forget()
		got, err := b.read(fmt.Sprintf("/f%d", i))
		if err == nil && blake3.Sum256([]byte(got)) != sums[i] {
			err = fmt.Errorf("file %d holds other bytes", i)
		}
		return err
	}
	bound := *cacheLimit + cacheReaders*int64(block.ChunkMax)
	done := make(chan struct{})
	var most, samples atomic.Int64
	var sampler sync.WaitGroup
	sampler.Go(func() {
		for {
			if info, err := b.Cache(ctx); err != nil {
				t.Error(err)
			} else if samples.Add(1); info.Bytes > most.Load() {
				most.Store(info.Bytes)
			}
			select {
			case <-done:
				return
			case <-time.After(cacheSample):
			}
		}
	})
	var readers sync.WaitGroup
	for r := range cacheReaders {
		readers.Go(func() {
			for i := range 2 * n {
				if err := readAll((i + r*n/cacheReaders) % n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	readers.Wait()
	close(done)
	sampler.Wait()
	t.Logf("%d files of %d bytes, %d readers, twice each: at most %d bytes were cached of %d, at %d moments", n, cacheFile, cacheReaders, most.Load(), *cacheLimit, samples.Load())
	if most.Load() > bound {
		t.Errorf("%d bytes were cached, over %d", most.Load(), bound)
	}
	if most.Load() < *cacheLimit/2 {
		t.Errorf("%d bytes were cached at most: nothing was tested", most.Load())
	}
}
