package placement

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// randomly returns a generator whose seed is printed when the test fails.
func randomly(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}

func randomPod(r *rand.Rand) (p ident.Pod) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// randomEntries is n entries in zones zones (0: no zones), all of the default weight.
func randomEntries(r *rand.Rand, n, zones int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{Pod: randomPod(r), Weight: WeightDefault}
		if zones > 0 {
			entries[i].Zone = fmt.Sprint("z", r.IntN(zones))
		}
	}
	return entries
}

func TestGroupOf(t *testing.T) {
	r := randomly(t)
	var count [16]int
	for range 4096 {
		var hash [32]byte
		for i := range hash {
			hash[i] = byte(r.Uint32())
		}
		g := GroupOf(block.FromHash(block.Raw, hash))
		if g >= Groups || g != GroupOf(block.FromHash(block.DagCBOR, hash)) {
			t.Fatalf("group %d of %x", g, hash)
		}
		count[g>>8]++
	}
	for i, n := range count {
		if n < 128 || n > 512 {
			t.Errorf("%d of 4096 blocks in the sixteenth %d", n, i)
		}
	}
}

// log2 is what all pods must compute alike; that it is a logarithm at all is checked against floats here.
func TestLog2(t *testing.T) {
	r := randomly(t)
	for _, x := range []uint64{1, 2, 3, 1 << 63, math.MaxUint64, r.Uint64() | 1, r.Uint64()>>40 | 1} {
		got, want := float64(log2(x))/(1<<fractionBits), math.Log2(float64(x))
		if math.Abs(got-want) > 1e-8 {
			t.Errorf("log2 of %d: %v, want %v", x, got, want)
		}
	}
	if log2(math.MaxUint64) >= 64<<fractionBits {
		t.Error("a distance of 0: the weight would no longer count")
	}
}

// A pod that goes must move nothing but what it held, and each group that it held gets one other pod: otherwise
// every removal shifts data between healthy pods.
func TestRemovalIsMinimal(t *testing.T) {
	r := randomly(t)
	for _, zones := range []int{0, 1, 3, 5} {
		for range 20 {
			entries := randomEntries(r, 2+r.IntN(12), zones)
			for i := range entries {
				entries[i].Weight = 1 + r.Uint32N(1000)
			}
			gone := r.IntN(len(entries))
			before := NewLayout(entries)
			after := NewLayout(slices.Delete(slices.Clone(entries), gone, gone+1))
			drained := slices.Clone(entries)
			drained[gone].Drain = true
			draining := NewLayout(drained)
			n := 1 + r.IntN(len(entries))
			for range 200 {
				g := Group(r.IntN(Groups))
				old, now := before.Set(g, n), after.Set(g, n)
				if diff := cmp.Diff(now, draining.Set(g, n)); diff != "" {
					t.Fatalf("draining is not as removed: %s", diff)
				}
				for _, pod := range old {
					if pod != entries[gone].Pod && !slices.Contains(now, pod) {
						t.Fatalf("%d zones, %d pods, n %d: %s lost group %d when another went", zones, len(entries), n, pod, g)
					}
				}
				if !slices.Contains(old, entries[gone].Pod) && !cmp.Equal(old, now) && len(old) == len(now) && zones == 0 {
					t.Fatalf("order changed in a group that the pod did not hold")
				}
			}
		}
	}
}

// A pod that held nothing of a group, zones or not, changes nothing in it when it goes.
func TestAdditionIsMinimal(t *testing.T) {
	r := randomly(t)
	for range 30 {
		entries := randomEntries(r, 2+r.IntN(10), r.IntN(4))
		with, without := NewLayout(entries), NewLayout(entries[1:])
		for range 300 {
			g, n := Group(r.IntN(Groups)), 1+r.IntN(4)
			a, b := with.Set(g, n), without.Set(g, n)
			added := 0
			for _, pod := range a {
				if !slices.Contains(b, pod) {
					added++
					if pod != entries[0].Pod {
						t.Fatalf("%s gets a group because another pod came", pod)
					}
				}
			}
			if added > 1 {
				t.Fatal("one pod came twice")
			}
		}
	}
}

// Shares follow weights. A layout of few pods deviates by chance, for there are only 4096 groups (256 a pod of 16:
// 6 % standard deviation), so the mean over layouts is compared.
func TestSharesFollowWeights(t *testing.T) {
	r := randomly(t)
	weights := []uint32{50, 100, 100, 150, 200}
	const layouts = 24
	var held [5]int
	for range layouts {
		entries := randomEntries(r, len(weights), 0)
		for i := range entries {
			entries[i].Weight = weights[i]
		}
		l := NewLayout(entries)
		for g := range Group(Groups) {
			first := l.Set(g, 1)[0]
			held[slices.IndexFunc(entries, func(e Entry) bool { return e.Pod == first })]++
		}
	}
	for i, n := range held {
		got, want := float64(n)/(layouts*Groups), float64(weights[i])/600
		if math.Abs(got/want-1) > 0.05 {
			t.Errorf("weight %d holds %.4f, want %.4f", weights[i], got, want)
		}
	}
}

// No zone holds two before every zone with pods left holds one more.
func TestZones(t *testing.T) {
	r := randomly(t)
	for range 50 {
		entries := randomEntries(r, 1+r.IntN(12), 4)
		zone := make(map[ident.Pod]string)
		size := make(map[string]int)
		for _, e := range entries {
			zone[e.Pod] = e.Zone
			size[e.Zone]++
		}
		l := NewLayout(entries)
		for range 50 {
			g, n := Group(r.IntN(Groups)), 1+r.IntN(12)
			set := l.Set(g, n)
			if len(set) != min(n, len(entries)) {
				t.Fatalf("%d of %d", len(set), n)
			}
			used := make(map[string]int)
			for _, pod := range set {
				used[zone[pod]]++
			}
			for z, a := range used {
				for y := range size {
					if b := used[y]; a > b+1 && b < size[y] {
						t.Fatalf("zone %s has %d of the set, zone %s only %d of %d", z, a, y, b, size[y])
					}
				}
			}
			if longer := l.Set(g, n+1); !cmp.Equal(longer[:len(set)], set) {
				t.Fatal("Set(n+1) does not begin with Set(n)")
			}
		}
	}
}

// A draining pod is still asked (Walk) and gets nothing new (Set); a portal is in neither.
func TestDrainAndPortal(t *testing.T) {
	a, b, c := ident.Pod{1}, ident.Pod{2}, ident.Pod{3}
	l := NewLayout([]Entry{{Pod: a, Weight: 1, Drain: true}, {Pod: b, Weight: 1}, {Pod: c}})
	if got := l.Set(7, 5); !cmp.Equal(got, []ident.Pod{b}) {
		t.Errorf("set %v", got)
	}
	if got := l.Walk(7); len(got) != 2 || !slices.Contains(got, a) {
		t.Errorf("walk %v", got)
	}
	if _, ok := l.Entry(c); ok || l.Len() != 2 || l.InSet(7, 5, a) || !l.InSet(7, 1, b) || l.InSet(7, 0, b) {
		t.Error("a portal is active, or a draining pod in the set")
	}
}

// Entries arrive in any order, several of one pod; all pods must come to one layout.
func TestNewestCounts(t *testing.T) {
	r := randomly(t)
	pod := ident.Pod{5}
	entries := []Entry{
		{Pod: pod, Version: 2, Weight: 3},
		{Pod: pod, Version: 9, Weight: 7},
		{Pod: pod, Version: 9, Weight: 8},
		{Pod: pod, Version: 1, Weight: 4},
		{Pod: ident.Pod{6}, Version: 1, Weight: 1},
		{Pod: ident.Pod{6}, Version: 2, Weight: 0},
	}
	for range 20 {
		r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		l := NewLayout(entries)
		e, ok := l.Entry(pod)
		if !ok || e.Weight != 8 || l.Len() != 1 {
			t.Errorf("%+v, %d pods", e, l.Len())
		}
	}
}

func TestEmptyLayout(t *testing.T) {
	for _, l := range []Layout{{}, NewLayout(nil)} {
		if l.Walk(0) != nil || l.Set(0, 3) != nil || l.Len() != 0 || len(l.Entries()) != 0 || l.InSet(0, 1, ident.Pod{}) {
			t.Error("pods from nowhere")
		}
		if _, ok := l.Entry(ident.Pod{}); ok {
			t.Error("an entry from nowhere")
		}
	}
}

// Weights past the limit can't come from a decoder; if they come anyway, they must not overflow.
func TestGreatWeight(t *testing.T) {
	l := NewLayout([]Entry{{Pod: ident.Pod{1}, Weight: math.MaxUint32}, {Pod: ident.Pod{2}, Weight: 1}})
	first := 0
	for g := range Group(1000) {
		if l.Set(g, 1)[0] == (ident.Pod{1}) {
			first++
		}
	}
	if first < 990 {
		t.Errorf("first in %d of 1000", first)
	}
}

func TestConcurrentUse(t *testing.T) {
	l := NewLayout(randomEntries(randomly(t), 16, 3))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for g := range Group(500) {
				set := l.Set(g, 3)
				set[0] = ident.Pod{} // the caller's own
			}
		})
	}
	wg.Wait()
	for g := range Group(500) {
		if slices.Contains(l.Set(g, 3), ident.Pod{}) {
			t.Fatal("a caller's change is seen by others")
		}
	}
}

// 10,000 sets of 16 pods must take less than 100 ms, the first ones included.
func BenchmarkSet(b *testing.B) {
	entries := randomEntries(randomly(b), 16, 4)
	b.Run("fresh=10000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l := NewLayout(entries)
			for i := range 10_000 {
				l.Set(Group(i%Groups), 3)
			}
		}
	})
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		l := NewLayout(entries)
		for b.Loop() {
			l.Set(7, 3)
		}
	})
}

// The set has the pods of the highest priority first, but no zone twice while there are others; without priorities nothing changes.
func TestPriorities(t *testing.T) {
	r := randomly(t)
	for range 50 {
		entries := randomEntries(r, 2+r.IntN(10), 4)
		plain := NewLayout(entries)
		ranked := slices.Clone(entries)
		of := make(map[ident.Pod]Entry)
		for i := range ranked {
			ranked[i] = ranked[i].Prefer(uint32(r.IntN(3)))
			of[ranked[i].Pod] = ranked[i]
		}
		l := NewLayout(ranked)
		for range 20 {
			g := Group(r.IntN(Groups))
			if !cmp.Equal(l.Walk(g), plain.Walk(g)) {
				t.Fatal("the walk depends on priorities")
			}
			for _, lay := range []Layout{plain, l} {
				likely, set, all := lay.Likely(g), lay.Set(g, len(entries)), lay.Walk(g)
				if !cmp.Equal(likely[:len(set)], set) {
					t.Fatalf("likely %v, the set is %v", likely, set)
				}
				slices.SortFunc(likely, func(a, b ident.Pod) int { return bytes.Compare(a[:], b[:]) })
				slices.SortFunc(all, func(a, b ident.Pod) int { return bytes.Compare(a[:], b[:]) })
				if !cmp.Equal(likely, all) {
					t.Fatalf("likely %v of %v", likely, all)
				}
			}
			set := l.Set(g, len(entries))
			rounds, inZone := make([]int, len(set)), make(map[string]int)
			for i, pod := range set {
				e := of[pod]
				if e.Zone != "" {
					rounds[i] = inZone[e.Zone]
					inZone[e.Zone]++
				}
				if i == 0 {
					continue
				}
				if before := of[set[i-1]]; rounds[i-1] > rounds[i] || rounds[i-1] == rounds[i] && before.Priority() < e.Priority() {
					t.Fatalf("%d: round %d of priority %d after round %d of priority %d", i, rounds[i], e.Priority(), rounds[i-1], before.Priority())
				}
			}
		}
	}
	if e := (Entry{}).Prefer(7).Prefer(0); e.Priority() != 0 {
		t.Errorf("priority %d", e.Priority())
	}
	if e := (Entry{Ext: []Field{{ID: fieldPriority, Value: []byte{255, 255, 255, 255, 255, 255, 255, 255}}}}); e.Priority() != PriorityMax {
		t.Errorf("a priority over the limit counts as %d", e.Priority())
	}
}
