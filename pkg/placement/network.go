package placement

import (
	"maps"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Condition is what is known of a pod's life. The zero value is that it is down: of a pod of which nothing is known
// nothing is expected.
type Condition uint8

// The conditions (DESIGN section 6 names the times).
const (
	Down     Condition = iota // silent for 30 s: writes go to the next, and what has nothing to spare is repaired
	DownLong                  // silent for 10 min: what has one loss to spare is repaired, too
	Out                       // more than half of the active pods have signed that it is gone: all is repaired
	Up                        // it answers
	Frozen                    // silent, as it said that it would be for a while: nothing is repaired, and writes go to the next
	Suspect                   // silent for 4 s: it is taken for one that answers, but for the question who is the most
	Back                      // it answers, and came back several times of late: what others hold in its place stays
)

// Network is the pods as the planner sees them at one moment: a layout, and who is up. It is immutable and safe for
// concurrent use.
type Network struct {
	pods     map[ident.Pod]Condition
	all      Layout // with those that are out
	full     Layout // without them
	long     Layout // and without those that are down for long
	urgent   Layout // and without all that are down
	live     Layout // and without those that are frozen
	majority bool
	sure     bool // and it is one without those that are suspect
}

// NewNetwork is a layout with the conditions of its pods, and of others that may hold something. pods is copied.
func NewNetwork(l Layout, pods map[ident.Pod]Condition) *Network {
	n := &Network{pods: make(map[ident.Pod]Condition, len(pods)), all: l}
	maps.Copy(n.pods, pods)
	n.full = n.without(Out)
	n.long = n.without(Out, DownLong)
	n.urgent = n.without(Out, DownLong, Down)
	n.live = n.without(Out, DownLong, Down, Frozen)
	n.majority = 2*n.live.Len() > n.full.Len()
	// Who is cut off from the others finds them silent one after the other: when the first is down it must not be taken for the only one.
	n.sure = 2*n.live.Len()-2*n.suspects() > n.full.Len()
	return n
}

// Is says whether NewNetwork would make the same of a layout and pods.
func (n *Network) Is(l Layout, pods map[ident.Pod]Condition) bool {
	return n.all == l && maps.Equal(n.pods, pods)
}

// Set is the pods of which the planner would know what they hold of a chunk: those of the sets in which it may be, whoever is
// down. The caller owns the slice.
func (n *Network) Set(g Group, want Policy) []ident.Pod {
	set := n.all.Set(g, want.pods())
	for _, l := range []Layout{n.full, n.long, n.urgent, n.live} {
		if l == n.all {
			continue
		}
		for _, pod := range l.Set(g, want.pods()) {
			if !slices.Contains(set, pod) {
				set = append(set, pod)
			}
		}
	}
	return set
}

// without is the layout without the pods that are in one of some conditions.
func (n *Network) without(conditions ...Condition) Layout {
	var kept []Entry
	entries := n.all.Entries()
	for _, e := range entries {
		gone := false
		for _, c := range conditions {
			gone = gone || n.pods[e.Pod] == c
		}
		if !gone {
			kept = append(kept, e)
		}
	}
	if len(kept) == len(entries) {
		return n.all // shares what was computed
	}
	return NewLayout(kept)
}

// suspects is how many of the layout's pods are suspect.
func (n *Network) suspects() (s int) {
	for _, e := range n.live.Entries() {
		if n.pods[e.Pod] == Suspect {
			s++
		}
	}
	return s
}

// Up says whether a pod answers, or is silent for so short a time that it is taken for one that does.
func (n *Network) Up(pod ident.Pod) bool {
	c := n.pods[pod]
	return c == Up || c == Suspect || c == Back
}

// Majority says whether more than half of the active pods that are not out are up. A minority re-places nothing that others hold: it may be
// the one that is cut off.
func (n *Network) Majority() bool { return n.majority }

// Layout is the layout with all its pods, whatever their condition.
func (n *Network) Layout() Layout { return n.all }

// Live is the layout without the pods that are down, out or frozen: where what is new goes.
func (n *Network) Live() Layout { return n.live }

// draining says whether a pod is being emptied.
func (n *Network) draining(pod ident.Pod) bool {
	e, ok := n.all.Entry(pod)
	return ok && e.Drain
}

// active says whether a pod stores data for others.
func (n *Network) active(pod ident.Pod) bool {
	_, ok := n.all.Entry(pod)
	return ok
}

// layoutFor is the layout in which the set of a chunk is looked for that bears so many losses now. A pod that is down keeps
// its place as long as what it holds is not needed (I8), unless the chunk is new: it has not been promised to that pod yet.
func (n *Network) layoutFor(losses int, isNew bool) Layout {
	switch {
	case isNew:
		return n.live
	case !n.sure:
		return n.full
	case losses <= 0:
		return n.urgent
	case losses == 1:
		return n.long
	}
	return n.full
}
