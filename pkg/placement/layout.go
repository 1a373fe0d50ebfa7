package placement

import (
	"bytes"
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Layout is the active pods' entries, from which walks and sets follow. It is immutable and safe for concurrent
// use; copies share what was computed. The zero value has no pods.
type Layout struct{ l *layout }

type layout struct {
	entries []Entry // by pod
	ranked  bool    // some have a priority
	orders  [Groups]atomic.Pointer[order]
}

// order is what a group's entries come to, as indices into layout.entries. It is made when first asked for and
// never changed.
type order struct {
	walk []int32
	set  []int32 // the walk without draining pods, reordered by priorities and zones
}

// NewLayout makes a layout of entries, which the caller has verified. Of one pod's entries the newest counts (the
// greater bytes on a tie); a pod whose newest entry has weight 0, a portal, is left out. The order of entries does
// not matter. Their slices are shared and must not be changed.
func NewLayout(entries []Entry) Layout {
	newest := make(map[ident.Pod]Entry, len(entries))
	for _, e := range entries {
		if old, ok := newest[e.Pod]; !ok || e.newer(old) {
			newest[e.Pod] = e
		}
	}
	l := &layout{}
	for _, e := range newest {
		if e.Weight > 0 {
			l.entries = append(l.entries, e)
			l.ranked = l.ranked || e.Priority() > 0
		}
	}
	slices.SortFunc(l.entries, func(a, b Entry) int { return bytes.Compare(a.Pod[:], b.Pod[:]) })
	return Layout{l}
}

// Len is the number of active pods, draining ones included.
func (l Layout) Len() int {
	if l.l == nil {
		return 0
	}
	return len(l.l.entries)
}

// Entries are the active pods' entries, by pod; the caller owns the slice.
func (l Layout) Entries() []Entry {
	if l.l == nil {
		return nil
	}
	return slices.Clone(l.l.entries)
}

// Entry is an active pod's entry.
func (l Layout) Entry(pod ident.Pod) (Entry, bool) {
	if l.l == nil {
		return Entry{}, false
	}
	i, ok := slices.BinarySearchFunc(l.l.entries, pod, func(e Entry, p ident.Pod) int { return bytes.Compare(e.Pod[:], p[:]) })
	if !ok {
		return Entry{}, false
	}
	return l.l.entries[i], true
}

// Walk is all active pods in the group's order, draining ones included: they still hold what they held. The
// caller owns the slice.
func (l Layout) Walk(g Group) []ident.Pod {
	if l.Len() == 0 {
		return nil
	}
	return l.l.pods(l.l.order(g).walk)
}

// Set is the n pods that hold the group's blocks, or all that there are if fewer, in the order in which they were
// chosen: along the walk, those of the highest priority first, skipping zones that have one of the set until all zones have as many, and so on. A pod
// with no zone is a zone of its own; draining pods are left out. Set(g, n) begins with Set(g, n-1). The caller owns
// the slice.
func (l Layout) Set(g Group, n int) []ident.Pod {
	if l.Len() == 0 || n <= 0 {
		return nil
	}
	set := l.l.order(g).set
	return l.l.pods(set[:min(n, len(set))])
}

// InSet says whether pod is in Set(g, n).
func (l Layout) InSet(g Group, n int, pod ident.Pod) bool {
	if l.Len() == 0 || n <= 0 {
		return false
	}
	set := l.l.order(g).set
	return slices.ContainsFunc(set[:min(n, len(set))], func(i int32) bool { return l.l.entries[i].Pod == pod })
}

func (l *layout) pods(order []int32) []ident.Pod {
	pods := make([]ident.Pod, len(order))
	for i, n := range order {
		pods[i] = l.entries[n].Pod
	}
	return pods
}

// order returns a group's order. Two goroutines that ask at once may both compute it, to the same end.
func (l *layout) order(g Group) *order {
	slot := &l.orders[g%Groups]
	if o := slot.Load(); o != nil {
		return o
	}
	o := l.compute(g % Groups)
	slot.Store(o)
	return o
}

func (l *layout) compute(g Group) *order {
	walk := make([]int32, len(l.entries))
	distances := make([]uint64, len(l.entries))
	for i, e := range l.entries {
		walk[i], distances[i] = int32(i), distance(g, e.Pod)
	}
	slices.SortFunc(walk, func(a, b int32) int {
		wa, wb := uint64(min(l.entries[a].Weight, WeightMax)), uint64(min(l.entries[b].Weight, WeightMax))
		// Entries are sorted by pod, so the lesser index is the lesser pod.
		return cmp.Or(cmp.Compare(distances[a]*wb, distances[b]*wa), cmp.Compare(a, b))
	})
	return &order{walk: walk, set: l.spreadZones(walk)}
}

// Likely is all active pods in the order in which they are likely to hold the group's blocks: its set, then those of the walk that are not in it. The caller owns
// the slice.
func (l Layout) Likely(g Group) []ident.Pod {
	if l.Len() == 0 {
		return nil
	}
	o := l.l.order(g)
	out := slices.Clone(o.set)
	for _, i := range o.walk {
		if l.l.entries[i].Drain {
			out = append(out, i)
		}
	}
	return l.l.pods(out)
}

// spreadZones orders a walk by rounds: the first pod of each zone, then the second of each, and so on, each round
// in the order of the walk. That is the same as skipping used zones until all are used. Where pods have priorities, those of the highest come first within
// each zone, and within each round.
func (l *layout) spreadZones(walk []int32) []int32 {
	rounds := make([]int, len(l.entries)) // of each pod
	inZone := make(map[string]int)
	set := make([]int32, 0, len(walk))
	if l.ranked {
		priorities := make([]uint32, len(l.entries))
		for i := range l.entries {
			priorities[i] = l.entries[i].Priority()
		}
		walk = slices.Clone(walk)
		slices.SortStableFunc(walk, func(a, b int32) int { return cmp.Compare(priorities[b], priorities[a]) })
	}
	for _, i := range walk {
		e := l.entries[i]
		if e.Drain {
			continue
		}
		if e.Zone != "" {
			rounds[i] = inZone[e.Zone]
			inZone[e.Zone]++
		}
		set = append(set, i)
	}
	slices.SortStableFunc(set, func(a, b int32) int { return cmp.Compare(rounds[a], rounds[b]) })
	return set
}
