package placement

import (
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// one plans a single copy: at its author, wherever else it is, or, if all who have it are drained, at the first of the set.
func (p *planner) one() {
	at := p.c.Author
	if h := p.holder(at); h == nil || !h.Whole || p.n.draining(at) {
		at = ident.Pod{}
		for i := range p.holders {
			if h := &p.holders[i]; h.Whole && !p.n.draining(h.Pod) && !p.extra(h.Pod) {
				at = h.Pod
				break
			}
		}
	}
	if at != (ident.Pod{}) {
		p.release(func(h *Holder, whole bool, _ Fragment) bool { return whole && h.Pod == at })
		return
	}
	at = p.c.Author
	if !p.n.Up(at) && p.n.pods[at] != Out {
		return // it will come back
	}
	if !p.n.Up(at) || p.n.draining(at) {
		set := p.n.live.Set(p.c.Group, 1)
		if len(set) == 0 {
			return
		}
		at = set[0]
	}
	p.wholeTo(at)
}

// replicas plans whole copies on the first pods of the set. final says that this is the form in which the chunk stays, so
// that what there is of others may be released.
func (p *planner) replicas(copies int, final bool) {
	for _, pod := range p.n.layoutFor(p.losses, p.c.New).Set(p.c.Group, copies) {
		p.wholeTo(pod)
	}
	set := p.n.full.Set(p.c.Group, copies)
	if !final || len(set) < copies {
		return
	}
	for _, pod := range set {
		if h := p.holder(pod); h == nil || !h.Whole {
			return
		}
	}
	p.release(func(h *Holder, whole bool, _ Fragment) bool { return whole && slices.Contains(set, h.Pod) })
}

// stripe plans fragments on the pods of the set, or, where these are too few, what fits.
func (p *planner) stripe(want Policy) {
	k, n := want.K, want.K+want.M
	s, at := p.choose(want)
	there := at.n >= k // it is a stripe, and stays one whoever goes down
	few := len(p.n.all.Set(p.c.Group, n)) <= k
	lay := p.n.layoutFor(p.losses, p.c.New)
	set := lay.Set(p.c.Group, n)
	// A minority cuts nothing: the fragments may be on the other side.
	cuts := p.c.New || p.n.sure
	if few || !there && (p.upOf(set) <= k || !cuts) {
		if few || cuts || p.whole > 0 {
			p.replicas(want.M+1, few)
		}
		return
	}
	if !there && p.source(FormDigest{}) == nil {
		// It is cut otherwise: somebody makes it whole, and then cuts it anew.
		if first := slices.IndexFunc(set, p.n.Up); first >= 0 {
			p.wholeTo(set[first])
		}
		return
	}
	// Those of the set come first, so that what is on them stays where it is.
	in := func(pod ident.Pod) bool { return slices.Contains(set, pod) }
	at = match(s, p.holders, in, nil)
	p.fill(s, set, at)
	p.releaseStripe(s, n)
}

func (p *planner) upOf(set []ident.Pod) (n int) {
	for _, pod := range set {
		if p.n.Up(pod) {
			n++
		}
	}
	return n
}

// choose finds the stripe that is to be completed: one that can be read, else one of a form that somebody has whole, else a
// new one. Of several the one of which most is there.
func (p *planner) choose(want Policy) (Stripe, matching) {
	var best matching
	readable, fits := false, false
	for _, s := range p.stripes() {
		if int(s.K) != want.K || int(s.M) != want.M {
			continue
		}
		m := match(s, p.holders, p.active, nil)
		canRead, hasForm := m.n >= want.K, p.source(s.Form) != nil && s.Form != (FormDigest{})
		better := m.n > best.n
		if canRead != readable {
			better = canRead
		} else if !canRead && hasForm != fits {
			better = hasForm
		}
		if better || best.stripe == (Stripe{}) {
			best, readable, fits = m, canRead, hasForm
		}
	}
	if whole := p.source(FormDigest{}); whole != nil && !readable && !fits {
		// The fragments that are there are too few, and nobody could make the rest of them.
		s := Stripe{Form: whole.Form, K: uint8(want.K), M: uint8(want.M)}
		return s, matching{stripe: s}
	}
	return best.stripe, best
}

// fill gives each pod of the set that stands for no fragment one that is missing.
func (p *planner) fill(s Stripe, set []ident.Pod, at matching) {
	encode := make(map[ident.Pod][]Target)
	var sources []ident.Pod
	for position, pod := range set {
		if !p.n.Up(pod) || p.stands(&at, pod) {
			continue
		}
		index, ok := freeIndex(&at, position)
		if !ok {
			break
		}
		at.by[index] = -1 // given away
		a := Action{Kind: Rebuild, To: pod, Stripe: s, Index: uint8(index)}
		f := Fragment{s, uint8(index)}
		if from := slices.IndexFunc(p.holders, func(h Holder) bool { return h.has(f) }); from >= 0 {
			a.Kind, a.From = CopyFragment, p.holders[from].Pod
		} else if from := p.source(s.Form); from != nil {
			if encode[from.Pod] == nil {
				sources = append(sources, from.Pod)
			}
			encode[from.Pod] = append(encode[from.Pod], Target{pod, uint8(index)})
			continue
		} else if p.readable(s) < int(s.K) {
			continue
		}
		p.do(a)
	}
	for _, from := range sources {
		p.do(Action{Kind: Encode, From: from, Stripe: s, Targets: encode[from]})
	}
}

// readable is how many fragments of a stripe there are, wherever.
func (p *planner) readable(s Stripe) int {
	var have [FragmentsMax]bool
	n := 0
	for _, h := range p.holders {
		for _, f := range h.Fragments {
			if f.Stripe == s && int(f.Index) < FragmentsMax && !have[f.Index] {
				have[f.Index] = true
				n++
			}
		}
	}
	return n
}

// stands says whether a pod stands for a fragment in a matching.
func (p *planner) stands(at *matching, pod ident.Pod) bool {
	for i := range p.holders {
		if p.holders[i].Pod == pod {
			return at.of(i) >= 0
		}
	}
	return false
}

// freeIndex is a fragment for which nobody stands: that of the position in the set, or the first.
func freeIndex(at *matching, position int) (int, bool) {
	n := int(at.stripe.K) + int(at.stripe.M)
	if position < n && at.by[position] == 0 {
		return position, true
	}
	for i := range n {
		if at.by[i] == 0 {
			return i, true
		}
	}
	return 0, false
}

// releaseStripe releases all but the fragments of a stripe that stand on the set, once all are there. What fits on fewer pods replaces nothing: it bears
// less than is promised, and others may be about to give up what bears the rest.
func (p *planner) releaseStripe(s Stripe, n int) {
	set := p.n.full.Set(p.c.Group, n)
	in := func(pod ident.Pod) bool { return slices.Contains(set, pod) }
	m := match(s, p.holders, in, nil)
	if m.n < n {
		return
	}
	p.release(func(h *Holder, whole bool, f Fragment) bool {
		if whole || f.Stripe != s {
			return false
		}
		owner := m.by[f.Index]
		return owner > 0 && p.holders[owner-1].Pod == h.Pod
	})
}
