package state

import (
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// chains is what is known of the commits that were applied.
type chains interface {
	// last is the seq of the newest commit of a label; 0: none.
	last(label ident.Actor) uint64
	// digestAt is the digest of a commit of a label's own piece; ok: it is known.
	digestAt(label ident.Actor, seq uint64) (digest [32]byte, ok bool, err error)
}

// reading is how a commit is to be read under the fork points that are known.
type reading struct {
	label  ident.Actor // whose commit it is
	parent ident.Actor // the label of the commit before it; that of its actor if there is none
	known  bool        // it was applied
	m      mapped      // reads what its rows name
}

// begins says whether the commit begins a branch.
func (r *reading) begins() bool { return r.label != r.parent }

// identity says whether its rows are read as they are.
func (r *reading) identity() bool { return len(r.m.tips) == 0 && !r.label.IsBranch() }

// row reads a row.
func (r *reading) row(row Row) Row {
	row.Observed = r.m.dots(row.Observed)
	if row.inode != nil {
		row.Value = AppendInode(nil, r.m.brings(row.inode, r.label))
	}
	return row
}

// past is what its author had seen before it.
func (r *reading) past(h *Header) VV {
	if len(r.m.tips) == 0 {
		return h.Past()
	}
	return r.m.vv(h.Past())
}

// forkedError says that a commit and one that was applied have one commit before them.
type forkedError struct {
	held Dot     // the one that was applied
	h    *Header // the other
}

func (e *forkedError) Error() string {
	return fmt.Sprintf("state: commit %d of actor %s is another than is here", e.h.Seq, e.held.Actor)
}

func (e *forkedError) Unwrap() error { return ErrFork }

// read says how a commit is to be read. Errors: ErrGap (one on which it rests was not applied), *forkedError; ErrFork: it rests on
// commits that are others than those here, and from where on is not known.
func (t *branches) read(h *Header, ch chains) (r reading, err error) {
	r = reading{label: h.Actor, parent: h.Actor, m: mapped{t: t}}
	if h.Seq > 1 {
		if r.parent, err = t.holder(h.Actor, h.Seq-1, h.Prev[:], ch); err != nil {
			return r, fmt.Errorf("state: commit %d of actor %s: the one before: %w", h.Seq, h.Actor, err)
		}
	}
	r.label = r.parent
	if t.points[pointBefore(h)] {
		r.label = ident.BranchOf(h.Actor.Member, h.Digest())
		if b, ok := t.byName[r.label]; ok && b.first != h.Digest() {
			return r, fmt.Errorf("state: commits %x and %x of actor %s have one label: %w", b.first, h.Digest(), h.Actor, ErrFork)
		}
	}
	if h.Seq <= ch.last(r.label) {
		digest, ok, err := ch.digestAt(r.label, h.Seq)
		switch {
		case err != nil:
			return r, err
		case ok && digest != h.Digest():
			return r, &forkedError{held: Dot{r.label, h.Seq}, h: h}
		}
		r.known = true
		return r, nil
	}
	if skip := SkipSeq(h.Seq); skip > 0 {
		digest, ok, err := ch.digestAt(t.at(r.parent, skip), skip)
		if err != nil {
			return r, err
		}
		if ok && digest != h.Skip {
			return r, fmt.Errorf("state: commit %d of actor %s rests on another commit %d: %w", h.Seq, h.Actor, skip, ErrFork)
		}
	}
	return r, r.pointAll(h, ch)
}

// reread says how a commit that was applied is to be read.
func (t *branches) reread(label ident.Actor, h *Header, ch chains) (reading, error) {
	r := reading{label: label, parent: h.Actor, known: true, m: mapped{t: t}}
	if h.Seq > 1 {
		r.parent = t.at(label, h.Seq-1)
	}
	if len(t.byName) == 0 {
		return r, nil
	}
	return r, r.pointAll(h, ch)
}

// pointAll finds the chains that a commit rests on.
func (r *reading) pointAll(h *Header, ch chains) error {
	r.point(h.Actor, r.parent)
	for _, dep := range h.Deps {
		tip, err := r.m.t.holder(dep.Actor, dep.Seq, dep.Digest[:], ch)
		if err != nil {
			return fmt.Errorf("state: commit %d of actor %s rests on %d of actor %s: %w", h.Seq, h.Actor, dep.Seq, dep.Actor, err)
		}
		r.point(dep.Actor, tip)
	}
	return nil
}

func (r *reading) point(actor, tip ident.Actor) {
	if actor == tip {
		return
	}
	if r.m.tips == nil {
		r.m.tips = map[ident.Actor]ident.Actor{}
	}
	r.m.tips[actor] = tip
}

// holder is the label of the commit with a seq, and a digest that begins so, among those that an actor's name may mean. Errors: ErrGap, ErrFork.
func (t *branches) holder(actor ident.Actor, seq uint64, digest []byte, ch chains) (ident.Actor, error) {
	missing := true
	incarnation := t.incarnation(actor)
	for i := -1; i < len(t.names[incarnation]); i++ {
		label := incarnation
		if i >= 0 {
			label = t.names[incarnation][i]
		}
		if seq <= t.floor(label) || seq > ch.last(label) {
			continue
		}
		have, ok, err := ch.digestAt(label, seq)
		if err != nil {
			return actor, err
		}
		if ok && string(have[:len(digest)]) == string(digest) {
			return label, nil
		}
		missing = missing && !ok
	}
	if missing {
		return actor, ErrGap
	}
	return actor, &partedError{incarnation}
}

// partedError says that the commits of an incarnation that are here and others parted at a point that is not known.
type partedError struct{ incarnation ident.Actor }

func (e *partedError) Error() string { return fmt.Sprintf("actor %s: %v", e.incarnation, ErrFork) }

func (e *partedError) Unwrap() error { return ErrFork }

// split is what a fork point that becomes known does to the commits that are here: those of a label behind it get another.
type split struct {
	from, to ident.Actor
	seq      uint64 // the last that keeps its label
}

// learn adds a fork point; s is nil if no commit that is here lies behind it. Error: ErrGap (a digest that is needed is not known).
func (t *branches) learn(p forkPoint, ch chains) (next *branches, s *split, err error) {
	next = t.clone()
	next.points[p] = true
	from := p.actor
	if p.seq > 0 {
		if from, err = t.holder(p.actor, p.seq, p.digest[:], ch); err != nil {
			return next, nil, nil //nolint:nilerr // none of the branches is here
		}
	}
	if ch.last(from) <= p.seq {
		return next, nil, nil
	}
	first, ok, err := ch.digestAt(from, p.seq+1)
	if err == nil && !ok {
		err = ErrGap
	}
	if err != nil {
		return nil, nil, fmt.Errorf("state: commit %d of actor %s: %w", p.seq+1, from, err)
	}
	s = &split{from: from, to: ident.BranchOf(p.actor.Member, first), seq: p.seq}
	if b, ok := t.byName[s.to]; ok {
		return nil, nil, fmt.Errorf("state: commits %x and %x of actor %s have one label: %w", b.first, first, p.actor, ErrFork)
	}
	for name, b := range t.byName {
		if b.parent == from && b.point.seq > p.seq {
			b.parent = s.to
			next.set(name, b)
		}
	}
	next.set(s.to, branch{point: p, parent: from, first: first})
	return next, s, nil
}

// enter adds the branch that a commit begins.
func (t *branches) enter(h *Header, r *reading) *branches {
	next := t.clone()
	next.set(r.label, branch{point: pointBefore(h), parent: r.parent, first: h.Digest()})
	return next
}

// mapped is how names that were given before the split are read.
func (s *split) mapped(next *branches) mapped {
	return mapped{t: next, tips: map[ident.Actor]ident.Actor{s.from: s.to}}
}
