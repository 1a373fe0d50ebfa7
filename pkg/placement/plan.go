package placement

import (
	"bytes"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Chunk is what the planner knows of one chunk. Holders are those that answered; each pod at most once, in any order.
type Chunk struct {
	Group     Group
	FormBytes int64  // of its stored form; decides on whether it is cut, see Policy.ForBytes
	Want      Policy // resolved, see Want; the zero value is as PolicyNone
	Author    ident.Pod
	Self      ident.Pod   // who asks: StateLocal is said of what it alone holds
	Keep      []ident.Pod // homes and pins: whole copies on top of the policy's, never counted in it
	Holders   []Holder
	New       bool // never placed yet: pods that are down are passed over
	Sends     bool // Self sends what it has, rather than others that have it too; else all plan the same source, so that it goes once
	Lower     bool // the policy asked for no more than this for long enough (24 h): what is surplus may be released
}

// ActionKind is what is to be done.
type ActionKind uint8

// The kinds of actions.
const (
	CopyWhole    ActionKind = iota + 1 // From sends To its whole copy; where both are one pod, its cached copy becomes its own
	JoinWhole                          // To makes a whole copy out of fragments of Stripe
	CopyFragment                       // From sends To fragment Index of Stripe
	Encode                             // From cuts its whole copy as Stripe says and sends each of Targets its fragment
	Rebuild                            // To makes fragment Index out of K others of Stripe, and proves the chunk before (I7)
	Release                            // To gives up its whole copy (Stripe is zero) or fragment Index of Stripe: it may go
)

// Action is one thing to be done. All but Release only add; each may fail, or be done twice, without harm.
type Action struct {
	Kind    ActionKind
	From    ident.Pod // CopyWhole, CopyFragment, Encode
	To      ident.Pod // all but Encode
	Stripe  Stripe    // Encode: with a zero Form where the form of From is not known
	Index   uint8
	Targets []Target // Encode
}

// Target is a pod that is to hold a fragment.
type Target struct {
	Pod   ident.Pod
	Index uint8
}

// Plan is what is to be done about a chunk, and how safe it is before anything is done.
type Plan struct {
	Actions []Action
	Safety  Safety
	Losses  int // how many more pods may be lost; -1: it can't be read now. What has the least to spare goes first
}

// Done says whether the chunk is where it should be and nothing is left to be done.
func (p *Plan) Done() bool { return len(p.Actions) == 0 && p.Safety.State == StateSafe }

// planner is one Plan under way.
type planner struct {
	n       *Network
	c       Chunk
	want    Policy   // of this chunk, by its length
	holders []Holder // those of c.Holders that are up, by pod
	whole   int      // pods whose whole copies count
	best    matching // the stripe that bears the most losses
	losses  int
	actions []Action
}

// Plan says what is to be done about a chunk (DESIGN section 6). It is a pure function, and the same on all pods that
// know the same.
//
// Nothing is released but what the policy does not want while all that it wants is on the pods of the set, acknowledged;
// and nothing is encoded because a pod is down or out (I8): what lies there as fragments stays fragments.
func (n *Network) Plan(c Chunk) Plan {
	p := &planner{n: n, c: c, want: c.Want.ForBytes(c.FormBytes)}
	for _, h := range c.Holders {
		if n.Up(h.Pod) && (h.hasWhole() || len(h.Fragments) > 0) {
			p.holders = append(p.holders, h)
		}
	}
	slices.SortFunc(p.holders, func(a, b Holder) int { return bytes.Compare(a.Pod[:], b.Pod[:]) })
	p.count()
	switch p.want.Kind {
	case PolicyRS:
		p.stripe(p.want)
	case PolicyUnset, PolicyNone:
		p.one()
	case PolicyRaid0, PolicyReplica, PolicyRaid1, PolicyRaid5, PolicyRaid6:
		p.replicas(p.want.Copies(), true)
	}
	p.keep()
	return Plan{Actions: p.actions, Safety: p.judge(), Losses: p.losses}
}

// counts says whether what a pod holds counts for the policy: portals come and go, and homes and pins are on top.
func (p *planner) counts(pod ident.Pod) bool {
	if p.want.Kind <= PolicyNone {
		return true
	}
	return p.n.active(pod) && !p.extra(pod)
}

// extra says whether a pod holds a whole copy only because it is a home or has a pin.
func (p *planner) extra(pod ident.Pod) bool {
	return slices.Contains(p.c.Keep, pod) && (p.want.Kind == PolicyRS || !p.n.full.InSet(p.c.Group, p.want.pods(), pod))
}

// pods is how many pods a policy spreads a chunk over.
func (p Policy) pods() int { stored, _ := p.factor(); return stored }

// count finds what there is.
func (p *planner) count() {
	for _, h := range p.holders {
		if h.Whole && p.counts(h.Pod) {
			p.whole++
		}
	}
	p.losses = p.whole - 1
	for _, s := range p.stripes() {
		m := match(s, p.holders, p.active, nil)
		if m.losses() > p.best.losses() || p.best.stripe == (Stripe{}) || m.losses() == p.best.losses() && m.n > p.best.n {
			p.best = m
		}
	}
	if p.best.stripe != (Stripe{}) {
		p.losses = max(p.losses, p.best.losses())
	}
	if p.losses < 0 && slices.ContainsFunc(p.holders, func(h Holder) bool { return h.hasWhole() }) {
		p.losses = 0 // a cached copy, or one that is not counted: it can be read
	}
}

func (p *planner) active(pod ident.Pod) bool { return p.n.active(pod) }

// stripes are all of which there are fragments, in an order of their own.
func (p *planner) stripes() []Stripe {
	var all []Stripe
	for _, h := range p.holders {
		for _, f := range h.Fragments {
			if !slices.Contains(all, f.Stripe) {
				all = append(all, f.Stripe)
			}
		}
	}
	slices.SortFunc(all, Stripe.compare)
	return all
}

// judge says how safe the chunk is. What there is of each form is counted for itself; the best counts.
func (p *planner) judge() Safety {
	promised := p.want.Losses()
	s := Safety{Have: p.whole, Need: promised + 1}
	if p.whole-1 < promised {
		switch n := p.wanted(); {
		case n > 0:
			s.Have, s.Need = n, p.want.K+p.want.M
		case p.best.lossesIfAny() > p.whole-1:
			s.Have = p.best.losses() + 1 // as many whole copies would bear the same
		}
	}
	switch {
	case p.losses < 0:
		s.State = StateUnavailable
	case max(p.whole-1, p.best.lossesIfAny()) >= promised:
		s.State = StateSafe
	case !slices.ContainsFunc(p.actions, func(a Action) bool { return a.Kind != Release }):
		s.State = StateDegraded
	case len(p.holders) == 1 && p.holders[0].Pod == p.c.Self:
		s.State = StateLocal
	default:
		s.State = StateSpreading
	}
	s.Have = min(s.Have, s.Need)
	return s
}

// wanted is how many fragments there are on different pods of a stripe as the policy wants it; 0 for other policies.
func (p *planner) wanted() (n int) {
	if p.want.Kind != PolicyRS {
		return 0
	}
	_, m := p.choose(p.want)
	return m.n
}

// lossesIfAny is losses, or -1 where there is no stripe at all.
func (m *matching) lossesIfAny() int {
	if m.stripe == (Stripe{}) {
		return -1
	}
	return m.losses()
}

// do adds an action.
func (p *planner) do(a Action) { p.actions = append(p.actions, a) }

// holder is what a pod that is up holds.
func (p *planner) holder(pod ident.Pod) *Holder {
	i, ok := slices.BinarySearchFunc(p.holders, pod, func(h Holder, pod ident.Pod) int { return bytes.Compare(h.Pod[:], pod[:]) })
	if !ok {
		return nil
	}
	return &p.holders[i]
}

// source is a pod that has a whole copy: who asks and means to send, rather than others, an own one rather than a cached one, and along the walk.
func (p *planner) source(form FormDigest) *Holder {
	var best *Holder
	rank := func(h *Holder) int {
		if h.Pod == p.c.Self && p.c.Sends {
			return -1
		}
		r := slices.Index(p.n.all.Walk(p.c.Group), h.Pod)
		if r < 0 {
			r = CopiesMax * Groups // portals last
		}
		if !h.Whole {
			r += 2 * CopiesMax * Groups
		}
		return r
	}
	for i := range p.holders {
		h := &p.holders[i]
		if h.hasWhole() && (form == (FormDigest{}) || h.Form == form) && (best == nil || rank(h) < rank(best)) {
			best = h
		}
	}
	return best
}

// wholeTo has a pod hold a whole copy of its own.
func (p *planner) wholeTo(pod ident.Pod) {
	h := p.holder(pod)
	if !p.n.Up(pod) || h != nil && h.Whole {
		return
	}
	if h != nil && h.Cached {
		p.do(Action{Kind: CopyWhole, From: pod, To: pod})
	} else if from := p.source(FormDigest{}); from != nil {
		p.do(Action{Kind: CopyWhole, From: from.Pod, To: pod})
	} else if p.best.lossesIfAny() >= 0 {
		p.do(Action{Kind: JoinWhole, To: pod, Stripe: p.best.stripe})
	}
}

// keep has homes and pins hold whole copies.
func (p *planner) keep() {
	for _, pod := range p.c.Keep {
		known := slices.ContainsFunc(p.actions, func(a Action) bool {
			return a.To == pod && (a.Kind == CopyWhole || a.Kind == JoinWhole)
		})
		if !known {
			p.wholeTo(pod)
		}
	}
}

// release has all pods give up what is surplus: stays says what is none.
func (p *planner) release(stays func(h *Holder, whole bool, f Fragment) bool) {
	lower := p.c.Lower && !p.flaps()
	for i := range p.holders {
		h := &p.holders[i]
		if !lower && !p.n.draining(h.Pod) {
			continue
		}
		if h.Whole && !slices.Contains(p.c.Keep, h.Pod) && !stays(h, true, Fragment{}) {
			p.do(Action{Kind: Release, To: h.Pod})
		}
		for _, f := range h.Fragments {
			if !stays(h, false, f) {
				p.do(Action{Kind: Release, To: h.Pod, Stripe: f.Stripe, Index: f.Index})
			}
		}
	}
}

// flaps says whether a pod of the set may be gone again soon: what was made in its place would be made once more.
func (p *planner) flaps() bool {
	return slices.ContainsFunc(p.n.full.Set(p.c.Group, p.want.pods()), func(pod ident.Pod) bool { return p.n.pods[pod] == Back })
}
