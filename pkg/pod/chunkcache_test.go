package pod

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// TestChunkCache breaks if bytes of another block, or none, are handed out while many load, share and evict at once.
func TestChunkCache(t *testing.T) {
	const blockBytes, kept = 64, 8
	c := newChunkCache(kept * blockBytes)
	broken := errors.New("broken")
	chunk := func(i uint64) []byte { return bytes.Repeat(binary.BigEndian.AppendUint64(nil, i), blockBytes/8) }
	get := func(i uint64, share, fail bool) ([]byte, error) {
		plain, load, first := c.get(block.Sum(block.Raw, chunk(i)))
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
