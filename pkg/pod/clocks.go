package pod

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	clockOffMax  = 60 * time.Second // then the pod's clock counts as wrong (DESIGN section 5)
	clockEvery   = 10 * time.Minute // between comparisons with the connected pods; one that comes is compared with at once
	clockLook    = 2 * time.Second  // between looks whether the clock was set
	clockTimeout = 10 * time.Second
)

// stampClock is the time of what is stamped: the machine's, put right by what most connected pods say if that is far off. Timers are the machine's.
type stampClock struct {
	clock.Clock

	ahead atomic.Int64 // ns that are added
}

// Now is clock.Clock's.
func (c *stampClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.ahead.Load())) }

// clocks is how far the connected pods' clocks are ahead of this machine's.
type clocks struct {
	mu    sync.Mutex                  // guards the fields below
	ahead map[ident.Pod]time.Duration // of this one
	off   time.Duration               // the median of them, where this clock counts as wrong; 0: it doesn't
}

// answerClock is the machine's time, in ns since 1970: never the corrected one, lest pods chase each other.
func (p *Pod) answerClock() []byte { return cbor.AppendInt(nil, p.clock.Now().UnixNano()) }

// compareClock asks a pod for its time. What is half of the way there and back is an error of at most a few seconds.
func (p *Pod) compareClock(ctx context.Context, pod ident.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, clockTimeout)
	defer cancel()
	begin := p.clock.Now()
	answer, err := p.net.Ask(ctx, pod, p2p.KindClock, nil)
	if err != nil {
		return err
	}
	end := p.clock.Now()
	theirs, err := p.readClock(pod, answer)
	if err != nil {
		return err
	}
	middle := begin.Add(end.Sub(begin) / 2)
	p.clocks.mu.Lock()
	if p.clocks.ahead == nil {
		p.clocks.ahead = make(map[ident.Pod]time.Duration)
	}
	p.clocks.ahead[pod] = theirs.Sub(middle)
	p.clocks.mu.Unlock()
	p.judgeClock(ctx)
	return nil
}

// readClock reads what answerClock says.
func (p *Pod) readClock(pod ident.Pod, answer []byte) (time.Time, error) {
	at, err := decodeClock(answer)
	if err != nil {
		return at, fmt.Errorf("pod: the time of %s: %w", p.reg.name(pod), err)
	}
	return at, nil
}

func decodeClock(answer []byte) (time.Time, error) {
	r := cbor.NewReader(answer)
	ns := r.Int()
	return time.Unix(0, ns), r.Done()
}

// judgeClock compares this clock with those of the pods that are connected.
func (p *Pod) judgeClock(ctx context.Context) {
	p.clocks.mu.Lock()
	var others []time.Duration
	for pod, d := range p.clocks.ahead {
		if p.net.Connected(pod) {
			others = append(others, d)
		} else {
			delete(p.clocks.ahead, pod)
		}
	}
	off, ahead := judgeClocks(others)
	was := p.clocks.off
	p.clocks.off = off
	p.clocks.mu.Unlock()
	p.stamps.ahead.Store(int64(ahead))
	switch {
	case off != 0 && was == 0:
		p.log.WarnContext(ctx, "this machine's clock is not that of the other pods", "off", -off, "stamps_put_right_by", ahead, "pods", len(others))
	case off == 0 && was != 0:
		p.log.InfoContext(ctx, "this machine's clock is that of the other pods again")
	}
}

// judgeClocks says, given how far other clocks are ahead of this one, by how much this one counts as wrong, and what is to be added to it for stamps. It counts as wrong if the median of the
// others is far away; it is put right only if so are most of all, itself included: of two that differ nobody knows which is right, and both would go wrong if each
// believed the other.
func judgeClocks(others []time.Duration) (off, ahead time.Duration) {
	if m := medianNear(others); m.Abs() > clockOffMax {
		off = m
	}
	if m := medianNear(append(slices.Clone(others), 0)); m.Abs() > clockOffMax {
		ahead = m
	}
	return off, ahead
}

// medianNear is the median, of the two in the middle the one that is nearer to zero; zero of none.
func medianNear(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	low, high := list[(len(list)-1)/2], list[len(list)/2]
	if low.Abs() < high.Abs() {
		return low
	}
	return high
}

// clockOff is by how much this machine's clock counts as wrong; 0: it doesn't.
func (p *Pod) clockOff() time.Duration {
	p.clocks.mu.Lock()
	defer p.clocks.mu.Unlock()
	return p.clocks.off
}

// surelyNow is the earliest of what the time may be: the machine's, and what connected pods say where that is far off. What is old by a clock that is years ahead for a
// moment must not be deleted.
func (p *Pod) surelyNow() time.Time {
	return p.clock.Now().Add(min(0, p.clockOff(), time.Duration(p.stamps.ahead.Load())))
}

// runClocks compares clocks now and then, since they drift, and as soon as this one was set.
func (p *Pod) runClocks(ctx context.Context) error {
	for look := 1; ; look++ {
		before := p.clock.Now().Round(0) // what the machine shows, not what has passed
		if err := clock.Sleep(ctx, p.clock, clockLook); err != nil {
			return err
		}
		set := p.clock.Now().Round(0).Sub(before) - clockLook
		switch {
		case set.Abs() > clockOffMax:
			p.log.InfoContext(ctx, "this machine's clock was set, or slept", "by", set)
			p.clocks.wasSet(set)
		case look%int(clockEvery/clockLook) != 0:
			continue
		}
		p.compareClocks(ctx)
	}
}

// wasSet takes account of a machine's clock that somebody set ahead: the others' are less ahead of it by as much.
func (c *clocks) wasSet(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for pod := range c.ahead {
		c.ahead[pod] -= by
	}
}

// compareClocks compares this clock with those of all connected pods. What was stamped by a wrong one they refuse: they are met again, so that it is made anew.
func (p *Pod) compareClocks(ctx context.Context) {
	p.judgeClock(ctx) // without those that are gone
	pods := p.connected()
	for _, pod := range pods {
		if err := p.compareClock(ctx, pod); err != nil {
			p.log.DebugContext(ctx, "a pod did not tell its time", "pod", p.reg.name(pod), "err", err)
		}
	}
	if p.db.Ahead() {
		for _, pod := range pods {
			p.pulls.connected(pod)
		}
	}
}
