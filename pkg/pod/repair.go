package pod

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// repairLook is how often WatchRepair tells.
const repairLook = 500 * time.Millisecond

// RepairState tells how far the pod is with making again what was lost.
type RepairState struct {
	Active      bool  // a round is at it
	Looked      int64 // bytes of files that this round looked at
	Of          int64 // bytes of all files, as the round before counted them; 0: not known yet
	Due         int64 // bytes that the round found this pod has to copy or make again
	Done        int64 // of them, those that are there
	Endangered  int64 // bytes that can't bear the loss of one more pod although their policy wants that
	Unsafe      int64 // bytes below their policy although there are pods enough, as the last round found
	Unavailable int64 // bytes that no pod which is up has
	Damaged     int   // blocks and fragments of this pod that were found damaged, and of which no good copy could be had yet
	Moved       int64 // bytes that went for repair since the start
	Began       time.Time
	Left        time.Duration // until it is done, as it goes now; negative: not known
	Ended       uint64        // rounds that ended since the start
}

// repairing is what RepairState tells, as it goes.
type repairing struct {
	mu       sync.Mutex // guards the fields below
	now      RepairState
	last     RepairState // when the last round ended
	reported bool        // of the round under way it was told that there is something to repair
}

func (r *repairing) begin(now time.Time, of int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = RepairState{Active: true, Began: now, Of: of, Ended: r.now.Ended}
	r.reported = false
}

// touches says whether this pod takes a part in an action.
func touches(a placement.Action, self ident.Pod) bool {
	return a.Kind != placement.Release && (a.From == self || a.To == self)
}

// planned notes what a round found of a block, before it does anything about it.
func (r *round) planned(c *placing) {
	s := &r.p.repair
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Looked += c.size
	if c.plan.Safety.State != placement.StateSafe && c.plan.Losses <= 0 && c.policy.Losses() > 0 {
		s.now.Endangered += c.size
	}
	if c.plan.Safety.State == placement.StateSafe {
		return // what goes to a better place is no repair
	}
	for _, a := range c.plan.Actions {
		if touches(a, r.p.id) {
			c.due = true
		}
	}
	if !c.due {
		return
	}
	s.now.Due += c.size
	if !s.reported {
		s.reported = true
		r.p.event(Event{Kind: EventRepairBegan, Text: "copies that are missing are made again, what can bear no loss first"})
	}
}

// carriedOut notes what became of a block.
func (r *round) carriedOut(c *placing) {
	if !c.due || c.adds() > 0 {
		return
	}
	c.due = false
	s := &r.p.repair
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Done += c.size
	if c.policy.Losses() > 0 && c.plan.Losses > 0 {
		s.now.Endangered = max(0, s.now.Endangered-c.size)
	}
}

// repairEnded notes the end of a round.
func (p *Pod) repairEnded() {
	s := &p.repair
	s.mu.Lock()
	s.now.Active = false
	s.now.Ended++
	s.last = s.now
	reported, n := s.reported, s.now
	s.mu.Unlock()
	if reported {
		p.event(Event{Kind: EventRepairEnded, Text: fmt.Sprintf("%d of %d bytes are copied or made again", n.Done, n.Due)})
	}
}

// Repair tells how far the pod is with making again what was lost.
func (p *Pod) Repair(context.Context) (RepairState, error) {
	unsafe, bytes := p.spread.counted()
	s := &p.repair
	s.mu.Lock()
	out, last := s.now, s.last
	s.mu.Unlock()
	out.Unsafe, out.Unavailable = unsafe, bytes[placement.StateUnavailable]
	out.Damaged = len(p.damaged.list()) + len(p.damaged.listFragments())
	out.Moved = p.pace.Moved(pace.Repair)
	out.Left = timeLeft(out, last, clock.Since(p.clock, out.Began))
	return out, nil
}

// timeLeft is how long a round goes on, after so long. What it has not looked at is as what it did, or as the round before left it.
func timeLeft(now, last RepairState, since time.Duration) time.Duration {
	due := float64(now.Due)
	switch {
	case !now.Active:
		return 0
	case now.Of > 0 && now.Looked > 0:
		due *= max(1, float64(now.Of)/float64(now.Looked))
	}
	due = max(due, float64(last.Due-last.Done))
	if left := due - float64(now.Done); left > 0 && now.Done > 0 {
		return time.Duration(float64(since) * left / float64(now.Done))
	} else if left > 0 {
		return -1
	}
	return 0
}

// RepairNow has this pod and all that are connected look at all contents at once, and make again what is missing.
func (p *Pod) RepairNow(ctx context.Context) error {
	p.mendDamaged(ctx)
	p.tellAll(p2p.KindPlace, nil)
	p.spread.mu.Lock()
	p.spread.wanted = true
	p.spread.mu.Unlock()
	p.spread.fresh()
	return ctx.Err()
}

// WatchRepair tells f how far the repair is, until a round that begins after the call has found that nothing is left which can be done, and
// returns what it found. Errors: f's, the context's.
func (p *Pod) WatchRepair(ctx context.Context, f func(RepairState) error) (RepairState, error) {
	first, err := p.Repair(ctx)
	if err != nil {
		return first, err
	}
	need := first.Ended + 1
	if first.Active {
		need++ // the one under way may have passed what is lost now
	}
	if err := p.RepairNow(ctx); err != nil {
		return first, err
	}
	for {
		now, err := p.Repair(ctx)
		if err == nil {
			err = f(now)
		}
		if err != nil {
			return now, err
		}
		if !now.Active && now.Ended >= need {
			if now.Unsafe == 0 || now.Done == 0 { // the last round could do nothing more
				return now, nil
			}
			need = now.Ended + 1
			if err := p.RepairNow(ctx); err != nil {
				return now, err
			}
		}
		if err := clock.Sleep(ctx, p.clock, repairLook); err != nil {
			return now, err
		}
	}
}
