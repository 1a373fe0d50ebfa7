package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Peer is what Reconcile asks another pod.
type Peer interface {
	// Forks are the fork statements that it knows.
	Forks(ctx context.Context) ([][]byte, error)
	// Tips are the last commits that it has applied.
	Tips(ctx context.Context) ([]Tip, error)
	// Log is as DB.Log: commits that somebody who has seen have lacks.
	Log(ctx context.Context, have VV) ([][]byte, error)
}

// Reconcile compares what was applied here with what another pod has (I3). It must be called before the first exchange of commits with a pod after
// each start here or there, and when its commits were refused with ErrFork.
//
// It learns the forks that the other knows. If the other knows more of this pod's own commits, or others, this one was set back, or is a
// copy, and takes a new incarnation. Where the commits of an actor are others than there it finds the point at which they part, and takes in the fork: what both
// branches did stays. Commits that come with the answers are applied. Own commits that the other refuses, since they were made with a clock far ahead, are made
// anew (Restamp).
func (d *DB) Reconcile(ctx context.Context, p Peer) error {
	forks, err := p.Forks(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range forks {
		_, err := d.LearnFork(ctx, f)
		errs = append(errs, err)
	}
	tips, err := p.Tips(ctx)
	if err != nil {
		return err
	}
	if err := d.compareOwn(ctx, tips); err != nil {
		return err
	}
	if d.o.Sign != nil {
		if _, err := d.Restamp(ctx, tipVV(tips)); err != nil {
			errs = append(errs, err)
		}
	}
	suspects, err := d.suspects(tips)
	if err != nil {
		return err
	}
	for _, s := range suspects {
		if err := d.findFork(ctx, p, tips, s); err != nil {
			errs = append(errs, fmt.Errorf("state: commits of actor %s are others elsewhere: %w", s.Actor, err))
		}
	}
	return errors.Join(errs...)
}

// compareOwn takes a new incarnation if another pod knows more of the present one than is here.
func (d *DB) compareOwn(ctx context.Context, tips []Tip) error {
	if d.o.Sign == nil {
		return nil
	}
	d.commitMu.Lock()
	self := d.self
	seq := d.heads[self].seq // written while commitMu is held
	d.commitMu.Unlock()
	if tipOf(tips, self).Seq <= seq {
		return nil
	}
	d.slog.WarnContext(ctx, "another pod knows more of this one's changes than is here: it was set back, or is a copy, and goes on under a new incarnation", "actor", self.String())
	return d.Renew(ctx)
}

// CompareHead is what Reconcile does with what a head of this pod's own says, which was found elsewhere and whose signature the caller has verified: it takes a new
// incarnation, and says so, if the head knows commits of the present one that are not here, or another in the place of one that is. Sync: as Renew's.
func (d *DB) CompareHead(ctx context.Context, h *Head) (renewed bool, err error) {
	if d.o.Sign == nil {
		return false, nil
	}
	d.commitMu.Lock()
	self := d.self
	seq := d.heads[self].seq // written while commitMu is held
	d.commitMu.Unlock()
	other := h.VV[self] > seq
	if !other && h.Actor == self && h.Seq > 0 {
		d.opMu.Lock()
		digest, known, err := d.applied().digestAt(self, h.Seq)
		d.opMu.Unlock()
		if err != nil {
			return false, err
		}
		other = known && digest != h.CommitDigest
	}
	if !other {
		return false, nil
	}
	d.slog.WarnContext(ctx, "a head of this pod's own shows changes that are not here: it was set back, or is a copy, and goes on under a new incarnation", "actor", self.String(), "seq", h.VV[self], "here", seq)
	return true, d.Renew(ctx)
}

// suspects are commits that are here, and are not what another pod has at their places, as far as can be seen from its tips and from what was refused.
func (d *DB) suspects(tips []Tip) ([]Dot, error) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	have := d.applied()
	var out []Dot
	for _, tip := range tips {
		last := have.last(tip.Actor)
		if last == 0 || tip.Seq <= d.forks.floor(tip.Actor) {
			continue
		}
		if tip.Seq > last {
			if d.refused[d.forks.incarnation(tip.Actor)] {
				out = append(out, Dot{tip.Actor, last})
			}
			continue
		}
		digest, ok, err := have.digestAt(tip.Actor, tip.Seq)
		if err != nil {
			return nil, err
		}
		if ok && digest != tip.Digest {
			out = append(out, tip.Dot)
		}
	}
	clear(d.refused)
	return out, nil
}

// findFork asks for the other pod's commits of an actor from ever further back, until the first of them has its predecessor here.
func (d *DB) findFork(ctx context.Context, p Peer, tips []Tip, at Dot) error {
	for back := uint64(0); ; back = max(1, 2*back) {
		floor := d.floorOf(at.Actor)
		from := max(floor, at.Seq-min(back, at.Seq))
		given, err := d.tryFrom(ctx, p, tips, at, from)
		var parted *partedError
		other := errors.As(err, &parted) && parted.incarnation != d.incarnationOf(at.Actor)
		switch {
		case err == nil && given, other, errors.Is(err, ErrGap) && parted == nil:
			return nil // found, or they follow on what is here; what they rest on of others comes in its turn
		case err != nil && !errors.Is(err, ErrFork):
			return err
		case from == floor:
			return errors.Join(ErrFork, err)
		}
	}
}

// tryFrom applies the other pod's commits of an actor after a seq, page by page, until a fork is found, they go beyond the ones here, or one does not fit, which
// is the error. given: there were some.
func (d *DB) tryFrom(ctx context.Context, p Peer, tips []Tip, at Dot, seq uint64) (given bool, err error) {
	have := tipVV(tips) // of no other actor anything is wanted
	for before := d.forkCount(); ; given = true {
		have[at.Actor] = seq
		commits, err := p.Log(ctx, have)
		if err != nil || len(commits) == 0 {
			return given, err
		}
		if _, err := d.Apply(ctx, commits); err != nil || d.forkCount() > before {
			return true, err
		}
		h, err := HeaderOf(commits[len(commits)-1])
		if err != nil || h.Seq <= seq || h.Seq >= at.Seq {
			return true, err
		}
		seq = h.Seq
	}
}

func (d *DB) floorOf(a ident.Actor) uint64 {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	return d.forks.floor(a)
}

func (d *DB) incarnationOf(a ident.Actor) ident.Actor {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	return d.forks.incarnation(a)
}

func (d *DB) forkCount() int {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	return len(d.forks.points)
}
