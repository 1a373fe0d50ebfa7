package pod

import (
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// wants is what is wanted of the chunks of a file.
type wants struct {
	policy placement.Policy // resolved
	author ident.Pod        // of the content
	keep   []ident.Pod      // homes and pins, sorted
	lower  bool             // the policy has held for the rule lower, or for as long as the file is there
}

// join is what is wanted of a chunk that two files name.
func (w wants) join(o wants) wants {
	w.policy = placement.Want(w.policy, o.policy)
	w.lower = w.lower && o.lower
	keep := slices.Concat(w.keep, o.keep)
	slices.SortFunc(keep, comparePods)
	w.keep = slices.Compact(keep)
	return w
}

func comparePods(a, b ident.Pod) int { return slices.Compare(a[:], b[:]) }

// wantsOf is what is wanted of the chunks of nodes.
func (p *Pod) wantsOf(nodes []state.Node) ([]wants, error) {
	ids := make([]vfs.NodeID, len(nodes))
	for i := range nodes {
		ids[i] = nodes[i].ID
	}
	wishes, err := p.db.Wishes(ids)
	if err != nil {
		return nil, err
	}
	now := p.clock.Now()
	settings, lay := p.reg.defaults(), p.reg.layout()
	known := make(map[string]placement.Policy)
	out := make([]wants, len(nodes))
	for i := range wishes {
		w, n := &wishes[i], &nodes[i]
		text, since := w.Policy.Value, w.Policy.TS.HLC
		if text == "" {
			text, since = settings.Policy, max(since, state.HLC(settings.Version))
		}
		policy, ok := known[text]
		if !ok {
			policy = policyOf(text, lay)
			known[text] = policy
		}
		out[i] = wants{policy: policy, author: p.reg.pod(n.Content.Dot.Actor), keep: slices.DeleteFunc(keepers(w), p.reg.isGone)}
		out[i].lower = n.Btime > since.Time().UnixNano() || p.spread.now.Load() || now.Sub(since.Time()) >= p.lowerAfter()
	}
	return out, nil
}

// policyOf reads the text of a policy; what can't be read is the default, which is never less safe than it has to be.
func policyOf(text string, lay placement.Layout) placement.Policy {
	policy, err := placement.ParsePolicy(text)
	if err != nil {
		policy = placement.Policy{Kind: placement.PolicyReplica, N: 2}
	}
	return policy.Resolve(lay.Len())
}

// keepers are the pods that a wish names: homes, and those with pins.
func keepers(w *state.Wish) []ident.Pod {
	out := slices.Clone(w.Homes.Value)
	for _, pin := range w.Pins {
		if !pin.Gone {
			out = append(out, pin.Pod)
		}
	}
	slices.SortFunc(out, comparePods)
	return slices.Compact(out)
}

// placing is the pods as the planner sees them now, where it does not matter what is placed.
func (p *Pod) placing() *placement.Network { return p.nets().chunks }

// nets is the pods as the planner sees them now. What was made before is used again while nothing changed: it knows the
// walks already.
func (p *Pod) nets() nets {
	lay, now := p.reg.layout(), make(map[ident.Pod]placement.Condition)
	for pod, s := range p.states() {
		switch {
		case s == "out" || s == "lost":
			now[pod] = placement.Out
		case s == "suspect":
			now[pod] = placement.Suspect
		case s != "down" && !p.heldUntil(pod).IsZero():
			now[pod] = placement.Back
		case s != "down":
			now[pod] = placement.Up
		case p.frozen(pod):
			now[pod] = placement.Frozen
		case clock.Since(p.clock, later(p.peers.of(pod).lastSeen, p.started)) >= p.repairAfter():
			now[pod] = placement.DownLong
		default:
			now[pod] = placement.Down
		}
	}
	s := p.spread
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nets.chunks == nil || !s.nets.chunks.Is(lay, now) {
		s.nets.chunks = placement.NewNetwork(lay, now)
	}
	lay = p.reg.readers()
	if s.nets.nodes == nil || !s.nets.nodes.Is(lay, now) {
		s.nets.nodes = s.nets.chunks
		if !s.nets.chunks.Is(lay, now) {
			s.nets.nodes = placement.NewNetwork(lay, now)
		}
	}
	return s.nets
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
