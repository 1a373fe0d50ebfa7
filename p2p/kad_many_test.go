package p2p

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"
)

var (
	kadPods  = flag.Int("kad-pods", 30, "TestDHTThousand: how many pods")
	kadShare = flag.Int("kad-share", 1, "TestDHTThousand: only one group of so many is announced and looked for; all of 1000 pods' need more memory than most machines have")
	kadRest  = flag.Duration("kad-rest", 10*time.Minute, "TestDHTThousand: for how long, in their time, it is counted what goes")
)

const (
	kadGroups  = 4096
	kadAuthors = 20
	kadLookups = 200
	// kadRequestsMax is how many requests a pod may send in an hour at rest, in the mean: one in a second. Most refresh routing tables every ten minutes, so a short rest has more or less of them.
	kadRequestsMax = 3600
)

// kadWorld is nodes of one network, most of them at rest.
type kadWorld struct {
	*kadNet

	t       *testing.T
	rng     *rand.Rand
	pods    []*kadNode // that are up
	authors []*kadNode // that told a head, some of them off later
}

// TestDHTThousand breaks if among many pods, with what all of them announce by the groups of the placement, lookups take more than 4 hops in the median, find too little while 30 % of the pods are off, or
// being there costs too many messages. It runs the library's own code, with our options, on a network in memory, in a time of its own; -v prints the figures of docs/bench/dht.md.
func TestDHTThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("many pods take long")
	}
	begin, before := time.Now(), heap()
	synctest.Test(t, func(t *testing.T) {
		w := &kadWorld{kadNet: &kadNet{nodes: map[peer.ID]*kadNode{}}, t: t, rng: rand.New(rand.NewPCG(*seed, 3))}
		defer func() { w.end(w.pods) }()
		w.join(*kadPods)
		w.count("joining", 10*time.Minute)
		w.announce()
		w.count("announcing for the first time", 30*time.Minute)
		if per := w.count("at rest", *kadRest); per > kadRequestsMax {
			t.Errorf("%.0f requests a pod and hour", per)
		}
		w.heads()
		w.lookups("all up")
		w.t.Logf("%d bytes of heap for each pod", (heap()-before)/int64(len(w.pods)))
		w.rng.Shuffle(len(w.pods), func(i, j int) { w.pods[i], w.pods[j] = w.pods[j], w.pods[i] })
		off := len(w.pods) * 3 / 10
		w.end(w.pods[:off])
		w.pods = w.pods[off:]
		w.lookups(fmt.Sprintf("%d off", off))
	})
	t.Logf("%d pods took %s", *kadPods, time.Since(begin).Round(time.Second))
}

// join has pods come one after the other, each of which knows a few.
func (w *kadWorld) join(n int) {
	for i := range n {
		k := w.node(w.t, i)
		for range min(i, manyKnown) {
			if _, err := k.link(w.pods[w.rng.IntN(i)].id); err != nil {
				w.t.Fatal(err)
			}
		}
		w.pods = append(w.pods, k)
		time.Sleep(300 * time.Millisecond)
	}
}

// groups is how many groups there are: with fewer pods fewer, so that each announces as many as one of a thousand does, or a share of that.
func (w *kadWorld) groups() int { return min(kadGroups, kadGroups**kadPods/1000) / *kadShare }

// announce has each group announced by as many pods as announce one.
func (w *kadWorld) announce() {
	keys := make([][]Key, len(w.pods))
	for g := range uint16(w.groups()) {
		for _, i := range w.rng.Perm(len(w.pods))[:HoldersMax] {
			keys[i] = append(keys[i], GroupKey(testNetwork, g))
		}
	}
	most := 0
	for i, k := range w.pods {
		most = max(most, len(keys[i]))
		k.announce(w.t, keys[i])
	}
	w.t.Logf("%d keys are announced by a pod in the mean, %d at most", w.groups()*HoldersMax/len(w.pods), most)
}

// count lets a time pass, in which pods look around as Host does, and says how many requests went for each pod and hour.
func (w *kadWorld) count(what string, d time.Duration) float64 {
	var was [len(w.requests)]int64
	for i := range was {
		was[i] = w.requests[i].Load()
	}
	sent, dials := w.bytes.Load(), w.dials.Load()
	for range d / seekEvery {
		time.Sleep(seekEvery)
		for _, k := range w.pods {
			if len(k.Network().Peers()) < meshMax {
				k.look()
			}
		}
	}
	hours := d.Hours() * float64(len(w.pods))
	var all int64
	line := ""
	for i := range was {
		n := w.requests[i].Load() - was[i]
		if all += n; n > 0 {
			line += fmt.Sprintf(", %s %.1f", pb.Message_MessageType(i), float64(n)/hours)
		}
	}
	links := 0
	for _, k := range w.pods {
		links += len(k.Network().Peers())
	}
	w.t.Logf("%s: %.1f requests a pod and hour%s; %.0f bytes a pod and second; %.1f dials a pod and hour, %d connections; %d MiB of heap", what, float64(all)/hours, line,
		float64(w.bytes.Load()-sent)/hours/3600, float64(w.dials.Load()-dials)/hours, links/len(w.pods), heap()>>20)
	return float64(all) / hours
}

// look is what kademlia.look asks.
func (k *kadNode) look() {
	ctx, cancel := context.WithTimeout(context.Background(), seekTimeout)
	defer cancel()
	if _, err := k.dht.GetClosestPeers(ctx, string(k.id)); err != nil {
		return
	}
	for info := range k.dht.FindProvidersAsync(ctx, cidOf(networkKey(testNetwork)), meshMax) {
		_, _ = k.link(info.ID)
	}
}

// each does something so many times, some at a time.
func (w *kadWorld) each(n int, f func(i int) error) {
	w.t.Helper()
	var group errgroup.Group
	group.SetLimit(manyAtOnce)
	for i := range n {
		group.Go(func() error { return f(i) })
	}
	if err := group.Wait(); err != nil {
		w.t.Error(err)
	}
}

// end ends pods.
func (w *kadWorld) end(pods []*kadNode) {
	w.each(len(pods), func(i int) error { return pods[i].close() })
	time.Sleep(kadDelay) // who is about to write finds the stream closed
	synctest.Wait()
}

// heads has some pods tell their heads.
func (w *kadWorld) heads() {
	w.authors = slices.Clone(w.pods[:kadAuthors])
	w.each(kadAuthors, func(i int) error {
		return w.pods[i].dht.PutValue(w.t.Context(), headKey(w.pods[i].pod), testHead(w.pods[i].pod, 1))
	})
}

// lookups looks for heads and for holders of groups, and judges the hops.
func (w *kadWorld) lookups(what string) {
	var mu sync.Mutex // guards the fields below
	hops := map[string][]int{}
	vain := map[string]int{}
	asked := w.requests[pb.Message_GET_VALUE].Load() + w.requests[pb.Message_GET_PROVIDERS].Load()
	w.each(kadLookups, func(i int) error {
		mu.Lock()
		reader, author, g := w.pods[w.rng.IntN(len(w.pods))], w.authors[i%kadAuthors], GroupKey(testNetwork, uint16(w.rng.IntN(w.groups())))
		mu.Unlock()
		for kind, look := range map[string]func(context.Context) bool{
			"head": func(ctx context.Context) bool {
				head, err := reader.dht.GetValue(ctx, headKey(author.pod))
				return err == nil && bytes.Equal(head, testHead(author.pod, 1))
			},
			"holders": func(ctx context.Context) bool {
				n := 0
				for range reader.dht.FindProvidersAsync(ctx, cidOf(g), HoldersMax+1) {
					n++
				}
				return n >= 2
			},
		} {
			n, ok := hopsOf(w.t, look)
			mu.Lock()
			if hops[kind] = append(hops[kind], n); !ok {
				vain[kind]++
			}
			mu.Unlock()
		}
		return nil
	})
	asked = w.requests[pb.Message_GET_VALUE].Load() + w.requests[pb.Message_GET_PROVIDERS].Load() - asked
	for kind, list := range hops {
		slices.Sort(list)
		median := list[len(list)/2]
		w.t.Logf("%s: %d lookups of %s: %d in vain; hops in the median %d, at most %d", what, len(list), kind, vain[kind], median, list[len(list)-1])
		if median > hopsMax || vain[kind] > missesMax {
			w.t.Error("too many hops, or lookups in vain")
		}
	}
	w.t.Logf("%s: %.1f requests for each lookup", what, float64(asked)/(2*kadLookups))
}
