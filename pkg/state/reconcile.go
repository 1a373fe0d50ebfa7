package state

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	// Digests is as DB.Digests: those of the commits of a label from one on.
	Digests(ctx context.Context, label ident.Actor, from uint64) ([]byte, error)
	// Now is the time of its clock.
	Now(ctx context.Context) (time.Time, error)
}

// Reconcile compares what was applied here with what another pod has (I3). It must be called before the first exchange of commits with a pod after
// each start here or there, and when its commits were refused with ErrFork.
//
// It learns the forks that the other knows. If the other knows more of this pod's own commits, or others, this one was set back, or is a
// copy, and takes a new incarnation. Where the commits of an actor are others than there it finds the point at which they part, and takes in the fork: what both
// branches did stays. If the logs don't reach back to there any more, only a pod of the author can say so: the others get an error, and hear of it from that one. Commits that
// come with the answers are applied. Own commits that the other refuses, since they were made with a clock far ahead, are made
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
	errs = append(errs, d.restampFor(ctx, p, tips))
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

// restampFor makes own commits anew that another pod refuses.
func (d *DB) restampFor(ctx context.Context, p Peer, tips []Tip) error {
	if !d.Ahead() {
		return nil
	}
	theirs, err := p.Now(ctx)
	if err != nil {
		return err
	}
	_, err = d.Restamp(ctx, tipVV(tips), theirs)
	return err
}

// compareOwn takes a new incarnation if another pod knows more of the present one than is here.
func (d *DB) compareOwn(ctx context.Context, tips []Tip) error {
	if d.signer() == nil {
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
	if d.signer() == nil {
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

// Disputed says whether somebody who has these tips has other commits of this pod than are here: then only this pod may be able to say where they part, and should
// Reconcile with that one.
func (d *DB) Disputed(tips []Tip) (bool, error) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	have := d.applied()
	for _, tip := range tips {
		if tip.Actor.Member != d.o.Actor.Member || tip.Seq > have.last(tip.Actor) || tip.Seq <= d.forks.floor(tip.Actor) {
			continue
		}
		digest, ok, err := have.digestAt(tip.Actor, tip.Seq)
		if err != nil || ok && digest != tip.Digest {
			return err == nil, err
		}
	}
	return false, nil
}

// findFork finds the commit behind which the other pod's commits of a label and those here part, and takes in the fork. at is one that is here and that the other
// pod has, or had, otherwise.
func (d *DB) findFork(ctx context.Context, p Peer, tips []Tip, at Dot) error {
	d.opMu.Lock()
	here := d.applied().last(at.Actor) >= at.Seq && d.forks.floor(at.Actor) < at.Seq
	d.opMu.Unlock()
	if !here {
		return nil // another fork that was found has given it another label
	}
	s, err := d.lastCommon(ctx, p, at)
	if err != nil || s == at.Seq {
		return err // they are the same up to there: what the commits rest on of others comes in its turn
	}
	have, before := tipVV(tips), d.forkCount() // of no other label anything is wanted
	have[at.Actor] = s
	commits, err := p.Log(ctx, have)
	if err == nil {
		_, err = d.Apply(ctx, commits)
	}
	var parted *partedError
	if errors.As(err, &parted) && parted.incarnation != d.incarnationOf(at.Actor) || d.forkCount() > before || ctx.Err() != nil {
		return ctx.Err() // it is found, or others come first
	}
	// The two headers are not there together any more: then it takes the author's word.
	if own, wordErr := d.giveWord(ctx, at.Actor, s); own || wordErr != nil {
		return wordErr
	}
	return errors.Join(fmt.Errorf("%w after %d, and only a pod of member %d can say so", ErrFork, s, at.Actor.Member), err)
}

// lastCommon is the last commit of a label up to one that is the same here and there, by the digests; that of the label before if there is none.
func (d *DB) lastCommon(ctx context.Context, p Peer, at Dot) (uint64, error) {
	low, high := d.floorOf(at.Actor), at.Seq+1 // the same up to low, another from high on
	for probe := at.Seq; high-low > 1; probe = low + (high-low)/2 {
		b, err := p.Digests(ctx, at.Actor, probe)
		if err != nil {
			return 0, err
		}
		if len(b) < digestLen {
			return 0, corrupt("digests", fmt.Errorf("%d bytes", len(b)))
		}
		d.opMu.Lock()
		digest, ok, err := d.applied().digestAt(at.Actor, probe)
		d.opMu.Unlock()
		switch {
		case err != nil:
			return 0, err
		case !ok:
			return 0, fmt.Errorf("state: digest of commit %d of actor %s: %w", probe, at.Actor, ErrGap)
		case string(digest[:]) == string(b[:digestLen]):
			low = probe
		default:
			high = probe
		}
	}
	return low, nil
}

// giveWord says, if the incarnation of a label is one of this pod, that it forked behind a commit of that label.
func (d *DB) giveWord(ctx context.Context, label ident.Actor, seq uint64) (own bool, err error) {
	if d.signer() == nil || label.Member != d.o.Actor.Member {
		return false, nil
	}
	d.opMu.Lock()
	p := forkPoint{actor: d.forks.incarnation(label), seq: seq}
	ok := true
	if seq > 0 {
		p.digest, ok, err = d.applied().digestAt(d.forks.at(label, seq), seq)
	}
	d.opMu.Unlock()
	if err == nil && !ok {
		err = ErrGap
	}
	if err == nil {
		_, err = d.LearnFork(ctx, newForkWord(d.o.Network, p, d.signer()).Encode())
	}
	return true, err
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
