package pod

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

const (
	spreadBatch  = 512              // contents looked at together
	spreadEvery  = 60 * time.Second // between rounds over all contents
	spreadSettle = 2 * time.Second  // after the members or connections changed, before all is looked at
	spreadRest   = 4                // times as long as a round took, before one that another pod asks for
	putTimeout   = 10 * time.Minute
)

// spreader sees to it that blocks are where their policies want them. What this pod wrote it sends at once;
// and from time to time it looks at all contents, sends what others should hold and don't, and
// fetches what it should hold itself.
type spreader struct {
	p    *Pod
	kick chan struct{} // capacity 1
	now  atomic.Bool   // a user asked for space: what is surplus need not wait for Options.LowerAfter

	mu     sync.Mutex // guards the fields below
	all    bool       // members or connections changed: look at everything
	wanted bool       // another pod asks to look at everything
	cursor uint64     // contents up to here were looked at when they were new
	unsafe int64      // bytes below their policy although there are pods enough, as the last round over everything found
	bytes  stateBytes // all bytes, as that found
	safe   time.Time  // when the last round began that found everything where it should be

	left map[block.ID]time.Time // what others are to send here, as the last round over everything found, and since when it is waited for

	looked uint64 // version of this pod's layout entry when the last round over everything began; 0: none has ended
	needed int64  // bytes of blocks that this pod held in the end of it, and may not give up
	stuck  bool   // some of them can't be brought elsewhere

	calm calm // as the last round over everything left it

	nets    nets           // the last that were made
	classes map[string]int // blocks of each class that the last round saw; see round

	// Of run's goroutine alone.
	putsSeen  uint64    // Pod.puts when busy was asked last
	busySince time.Time // when busy first said so; zero: it did not
	restUntil time.Time // before that nobody else has a round begin
	told      bool      // something happened since the last round over everything began
}

func newSpreader(p *Pod) *spreader { return &spreader{p: p, kick: make(chan struct{}, 1), all: true} }

// fresh says that there may be new contents.
func (s *spreader) fresh() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// poke says that members, the layout or connections changed.
func (s *spreader) poke() {
	s.mu.Lock()
	s.all = true
	s.mu.Unlock()
	s.fresh()
}

// asked says that another pod waits for what is this one's to do. Many such messages have no more than a part of this pod's time.
func (s *spreader) asked() {
	s.mu.Lock()
	s.wanted = true
	s.mu.Unlock()
	s.fresh()
}

func (s *spreader) run(ctx context.Context) error {
	next := s.p.clock.Now().Add(spreadSettle)
	for {
		wait := max(next.Sub(s.p.clock.Now()), 0)
		timer := s.p.clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-s.kick:
			timer.Stop()
			if err := s.newContents(ctx); err != nil && ctx.Err() == nil {
				s.p.log.WarnContext(ctx, "new contents are not where they should be yet", "err", err)
			}
			if soon := s.due(); !soon.IsZero() {
				s.told = true
				if soon.Before(next) {
					next = soon
				}
			}
		case <-timer.C:
			if s.busy() {
				next = s.p.clock.Now().Add(spreadSettle)
				continue
			}
			begin := s.p.clock.Now()
			next = begin.Add(spreadEvery)
			if !s.told && s.isCalm(begin) {
				continue
			}
			s.told = false
			if err := s.everything(ctx); err != nil && ctx.Err() == nil {
				s.p.log.WarnContext(ctx, "not all contents are where they should be", "err", err)
			}
			end := s.p.clock.Now()
			s.restUntil = end.Add(spreadRest * end.Sub(begin))
			if soon := later(end.Add(spreadSettle), s.restUntil); s.leaving() && soon.Before(next) {
				next = soon // who empties a pod waits for it
			}
		}
	}
}

// due is when a round over everything is to begin because of what happened since the last call; zero: nothing did.
func (s *spreader) due() (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.p.clock.Now()
	switch {
	case s.all:
		at = now.Add(spreadSettle)
	case s.wanted:
		at = now
		if s.restUntil.After(now) {
			at = s.restUntil
		}
	}
	s.all, s.wanted = false, false
	return at
}

// leaving says whether this pod is being drained, and others still need what it has and can take it.
func (s *spreader) leaving() bool {
	entry, _ := s.p.reg.entry(s.p.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return entry.Drain && s.looked == entry.Version && s.needed > 0 && !s.stuck
}

// busy says whether files were put since the last call, or this pod catches up with others: a round over everything would take the processor from
// that, and miss what comes last. It says so for spreadEvery at most, then a round is due.
func (s *spreader) busy() bool {
	now, puts := s.p.clock.Now(), s.p.puts.Load()
	if puts == s.putsSeen && s.p.pulls.idle() || (!s.busySince.IsZero() && now.Sub(s.busySince) >= spreadEvery) {
		s.putsSeen, s.busySince = puts, time.Time{}
		return false
	}
	if s.putsSeen = puts; s.busySince.IsZero() {
		s.busySince = now
	}
	return true
}

// newContents sends what this pod wrote since the last call. While no pod is connected there is nobody to send it to;
// the next one that connects has everything looked at.
func (s *spreader) newContents(ctx context.Context) error {
	for {
		if len(s.p.connected()) == 0 || s.p.blind() {
			return nil
		}
		nodes, next, err := s.p.db.Contents(s.cursor, spreadBatch)
		if err != nil || next == s.cursor {
			return err
		}
		var mine []state.Node
		for _, n := range nodes {
			if n.Content.Dot.Actor == s.p.db.Actor() {
				mine = append(mine, n)
			}
		}
		if _, err := s.p.place(ctx, mine, placeOptions{isNew: true}); err != nil {
			// A later round over everything sends what is missing.
			s.p.log.WarnContext(ctx, "new contents were not sent to all pods that should hold them", "err", err)
			s.poke()
		}
		s.cursor = next
	}
}

// everything looks at all contents.
func (s *spreader) everything(ctx context.Context) error {
	if s.p.blind() { // which contents there are, is not known here
		return nil
	}
	begin, facts := s.p.clock.Now(), s.p.placeFacts()
	s.mu.Lock()
	s.calm = calm{}
	s.mu.Unlock()
	s.p.repair.begin(begin, s.allBytes())
	defer s.p.repairEnded()
	entry, _ := s.p.reg.entry(s.p.id)
	if lay := s.p.reg.layout(); lay.Len() == 1 && lay.Entries()[0].Pod == s.p.id && len(s.p.connected()) == 0 && s.p.store.Usage().CachedBytes == 0 {
		if err := s.alone(begin, entry.Version); err != nil {
			return err
		}
		return nil // nobody else should hold anything, and nobody is there from whom to fetch what is damaged here
	}
	r := s.newRound()
	var total placed
	var errs []error
	var batch []state.Node
	flush := func() error {
		got, err := s.p.place(ctx, batch, placeOptions{pull: true, round: r})
		total.add(got)
		batch = batch[:0]
		errs = append(errs, err)
		return ctx.Err()
	}
	err := s.p.db.EachContent(ctx, func(n state.Node) error {
		if batch = append(batch, n); len(batch) >= spreadBatch {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	got, lateErr := r.finish(ctx)
	total.add(got)
	errs = append(errs, lateErr)
	s.mu.Lock()
	s.left = r.left
	s.mu.Unlock()
	s.found(begin, total, errors.Join(append(errs, err)...))
	if err == nil {
		r.keepLast()
	}
	if err == nil && entry.Drain {
		err = s.p.placeSnapshots(ctx, r) // what only snapshots have must go, too
		if err == nil {
			_, err = r.finish(ctx)
		}
	}
	// A pod that can't be asked, or does not take what it should, counts as having nothing: that is in no one's way.
	if err == nil && !r.incomplete {
		if err = r.trim(ctx); err == nil {
			after := s.p.calmAfter(facts, total, r, s.p.clock.Now().Sub(begin))
			s.mu.Lock()
			s.looked, s.needed, s.stuck = entry.Version, r.needed, total.missing == 0 && len(r.surplus) == 0
			s.calm = after
			s.mu.Unlock()
		}
	}
	return errors.Join(append(errs, err)...)
}

// alone notes what there is to know where no other pod is: all is here, whatever the policy asks for.
func (s *spreader) alone(begin time.Time, version uint64) error {
	root, err := s.p.wantsOf([]state.Node{{Attr: vfs.Attr{ID: vfs.RootID}}})
	if err != nil {
		return err
	}
	owned := s.p.store.Usage().OwnedBytes
	var got placed
	if got.bytes[placement.StateSafe] = owned; root[0].policy.Losses() > 0 {
		got.bytes[placement.StateSafe], got.bytes[placement.StateDegraded] = 0, owned
	}
	s.found(begin, got, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked, s.needed, s.stuck = version, owned, true
	return nil
}

// found notes what a round over everything found.
func (s *spreader) found(begin time.Time, total placed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsafe, s.bytes = total.unsafe, total.bytes
	if err == nil && total.missing == 0 && total.bytes[placement.StateUnavailable] == 0 {
		s.safe = begin
	}
}

// count notes how safe all bytes are, as another look at everything than a round's found it.
func (s *spreader) count(total placed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsafe, s.bytes = total.unsafe, total.bytes
}

// safeSince is a moment after which everything was once where it should be: whatever was replaced before it need not be kept for the case that
// what replaced it is lost.
func (s *spreader) safeSince() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.safe
}

// allBytes are the bytes of all contents, as the last round over everything found them.
func (s *spreader) allBytes() (all int64) {
	_, bytes := s.counted()
	for _, n := range bytes {
		all += n
	}
	return all
}

// counted are the bytes below their policy although there are pods enough, and all bytes by state, as the last round over
// everything found them.
func (s *spreader) counted() (unsafe int64, bytes stateBytes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsafe, s.bytes
}
