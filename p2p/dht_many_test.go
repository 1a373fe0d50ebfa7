package p2p

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// many is how many pods take part. 200 take a minute or two of a processor, most of it for handshakes.
var many = flag.Int("many", 50, "TestDHTMany: how many pods, to 200")

const (
	manyKnown   = 4   // pods that each knows at its start
	manyAuthors = 20  // that tell a head
	manyLookups = 100 // heads that are looked for
	manyReaders = 50  // that come when all others are there
	manyAtOnce  = 8
	hopsMax     = 4       // in the median
	missesMax   = 2       // lookups in vain
	memoryEach  = 8 << 20 // bytes of heap for a pod, connections included
)

// TestDHTMany breaks if lookups among many pods that are not all connected with all, with 30 % of them off without a word, take too many hops, find too little, or if
// taking part costs a pod more and more memory.
func TestDHTMany(t *testing.T) {
	if testing.Short() {
		t.Skip("many pods take long")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	begin, before := time.Now(), heap()
	still := func(c *Config, f *fake) {
		withDHT(nil)(c, f)
		c.DHT.still = true
	}
	var pods []*pod
	for i := range min(*many, 200) {
		p := start(t, byte(i+1), still)
		for range min(i, manyKnown) {
			join(t, p, pods[rng.IntN(i)])
		}
		pods = append(pods, p)
	}
	t.Logf("%d pods are connected with a few others each after %s", len(pods), time.Since(begin))
	rng.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
	authors := slices.Clone(pods[:manyAuthors])
	each(t, authors, func(ctx context.Context, p *pod) error { return p.DHT().PutHead(ctx, testHead(p.id, 1)) })
	links, asked := counts(pods)
	t.Logf("heads are put after %s: %d connections and %d questions a pod, %d bytes of heap each", time.Since(begin), links, asked, (heap()-before)/int64(len(pods)))
	if per := (heap() - before) / int64(len(pods)); per > memoryEach {
		t.Errorf("%d bytes of heap for each pod", per)
	}

	rng.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
	dead, alive := pods[:len(pods)*3/10], pods[len(pods)*3/10:]
	var ending sync.WaitGroup
	for _, p := range dead {
		ending.Go(p.stop)
	}
	ending.Wait()
	var mu sync.Mutex // guards the fields below
	var hops []int
	misses := 0
	_, asked = counts(alive)
	var group errgroup.Group
	group.SetLimit(manyAtOnce)
	for range manyLookups {
		reader, author := alive[rng.IntN(len(alive))], authors[rng.IntN(len(authors))]
		group.Go(func() error {
			n, ok := lookup(t, reader, author.id)
			mu.Lock()
			defer mu.Unlock()
			if hops = append(hops, n); !ok {
				misses++
			}
			return nil
		})
	}
	_ = group.Wait() // none is returned
	slices.Sort(hops)
	_, now := counts(alive)
	t.Logf("%d lookups with %d of %d pods off: %d in vain; hops in the median %d, at most %d; %.1f streams were opened for each; %s in all",
		manyLookups, len(dead), len(pods), misses, hops[len(hops)/2], hops[len(hops)-1], float64((now-asked)*len(alive))/manyLookups, time.Since(begin))
	if hops[len(hops)/2] > hopsMax || misses > missesMax {
		t.Error("too many hops, or lookups in vain")
	}
	firstBytes(t, rng, alive, still)
}

// firstBytes has pods that just came, and know one other, get a block through the DHT alone: who announces its group, where that pod is, and the block.
func firstBytes(t *testing.T, rng *rand.Rand, pods []*pod, still func(*Config, *fake)) {
	t.Helper()
	id, wire := wireOf(rng, 64<<10)
	holders := pods[:manyAuthors/2]
	key := func(holder int) Key { return GroupKey(testNetwork, uint16(holder)) }
	for i, h := range holders {
		h.fake.mu.Lock()
		h.blocks[id] = wire
		h.fake.mu.Unlock()
		if err := h.DHT().Announce(within(t, time.Minute), []Key{key(i)}); err != nil {
			t.Fatal(err)
		}
	}
	var took []time.Duration
	for n := range manyReaders {
		i := rng.IntN(len(holders))
		wait(t, "the first byte", func() error { // what is announced is told in the background
			reader := start(t, byte(201+n), still)
			defer reader.stop()
			join(t, reader, pods[manyAuthors/2+rng.IntN(len(pods)-manyAuthors/2)])
			ctx, begin := within(t, 20*time.Second), time.Now()
			err := fmt.Errorf("no holder: %w", block.ErrNotFound)
			for pod, findErr := range reader.DHT().FindHolders(ctx, key(i)) {
				if err = findErr; err == nil {
					err = reader.DHT().Reach(ctx, pod)
				}
				if err == nil {
					err = reader.Get(ctx, pod, []block.ID{id}, func(_ block.ID, _ []byte, err error) error { return err })
				}
				if err == nil {
					break
				}
			}
			if err == nil {
				took = append(took, time.Since(begin))
			}
			return err
		})
	}
	slices.Sort(took)
	t.Logf("the first byte of a block through the DHT alone: median %s, p95 %s, of %d", took[len(took)/2], took[len(took)*95/100], len(took))
}

// each does something with all pods, some at a time.
func each(t *testing.T, pods []*pod, f func(context.Context, *pod) error) {
	t.Helper()
	ctx := within(t, 5*time.Minute)
	var group errgroup.Group
	group.SetLimit(manyAtOnce)
	for _, p := range pods {
		group.Go(func() error {
			for {
				// On a machine that is busy connections may break; they come again.
				if err := f(ctx, p); !errors.Is(err, ErrUnreachable) || ctx.Err() != nil {
					return err
				}
				if err := clock.Sleep(ctx, clock.Real{}, readyPoll); err != nil {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// counts are connections and streams that were opened to ask, of a pod in the mean.
func counts(pods []*pod) (links, asked int) {
	for _, p := range pods {
		links += len(p.Peers())
		asked += int(p.DHT().Stats().Asked)
	}
	return links / len(pods), asked / len(pods)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// lookup finds a head, and tells how many hops it took.
func lookup(t *testing.T, reader *pod, author ident.Pod) (hops int, ok bool) {
	t.Helper()
	return hopsOf(t, func(ctx context.Context) bool {
		head, err := reader.DHT().FindHead(ctx, author)
		return err == nil && bytes.Equal(head, testHead(author, 1))
	})
}

// hopsOf looks for something, and tells how many pods were asked one after the other, each told of by the one before, until all that are nearest to it were.
func hopsOf(t *testing.T, look func(context.Context) bool) (hops int, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ctx, events := routing.RegisterForQueryEvents(ctx)
	counted := make(chan int, 1)
	go func() {
		far, farthest := map[peer.ID]int{}, 0
		for e := range events {
			switch e.Type {
			case routing.SendingQuery:
				far[e.ID] = max(far[e.ID], 1)
				farthest = max(farthest, far[e.ID])
			case routing.PeerResponse:
				for _, p := range e.Responses {
					if far[p.ID] == 0 {
						far[p.ID] = far[e.ID] + 1
					}
				}
			default:
			}
		}
		counted <- farthest
	}()
	ok = look(ctx)
	cancel()
	return <-counted, ok
}
