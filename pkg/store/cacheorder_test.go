package store

import (
	"container/list"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// policy is a cache of things of length 1: hit says whether one is there, and has it there from then on.
type policy interface{ hit(k int) bool }

// segmented is the policy of the store.
type segmented struct {
	order[int]
	limit int
}

func (c *segmented) hit(k int) bool {
	if c.find(k) != nil {
		c.touch(k, 0, int64(c.limit))
		return true
	}
	for _, v := range c.victims(int64(c.limit)-1, 1) {
		c.remove(v)
	}
	c.add(cachedCopy[int]{id: k, bytes: 1})
	return false
}

// plainLRU is what the store had before.
type plainLRU struct {
	limit int
	list.List
	byKey map[int]*list.Element
}

func (c *plainLRU) hit(k int) bool {
	if e := c.byKey[k]; e != nil {
		c.MoveToFront(e)
		return true
	}
	if c.Len() >= c.limit {
		delete(c.byKey, c.Remove(c.Back()).(int))
	}
	c.byKey[k] = c.PushFront(k)
	return false
}

// s3fifo is Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023: a small queue of a tenth, a main
// one, and a queue of keys that went, as many as the main one has.
type s3fifo struct {
	limit              int
	small, main, ghost list.List
	byKey              map[int]*list.Element // of *s3entry
	gone               map[int]*list.Element // of int
}

type s3entry struct{ key, uses int }

func (c *s3fifo) hit(k int) bool {
	if e := c.byKey[k]; e != nil {
		v := e.Value.(*s3entry)
		v.uses = min(3, v.uses+1)
		return true
	}
	for len(c.byKey) >= c.limit {
		c.evict()
	}
	if e := c.gone[k]; e != nil {
		c.ghost.Remove(e)
		delete(c.gone, k)
		c.byKey[k] = c.main.PushFront(&s3entry{key: k})
	} else {
		c.byKey[k] = c.small.PushFront(&s3entry{key: k})
	}
	return false
}

func (c *s3fifo) evict() {
	for c.small.Len() > 0 && (c.small.Len() >= c.limit/10 || c.main.Len() == 0) {
		v := c.small.Remove(c.small.Back()).(*s3entry)
		if v.uses > 1 {
			v.uses = 0
			c.byKey[v.key] = c.main.PushFront(v)
			continue
		}
		delete(c.byKey, v.key)
		c.gone[v.key] = c.ghost.PushFront(v.key)
		if c.ghost.Len() > c.limit-c.limit/10 {
			delete(c.gone, c.ghost.Remove(c.ghost.Back()).(int))
		}
		return
	}
	for {
		e := c.main.Back()
		v := e.Value.(*s3entry)
		if v.uses == 0 {
			c.main.Remove(e)
			delete(c.byKey, v.key)
			return
		}
		v.uses--
		c.main.MoveToFront(e)
	}
}

// zipf is a trace of n things, the i-th likeliest of which is asked for 1/i as often as the first, in the order of chance.
func zipf(r *rand.Rand, n, length int) []int {
	sums, sum := make([]float64, n), 0.0
	for i := range sums {
		sum += 1 / float64(i+1)
		sums[i] = sum
	}
	names := r.Perm(n)
	out := make([]int, length)
	for i := range out {
		at, _ := slices.BinarySearch(sums, r.Float64()*sum)
		out[i] = names[at]
	}
	return out
}

// scanned puts runs of things that nobody asks for again into a trace.
func scanned(trace []int, n, every, run int) []int {
	var out []int
	for i, k := range trace {
		if i%every == 0 {
			for range run {
				out = append(out, n)
				n++
			}
		}
		out = append(out, k)
	}
	return out
}

// hitRate is the share of what is below n that was there, after a tenth of the trace.
func hitRate(p policy, trace []int, n int) float64 {
	hits, all := 0, 0
	for i, k := range trace {
		hit := p.hit(k)
		if i < len(trace)/10 || k >= n {
			continue
		}
		all++
		if hit {
			hits++
		}
	}
	return float64(hits) / float64(all)
}

// TestHitRate breaks if the cache keeps the wrong copies: it has to hit at least as often as a plain LRU and 0.97 times as often as S3-FIFO, and
// a scan must not empty it. -v prints the figures of docs/bench/cache.md.
func TestHitRate(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds")
	}
	const chunks = 100_000
	seed := uint64(7)
	t.Log("seed", seed)
	trace := zipf(rand.New(rand.NewPCG(seed, 1)), chunks, 500_000)
	for _, traced := range []struct {
		name  string
		trace []int
	}{{"zipf", trace}, {"zipf and scans", scanned(trace, chunks, 50_000, 20_000)}} {
		for _, percent := range []int{1, 5, 20} {
			t.Run(fmt.Sprintf("%s/%d %%", traced.name, percent), func(t *testing.T) {
				limit := chunks * percent / 100
				ours := hitRate(&segmented{limit: limit}, traced.trace, chunks)
				lru := hitRate(&plainLRU{limit: limit, byKey: make(map[int]*list.Element)}, traced.trace, chunks)
				s3 := hitRate(&s3fifo{limit: limit, byKey: make(map[int]*list.Element), gone: make(map[int]*list.Element)}, traced.trace, chunks)
				t.Logf("| %s | %d %% | %.4f | %.4f | %.4f |", traced.name, percent, ours, lru, s3)
				if ours < lru || ours < 0.97*s3 {
					t.Errorf("hit rate %.4f, of plain LRU %.4f, of S3-FIFO %.4f", ours, lru, s3)
				}
			})
		}
	}
}

// TestOrder breaks if bytes are miscounted, or protected copies pass their share.
func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var o order[int]
	const limit = 1000
	for range 20_000 {
		k := r.IntN(200)
		switch r.IntN(6) {
		case 0:
			o.remove(k)
		case 1:
			o.spare(k)
		case 2, 3:
			o.touch(k, 0, limit)
		default:
			for _, v := range o.victims(limit-20, 1) {
				o.remove(v)
			}
			o.add(cachedCopy[int]{id: k, bytes: int64(1 + k%20)})
		}
		var all, safe int64
		for k, e := range o.byID {
			c := copyAt[int](e)
			if c.id != k {
				t.Fatalf("%d is under %d", c.id, k)
			}
			if all += c.bytes; c.protected {
				safe += c.bytes
			}
		}
		if all != o.bytes || safe != o.safe || o.probation.Len()+o.protected.Len() != len(o.byID) {
			t.Fatalf("%d bytes, %d protected, counted %d and %d", all, safe, o.bytes, o.safe)
		}
	}
}
