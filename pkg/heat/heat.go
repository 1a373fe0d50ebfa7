// Package heat keeps which files are read most, in bounded memory: the space-saving summary of Metwally, Agrawal and El Abbadi ("Efficient
// Computation of Frequent and Top-k Elements in Data Streams", ICDT 2005), with weights that halve in a set time.
//
// A Summary holds at most a number of keys. One that comes when it is full takes the place of the coldest and its weight, which is noted as the
// most by which its own may be too much. So what is read often is never missed: of a total weight W over n places each key above W/n is there.
// Decay is forward (Cormode, Shkapenyuk, Srivastava and Xu, "Forward Decay", ICDE 2009): new weights grow, old ones stay as they are.
//
// A Summary is safe for concurrent use.
//
// # Format
//
// Encode writes canonical CBOR: [version 1, half-life in ms, now in ms since 1970, [[key, bytes, too much, since in ms since 1970], ...]], the
// entries by falling bytes, then rising key.
package heat

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// ErrBad says that bytes are no summary.
var ErrBad = errors.New("not a summary of reads")

// EntriesMax is the most keys of any summary.
const EntriesMax = 1 << 16

const (
	formatVersion = 1
	bytesMax      = 1 << 53 // what a float64 counts one by one
	msMax         = 1 << 43 // 278 years
	growthMax     = 40      // half-lives, after which weights are scaled down, long before they lose digits
)

// Read is what is known of a key.
type Read struct {
	Key   uint64
	Bytes int64     // read, decayed: those of a half-life ago count half
	Over  int64     // of them, at most so many are not the key's own
	Since time.Time // when the key came
}

// Own is what was read of the key at least.
func (r Read) Own() int64 { return r.Bytes - r.Over }

// Summary is a bounded set of keys with decayed weights.
type Summary struct {
	most int

	mu    sync.Mutex // guards the fields below
	half  time.Duration
	from  time.Time // when a byte weighs 1
	byKey map[uint64]*entry
	heap  entries // the coldest first
}

type entry struct {
	key          uint64
	weight, over float64
	since        time.Time
	at           int // in the heap
}

// New is an empty summary of so many keys at most, EntriesMax at the most.
func New(most int, half time.Duration) *Summary {
	return &Summary{most: max(1, min(most, EntriesMax)), half: max(half, time.Millisecond), byKey: make(map[uint64]*entry)}
}

// SetHalfLife has weights halve in another time from now on.
func (s *Summary) SetHalfLife(half time.Duration, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if half = max(half, time.Millisecond); half != s.half {
		s.rescale(now)
		s.half = half
	}
}

// Note notes that bytes of a key were read.
func (s *Summary) Note(key uint64, bytes int64, now time.Time) {
	if bytes <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from.IsZero() || s.age(now) > growthMax {
		s.rescale(now)
	}
	weight := float64(bytes) * math.Exp2(max(s.age(now), 0))
	e := s.byKey[key]
	switch {
	case e != nil:
	case len(s.heap) < s.most:
		e = &entry{key: key, since: now}
		s.byKey[key] = e
		heap.Push(&s.heap, e)
	default:
		e = s.heap[0]
		delete(s.byKey, e.key)
		e.key, e.over, e.since = key, e.weight, now
		s.byKey[key] = e
	}
	e.weight += weight
	heap.Fix(&s.heap, e.at)
}

// age is how many half-lives passed since a byte weighed 1.
func (s *Summary) age(now time.Time) float64 { return float64(now.Sub(s.from)) / float64(s.half) }

// rescale has a byte weigh 1 now.
func (s *Summary) rescale(now time.Time) {
	if !s.from.IsZero() {
		by := math.Exp2(-max(s.age(now), 0))
		for _, e := range s.heap { // the order stays
			e.weight *= by
			e.over *= by
		}
	}
	s.from = now
}

// Bytes is what is known of a key; false: nothing.
func (s *Summary) Bytes(key uint64, now time.Time) (Read, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byKey[key]
	if e == nil {
		return Read{}, false
	}
	return s.read(e, now), true
}

func (s *Summary) read(e *entry, now time.Time) Read {
	by := math.Exp2(-max(s.age(now), 0))
	clip := func(w float64) int64 { return int64(min(w*by, bytesMax)) }
	return Read{Key: e.key, Bytes: clip(e.weight), Over: clip(e.over), Since: e.since}
}

// Hottest are the keys that were read most, at most n, the hottest first. Those of which nothing is left are none.
func (s *Summary) Hottest(n int, now time.Time) []Read {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hottest(n, now)
}

func (s *Summary) hottest(n int, now time.Time) []Read {
	out := make([]Read, 0, len(s.heap))
	for _, e := range s.heap {
		if r := s.read(e, now); r.Own() > 0 {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Read) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Key, b.Key)) })
	return out[:min(n, len(out))]
}

// Forget drops a key.
func (s *Summary) Forget(key uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byKey[key]; e != nil {
		heap.Remove(&s.heap, e.at)
		delete(s.byKey, key)
	}
}

// Encode writes what there is now.
func (s *Summary) Encode(now time.Time) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.hottest(len(s.heap), now)
	b := cbor.AppendArray(nil, 4)
	b = cbor.AppendUint(b, formatVersion)
	b = cbor.AppendUint(b, uint64(s.half.Milliseconds()))
	b = cbor.AppendUint(b, ms(now))
	b = cbor.AppendArray(b, len(list))
	for _, r := range list {
		b = cbor.AppendArray(b, 4)
		b = cbor.AppendUint(b, r.Key)
		b = cbor.AppendUint(b, uint64(r.Bytes))
		b = cbor.AppendUint(b, uint64(r.Over))
		b = cbor.AppendUint(b, ms(r.Since))
	}
	return b
}

func ms(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }

// Decode reads what Encode wrote into a summary of so many keys at most: the coldest are left out. The error is ErrBad.
func Decode(b []byte, most int) (*Summary, error) {
	r := cbor.NewReader(b)
	r.Tuple(4)
	if v := r.Uint(); r.Err() == nil && v != formatVersion {
		r.Fail("version %d", v)
	}
	half := time.Duration(r.UintMax(msMax)) * time.Millisecond
	if r.Err() == nil && half <= 0 {
		r.Fail("weights that never halve")
	}
	s := New(most, half)
	s.from = time.UnixMilli(int64(r.UintMax(msMax)))
	last := Read{Bytes: math.MaxInt64}
	for range r.Array(EntriesMax) {
		r.Tuple(4)
		e := Read{Key: r.Uint(), Bytes: int64(r.UintMax(bytesMax)), Over: int64(r.UintMax(bytesMax)), Since: time.UnixMilli(int64(r.UintMax(msMax)))}
		switch {
		case r.Err() != nil:
			return nil, fmt.Errorf("heat: %w: %w", ErrBad, r.Err())
		case e.Own() <= 0 || e.Bytes > last.Bytes || e.Bytes == last.Bytes && e.Key <= last.Key || s.byKey[e.Key] != nil:
			return nil, fmt.Errorf("heat: %w: entry of %d is out of order", ErrBad, e.Key)
		}
		if last = e; len(s.heap) < s.most {
			one := &entry{key: e.Key, weight: float64(e.Bytes), over: float64(e.Over), since: e.Since}
			s.byKey[e.Key] = one
			heap.Push(&s.heap, one)
		}
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("heat: %w: %w", ErrBad, err)
	}
	return s, nil
}

// entries is a heap.Interface.
type entries []*entry

// Len is heap.Interface's.
func (h entries) Len() int { return len(h) }

// Less is heap.Interface's.
func (h entries) Less(i, j int) bool { return h[i].weight < h[j].weight }

// Swap is heap.Interface's.
func (h entries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push is heap.Interface's.
func (h *entries) Push(x any) {
	e := x.(*entry) //nolint:errcheck,forcetypeassert // only entries are pushed
	e.at = len(*h)
	*h = append(*h, e)
}

// Pop is heap.Interface's.
func (h *entries) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}
