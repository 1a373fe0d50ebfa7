package sim

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// step is something that happens, or a pod that looks at a chunk.
func (w *placeWorld) step() error {
	w.now++
	w.hear()
	w.land(false)
	if w.rng.IntN(20) == 0 {
		w.event()
	}
	for range 6 {
		p := w.pods[w.rng.IntN(len(w.pods))]
		if !p.up {
			continue
		}
		if _, err := w.act(p, w.rng.IntN(len(w.chunks))); err != nil {
			return err
		}
	}
	return w.fits()
}

// event is some trouble, or its end.
func (w *placeWorld) event() {
	p := w.pods[w.rng.IntN(len(w.pods))]
	switch k := w.rng.IntN(100); {
	case k < 30: // a crash, or a start
		if p.up = !p.up && !p.gone; !p.up {
			for i := range p.held {
				p.held[i].marks = nil
			}
		}
		w.trace.say("%d: pod %d is up: %v", w.now, p.n, p.up)
	case k < 45:
		p.slow = !p.slow
		w.trace.say("%d: the disk of pod %d is slow: %v", w.now, p.n, p.slow)
	case k < 60:
		w.fill(p)
	case k < 75:
		alone := w.rng.IntN(3) == 0
		for _, q := range w.pods {
			if q.side = w.rng.IntN(2); alone {
				q.side = 0
			}
		}
		p.side = 1
		w.trace.say("%d: the network parts; pod %d alone: %v", w.now, p.n, alone)
	case k < 85:
		for _, q := range w.pods {
			q.side = 0
		}
		w.trace.say("%d: the network is whole", w.now)
	case k < 90:
		if len(w.pods) < placePodsMax+4 {
			w.join()
		}
	case k < 95:
		w.drain(p, w.rng.IntN(2) == 0)
	default:
		w.lose(p)
	}
}

// rest is how many pods may take something.
func (w *placeWorld) rest() (n int) {
	for i, e := range w.entries {
		if !e.Drain && !w.pods[i].gone {
			n++
		}
	}
	return n
}

// drain has a pod emptied or used again. There stay as many as the widest policy needs.
func (w *placeWorld) drain(p *placePod, on bool) {
	e := &w.entries[p.n]
	if p.gone || e.Drain == on || on && w.rest() <= placePodsMin-2 {
		return
	}
	e.Drain = on
	e.Version++
	w.changed()
	w.trace.say("%d: pod %d is drained: %v", w.now, p.n, on)
}

// lose is a disk that is lost with all that is on it. What it had a part of bears a loss less than it did.
func (w *placeWorld) lose(p *placePod) {
	if p.gone || w.rest() <= placePodsMin-2 {
		return
	}
	for i, c := range w.chunks {
		if p.held[i].any() && c.promised >= 0 {
			if c.promised--; c.promised < 0 {
				w.lost++
			}
		}
		p.held[i] = placeHeld{}
	}
	p.gone, p.up = true, false
	w.trace.say("%d: pod %d is lost with its disk", w.now, p.n)
}

// joins, drains and loses are the changes of which it is counted what they move.
func (w *placeWorld) joins() string {
	return fmt.Sprintf("pod %d joins", w.join().n)
}

func (w *placeWorld) drains() string {
	p := w.pods[w.rng.IntN(len(w.pods))]
	w.drain(p, true)
	return fmt.Sprintf("pod %d is drained", p.n)
}

func (w *placeWorld) loses() string {
	p := w.pods[w.rng.IntN(len(w.pods))]
	w.lose(p)
	return fmt.Sprintf("pod %d is lost", p.n)
}

// moves has one thing change while all else is well, and judges what moves because of it.
func (w *placeWorld) moves(ctx context.Context, change func() string) error {
	before := w.places()
	w.moved = 0
	what := change()
	if err := w.settle(ctx, what); err != nil {
		return err
	}
	must := 0
	for i, now := range w.places() {
		for pod := range now {
			if !before[i][pod] {
				must++
			}
		}
	}
	if got := w.moved; float64(got) > placeExcess*float64(must)+1 {
		return fmt.Errorf("%s: %d pieces moved, and %d must", what, got, must)
	}
	return nil
}

// placeFlaps is how often a pod goes and comes back while all else is well.
const placeFlaps = 6

// flaps has one pod be out, and back as often, with no other trouble, and judges what moves because of it: what it holds, until it counts as one that comes and goes; then nothing.
func (w *placeWorld) flaps(ctx context.Context) error {
	p := w.pods[w.rng.IntN(len(w.pods))]
	if p.gone || w.entries[p.n].Drain || w.rest() <= placePodsMin-2 {
		return nil
	}
	holds := 0
	for _, here := range w.places() {
		if here[p.id] {
			holds++
		}
	}
	w.moved = 0
	for n := range placeFlaps {
		w.now += placeOut
		p.up, p.out, w.most = false, true, placement.Layout{}
		if err := w.work(ctx, "a pod flaps"); err != nil {
			return err
		}
		p.up, p.out, w.most = true, false, placement.Layout{}
		if n > 0 {
			p.backTo = w.now + 2*placeOut
		}
		if err := w.work(ctx, "a pod flaps"); err != nil {
			return err
		}
	}
	w.trace.say("%d: pod %d went and came back %d times: %d pieces moved, and it holds %d", w.now, p.n, placeFlaps, w.moved, holds)
	if float64(w.moved) > 2*placeExcess*float64(holds)+1 {
		return fmt.Errorf("pod %d went and came back %d times: %d pieces moved, and it holds %d", p.n, placeFlaps, w.moved, holds)
	}
	return w.settle(ctx, "a pod flapped")
}

// places is who has each chunk where it belongs when all is at rest: the pods of its set.
func (w *placeWorld) places() []map[ident.Pod]bool {
	out := make([]map[ident.Pod]bool, len(w.chunks))
	var left []placement.Entry
	for i, e := range w.entries {
		if !w.pods[i].gone {
			left = append(left, e)
		}
	}
	l := placement.NewLayout(left)
	for i, c := range w.chunks {
		out[i] = map[ident.Pod]bool{}
		for _, pod := range l.Set(c.group, w.pieces(c)) {
			out[i][pod] = true
		}
	}
	return out
}

// pieces is on how many pods a chunk is.
func (w *placeWorld) pieces(c *placeChunk) int {
	if p := c.want.ForBytes(c.bytes); p.Kind == placement.PolicyRS {
		return p.K + p.M
	}
	return c.want.ForBytes(c.bytes).Copies()
}

// settle ends all trouble but what is lost, and has pods work until nobody has anything left to do. What is there then must be safe, where it belongs and nowhere else.
func (w *placeWorld) settle(ctx context.Context, when string) error {
	w.land(true)
	w.now += 10 * placeOut
	for _, p := range w.pods {
		p.side, p.slow, p.others, p.up = 0, false, 0, !p.gone
		p.out, w.most = p.gone, placement.Layout{}
		for _, q := range w.pods {
			p.silent[q.n] = w.now
		}
	}
	if err := w.work(ctx, when); err != nil {
		return err
	}
	return w.settled(when)
}

// work has pods work until none has anything left to do.
func (w *placeWorld) work(ctx context.Context, when string) error {
	w.calm = true
	defer func() { w.calm = false }()
	for range placeRoundsMax {
		busy := false
		for _, p := range w.pods {
			if !p.up {
				continue
			}
			for i := range w.chunks {
				b, err := w.act(p, i)
				if err != nil {
					return fmt.Errorf("%s: %w", when, err)
				}
				busy = busy || b
			}
		}
		if !busy {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("%s: there is still something to do after %d rounds", when, placeRoundsMax)
}

func (w *placeWorld) settled(when string) error {
	var found problems
	places := w.places()
	for i, c := range w.chunks {
		if c.promised < 0 {
			continue // more was lost than it bears
		}
		if !w.bears(i, c.want.Losses()) {
			found.add("%s: chunk %d, which was safe, can't bear %d losses", when, i, c.want.Losses())
		}
		for _, p := range w.pods {
			if has := p.held[i].any(); has != places[i][p.id] {
				found.add("%s: chunk %d (%s, %d bytes): pod %d has it: %v; it should: %v; drained %v", when, i, c.want, c.bytes, p.n, has, places[i][p.id], w.entries[p.n].Drain)
			}
		}
	}
	return errors.Join(found.err(), w.shares(when), w.fits())
}

// balance judges the shares of pods in the layout of the end, over all groups.
func (w *placeWorld) balance() error {
	var found problems
	var left []placement.Entry
	sum := 0.0
	for i, e := range w.entries {
		if !w.pods[i].gone && !e.Drain {
			left = append(left, e)
			sum += float64(e.Weight)
		}
	}
	const copies = 3
	held := map[ident.Pod]int{}
	l := placement.NewLayout(left)
	for g := range placement.Group(placement.Groups) {
		for _, pod := range l.Set(g, copies) {
			held[pod]++
		}
	}
	for _, e := range left {
		want := copies * placement.Groups * float64(e.Weight) / sum
		if got := float64(held[e.Pod]); got < (1-placeBalance)*want || got > (1+placeBalance)*want {
			found.add("a pod of weight %d has %.0f groups, and its share are %.0f", e.Weight, got, want)
		}
	}
	return found.err()
}
