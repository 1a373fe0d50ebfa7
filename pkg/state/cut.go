package state

import (
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// ErrRefused says that changes don't count: their author may not write, or may not any more, and nothing that counts rests on them.
var ErrRefused = errors.New("changes of a member that may not write")

// Cut says that a member's right to write has ended, and which of its commits count all the same: those that are named, what others rest on whose commits
// count, and all that comes before these (docs/adr/0014).
type Cut struct {
	Member uint32
	Last   []Dep
}

// cutError says which commit does not count.
type cutError struct {
	at   Dot
	last uint64 // the highest of its chain that counts
}

func (e *cutError) Error() string {
	return fmt.Sprintf("state: commit %d of actor %s is beyond %d, up to which its author's commits count: %v", e.at.Seq, e.at.Actor, e.last, ErrRefused)
}

func (e *cutError) Unwrap() error { return ErrRefused }

// reach is how far the commits of members count whose right to write has ended. It is computed anew when statements, forks or the last commits of labels change.
type reach struct {
	t     *branches
	ch    chains
	cuts  map[uint32][]Dep
	exact VV                // by label: commits up to these count
	loose VV                // by incarnation: a commit that counts, is not here, and may come to lie on any label of it
	wild  map[uint32]uint64 // by member: the same, where the name is of a branch of which nothing is here
}

// headerAt is the signed header of a label's commit; nil: it is not known.
type headerAt func(label ident.Actor, seq uint64) (*Header, error)

// newReach computes it from the last commits of labels and from headers of commits that are not applied.
func newReach(cuts map[uint32][]Dep, t *branches, ch chains, labels []ident.Actor, at headerAt, pending []*Header) (*reach, error) {
	r := &reach{t: t, ch: ch, cuts: cuts, exact: VV{}, loose: VV{}, wild: map[uint32]uint64{}}
	for _, named := range cuts {
		for _, d := range named {
			if _, err := r.name(d); err != nil {
				return nil, err
			}
		}
	}
	looked := map[Dot]bool{}
	for again := true; again; {
		again = false
		for _, a := range labels {
			d := Dot{a, ch.last(a)}
			if r.ended(a) {
				d.Seq = min(d.Seq, r.exact[a])
			}
			if d.Seq == 0 || looked[d] {
				continue
			}
			looked[d] = true
			h, err := at(a, d.Seq)
			if err != nil {
				return nil, err
			}
			more, err := r.rest(h)
			if err != nil {
				return nil, err
			}
			again = again || more
		}
		for _, h := range pending {
			if !r.sure(h) {
				continue
			}
			more, err := r.rest(h)
			if err != nil {
				return nil, err
			}
			again = again || more
		}
	}
	return r, nil
}

// ended says whether an actor's right to write has ended.
func (r *reach) ended(a ident.Actor) bool {
	if r == nil {
		return false
	}
	_, ended := r.cuts[a.Member]
	return ended
}

// rest counts what a commit that counts rests on; more says that it is news.
func (r *reach) rest(h *Header) (more bool, err error) {
	if h == nil {
		return false, nil
	}
	for _, d := range h.Deps {
		news, err := r.name(d)
		if err != nil {
			return false, err
		}
		more = more || news
	}
	return more, nil
}

// name counts a commit and what comes before it on its chain.
func (r *reach) name(d Dep) (news bool, err error) {
	if !r.ended(d.Actor) {
		return false, nil
	}
	label, err := r.t.holder(d.Actor, d.Seq, d.Digest[:], r.ch)
	if errors.Is(err, ErrGap) || errors.Is(err, ErrFork) {
		return r.hope(d.Dot), nil
	}
	if err != nil {
		return false, err
	}
	for seq := d.Seq; r.exact[label] < seq; {
		r.exact[label], news = seq, true
		b, ok := r.t.byName[label]
		if !ok {
			break
		}
		label, seq = b.parent, b.point.seq
	}
	return news, nil
}

// hope counts what may come as a commit that is not here.
func (r *reach) hope(d Dot) (news bool) {
	if _, known := r.t.byName[d.Actor]; d.Actor.IsBranch() && !known {
		news = r.wild[d.Actor.Member] < d.Seq
		r.wild[d.Actor.Member] = max(r.wild[d.Actor.Member], d.Seq)
		return news
	}
	incarnation := r.t.incarnation(d.Actor)
	news = r.loose[incarnation] < d.Seq
	r.loose[incarnation] = max(r.loose[incarnation], d.Seq)
	return news
}

// hoped is up to where commits of an incarnation may count that are not here.
func (r *reach) hoped(incarnation ident.Actor) uint64 {
	return max(r.loose[incarnation], r.wild[incarnation.Member])
}

// sure says whether a commit that was not applied counts.
func (r *reach) sure(h *Header) bool {
	if !r.ended(h.Actor) || h.Seq <= r.hoped(h.Actor) {
		return true
	}
	digest := h.Digest()
	label, err := r.t.holder(h.Actor, h.Seq, digest[:], r.ch)
	return err == nil && h.Seq <= r.exact[label]
}

// counts says whether a commit counts that comes next on a label, which may be new.
func (r *reach) counts(label, incarnation ident.Actor, seq uint64) bool {
	return !r.ended(label) || seq <= r.exact[label] || seq <= r.hoped(incarnation)
}

// upTo is how far what is there of a label counts, or what may come of it; not more than to.
func (r *reach) upTo(label ident.Actor, to uint64) uint64 {
	if !r.ended(label) {
		return to
	}
	limit := r.exact[label]
	if hoped := r.hopedOf(label); hoped > r.ch.last(label) {
		limit = max(limit, hoped)
	}
	return min(limit, to)
}

// hopedOf is hoped for a label. Whose branch one is of which no commit is here is not known.
func (r *reach) hopedOf(label ident.Actor) uint64 {
	if _, known := r.t.byName[label]; known || !label.IsBranch() {
		return r.hoped(r.t.incarnation(label))
	}
	seq := r.wild[label.Member]
	for a, s := range r.loose {
		if a.Member == label.Member {
			seq = max(seq, s)
		}
	}
	return seq
}

// raises says whether a commit rests on more than counts so far.
func (r *reach) raises(h *Header) bool {
	for _, d := range h.Deps {
		if !r.ended(d.Actor) {
			continue
		}
		if label, err := r.t.holder(d.Actor, d.Seq, d.Digest[:], r.ch); err != nil || d.Seq > r.exact[label] {
			return true
		}
	}
	return false
}
