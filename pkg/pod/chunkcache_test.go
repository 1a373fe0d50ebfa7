package pod

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/chunkmem"
)

// TestChunkCache breaks if bytes of another block, or none, are handed out while many load, share and evict at once.
func TestChunkCache(t *testing.T) {
	const blockBytes, kept = 64, 8
	c := newChunkCache(kept * blockBytes)
	broken := errors.New("broken")
	chunk := func(i uint64) []byte { return bytes.Repeat(binary.BigEndian.AppendUint64(nil, i), blockBytes/8) }
	get := func(i uint64, share, fail bool) ([]byte, error) {
		plain, load, first := c.get(block.Sum(block.Raw, chunk(i)), i%3 > 0)
		switch {
		case load == nil:
			return plain, nil
		case first && fail:
			c.finish(load, nil, broken)
			return nil, broken
		case first && !share:
			plain = chunk(i)
			c.finish(load, plain, nil)
			return plain, nil
		case first:
			c.share(load)
			go c.finish(load, chunk(i), nil)
		}
		<-load.done
		return load.plain, load.err
	}
	var wg sync.WaitGroup
	for worker := range uint64(8) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, worker)) //nolint:gosec // a test's
			for range 20_000 {
				i := rnd.Uint64N(3 * kept)
				got, err := get(i, rnd.IntN(4) == 0, rnd.IntN(16) == 0)
				if err == nil && !bytes.Equal(got, chunk(i)) || err != nil && !errors.Is(err, broken) {
					t.Errorf("block %d: %x, %v", i, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	c.mu.Lock() // what finishes a load may be about to drop others
	defer c.mu.Unlock()
	inRing := 0
	for e := c.order.next; e != &c.order; e = e.next {
		if c.byID[e.id] != e {
			t.Errorf("block %s is in the ring and not in the map", e.id)
		}
		inRing++
	}
	if inRing != len(c.byID) || c.bytes != int64(inRing*blockBytes) || c.bytes > c.limit {
		t.Errorf("%d in the ring, %d in the map, %d bytes", inRing, len(c.byID), c.bytes)
	}
}

// TestChunkCacheLends breaks if the memory of a block is used again while somebody has it, lent or for good.
func TestChunkCacheLends(t *testing.T) {
	const size, kept, blocks = 300 << 10, 4, 12
	c := newChunkCache(kept * 2 * size)
	id := func(i byte) block.ID { return block.Sum(block.Raw, []byte{i}) }
	load := func(i byte, load *cached) {
		b := chunkmem.Take(size)
		for at := range b {
			b[at] = i
		}
		c.finish(load, b, nil)
	}
	is := func(b []byte, i byte) bool { return len(b) == size && bytes.Count(b, []byte{i}) == size }
	var wg sync.WaitGroup
	for worker := range uint64(4) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(2, worker)) //nolint:gosec // a test's
			have := map[byte][]byte{}
			for range 400 {
				i, mine := byte(rnd.IntN(blocks)), rnd.IntN(16) == 0
				var b []byte
				var e *cached
				var first bool
				if mine {
					b, e, first = c.get(id(i), true)
				} else {
					b, e, first = c.lend(id(i), i%2 > 0)
				}
				switch {
				case b != nil:
				case first:
					c.share(e)
					if rnd.IntN(2) == 0 {
						load(i, e)
					} else {
						go load(i, e)
					}
					fallthrough
				default:
					<-e.done
					b = e.plain
				}
				if !is(b, i) {
					t.Errorf("block %d is not what it was", i)
					return
				}
				runtime.Gosched()
				if !is(b, i) {
					t.Errorf("block %d changed", i)
					return
				}
				if mine {
					have[i] = b
				} else {
					e.GiveBack()
				}
			}
			for i, b := range have {
				if !is(b, i) {
					t.Errorf("block %d, which was to stay, changed", i)
				}
			}
		})
	}
	wg.Wait()
}

// TestChunkCacheForgets breaks if blocks that had to go stay in memory: behind an entry that is kept to be used again, or one that somebody still has.
func TestChunkCacheForgets(t *testing.T) {
	const size, blocks = 1 << 20, 64
	c := newChunkCache(4 * size)
	number := uint64(0)
	load := func(share bool) *cached {
		number++
		_, l, first := c.get(block.Sum(block.Raw, binary.BigEndian.AppendUint64(nil, number)), true)
		if !first {
			t.Fatal("it is there already")
		}
		if share {
			c.share(l)
		}
		c.finish(l, make([]byte, size), nil)
		return l
	}
	for range 8 {
		load(false) // the first ones are kept to be used again
	}
	held := load(true)
	before := heapBytes()
	for range blocks {
		load(true)
	}
	if grown := heapBytes() - before; grown > blocks/4*size {
		t.Errorf("%d MiB are in memory beside the limit of %d MiB", grown>>20, c.limit>>20)
	}
	runtime.KeepAlive(held)
	runtime.KeepAlive(c)
}

// TestChunkCacheAhead breaks if what was read, by one who doesn't read it again, stays longer than what was loaded ahead of the reader.
func TestChunkCacheAhead(t *testing.T) {
	const size, window, blocks = 1 << 10, 15, 100
	c := newChunkCache((window + 1) * size)
	id := func(i uint64) block.ID { return block.Sum(block.Raw, binary.BigEndian.AppendUint64(nil, i)) }
	for i := range uint64(blocks) {
		_, load, first := c.get(id(i), false)
		if !first {
			t.Fatalf("block %d is there already", i)
		}
		c.finish(load, make([]byte, size), nil)
		if i < window {
			continue
		}
		if plain, _, _ := c.get(id(i-window), false); plain == nil {
			t.Fatalf("block %d went before it was read, for one that was read before it", i-window)
		}
	}
}

// heapBytes is how much memory is in use.
func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
