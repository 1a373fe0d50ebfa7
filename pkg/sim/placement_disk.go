package sim

import (
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// Sizes of disks in a simulation of the placement.
const (
	placeRoom    = 64 * placeLarge // bytes of the disk of a pod of weight 100; more or fewer with it
	placeSlowMax = 40              // steps until a write to a slow disk is done, at most
)

// placeWrite is a piece on its way to a slow disk.
type placeWrite struct {
	due  int
	to   *placePod
	i    int // chunk
	frag placement.Fragment
}

// bytesOf is how long a piece of a chunk is: a fragment, or, of the zero one, the whole.
func (c *placeChunk) bytesOf(f placement.Fragment) int64 {
	if f == (placement.Fragment{}) {
		return c.bytes
	}
	return (c.bytes + int64(f.Stripe.K) - 1) / int64(f.Stripe.K)
}

// used is how many bytes are on a pod's disk. Cached copies take no room: they go when it is needed.
func (w *placeWorld) used(p *placePod) (n int64) {
	for i, c := range w.chunks {
		if p.held[i].whole {
			n += c.bytes
		}
		for _, f := range p.held[i].frags {
			n += c.bytesOf(f)
		}
	}
	return n
}

// put has a pod store a piece: soon if its disk is slow, and not at all if there is no room.
func (w *placeWorld) put(to *placePod, i int, f placement.Fragment) {
	switch {
	case to == nil:
	case to.slow:
		w.writes = append(w.writes, placeWrite{w.now + 1 + w.rng.IntN(placeSlowMax), to, i, f})
	default:
		w.store(to, i, f)
	}
}

// store is the end of a write. What is there already takes no more room, and neither does a cached copy that becomes the pod's own.
func (w *placeWorld) store(to *placePod, i int, f placement.Fragment) {
	held := &to.held[i]
	if held.whole && f == (placement.Fragment{}) || held.frags.has(f) {
		return
	}
	if w.used(to)+w.chunks[i].bytesOf(f) > to.room-to.others {
		w.refused++
		return
	}
	if f != (placement.Fragment{}) {
		w.moved++
		held.frags.add(f)
		return
	}
	if !held.cached {
		w.moved++
	}
	held.whole, held.cached = true, false
}

// land ends the writes to slow disks that are due, or all. Those to a pod that went down since never happened.
func (w *placeWorld) land(all bool) {
	rest := w.writes[:0]
	for _, one := range w.writes {
		switch {
		case !one.to.up:
			w.undone++
		case all || one.due <= w.now:
			w.store(one.to, one.i, one.frag)
		default:
			rest = append(rest, one)
		}
	}
	w.writes = rest
}

// fill has other programs take what is free on a pod's disk, but for a little, or give it back.
func (w *placeWorld) fill(p *placePod) {
	if p.others > 0 {
		p.others = 0
	} else {
		p.others = max(0, p.room-w.used(p)-w.rng.Int64N(placeLarge))
	}
	w.trace.say("%d: on the disk of pod %d others take %d of %d bytes", w.now, p.n, p.others, p.room)
}

// fits judges that nothing was stored beyond a disk's end.
func (w *placeWorld) fits() error {
	for _, p := range w.pods {
		if n := w.used(p); n > p.room {
			return fmt.Errorf("step %d: pod %d has %d bytes on a disk of %d", w.now, p.n, n, p.room)
		}
	}
	return nil
}

// shares judges that each disk has the bytes of its part, and no more: with the shares of all groups, see balance, disks fill as their weights say.
func (w *placeWorld) shares(when string) error {
	var found problems
	places := w.places()
	for _, p := range w.pods {
		var want int64
		for i, c := range w.chunks {
			switch {
			case c.promised < 0: // more was lost than it bears: whatever is left of it
				if p.held[i].whole {
					want += c.bytes
				}
				for _, f := range p.held[i].frags {
					want += c.bytesOf(f)
				}
			case !places[i][p.id]:
			case c.want.ForBytes(c.bytes).Kind == placement.PolicyRS:
				want += c.bytesOf(placement.Fragment{Stripe: placement.Stripe{K: uint8(c.want.K)}, Index: 1})
			default:
				want += c.bytes
			}
		}
		if got := w.used(p); got != want {
			found.add("%s: the disk of pod %d has %d bytes, and its part is %d", when, p.n, got, want)
		}
	}
	return found.err()
}
