package pod

import (
	"context"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// A pod that may not read, in an encrypted network, is blind (docs/adr/0017): it holds sealed chunks, and fragments of them, and is given nothing that has a name in it. No commit, head, row,
// node or snapshot goes to it, and it asks for none. Every correct pod keeps to that by what the statements say of the other, whatever program the other runs.

// ErrBlind says that this pod holds sealed chunks and no names, so that there is no tree here to show or change. It is an ErrNoKey.
var ErrBlind = fmt.Errorf("this pod has the role storage in an encrypted network: it keeps sealed chunks, is told no names, and has no tree to show: %w", ErrNoKey)

// errBlindPeer says what a blind pod asked for, and may not have.
var errBlindPeer = fmt.Errorf("a pod with the role storage in an encrypted network gets sealed chunks alone: %w", member.ErrDenied)

// blindMayAsk are the questions of a blind pod that are answered.
var blindMayAsk = []p2p.Kind{
	p2p.KindStatements, p2p.KindHas, p2p.KindFragments, p2p.KindPeers, p2p.KindClock, p2p.KindDuty,
}

// blindMayTell are the messages of a blind pod that are read. Its head is among them: one that could read before may be the only one that has some commits.
var blindMayTell = []p2p.Kind{p2p.KindStatements, p2p.KindUsage, p2p.KindHead}

// blindLocked says whether a pod is blind. One of which nothing is known is, too. mu is held.
func (r *registry) blindLocked(pod ident.Pod) bool {
	if !r.settings.Encrypted() {
		return false
	}
	_, known := r.chains[pod]
	return !known || !r.roleLocked(pod).MayRead()
}

// blind says whether a pod is given sealed chunks alone.
func (r *registry) blind(pod ident.Pod) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.blindLocked(pod)
}

// sightedLayout is a layout without its blind pods. It is made anew only where it is another one: a layout remembers what it computed.
type sightedLayout struct {
	of, lay placement.Layout
	blind   []ident.Pod
}

// readers is the layout without the blind pods.
func (r *registry) readers() placement.Layout {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kept []placement.Entry
	var blind []ident.Pod
	for _, e := range r.lay.Entries() {
		if r.blindLocked(e.Pod) {
			blind = append(blind, e.Pod)
		} else {
			kept = append(kept, e)
		}
	}
	s := &r.sighted
	switch {
	case len(blind) == 0:
		return r.lay
	case s.of != r.lay || !slices.Equal(s.blind, blind):
		*s = sightedLayout{of: r.lay, lay: placement.NewLayout(kept), blind: blind}
	}
	return s.lay
}

// blind says whether this pod is blind.
func (p *Pod) blind() bool { return p.reg.blind(p.id) }

// sees says that there is a tree here to show. Error: ErrBlind.
func (p *Pod) sees() error {
	if p.blind() {
		return fmt.Errorf("pod: %w", ErrBlind)
	}
	return nil
}

// sighted are the connected pods that are not blind, sorted.
func (p *Pod) sighted() []ident.Pod { return slices.DeleteFunc(p.connected(), p.reg.blind) }

// blindConnected are those that are.
func (p *Pod) blindConnected() []ident.Pod {
	return slices.DeleteFunc(p.connected(), func(pod ident.Pod) bool { return !p.reg.blind(pod) })
}

// mayAsk says whether a question is answered.
func (p *Pod) mayAsk(ctx context.Context, from ident.Pod, kind p2p.Kind) error {
	if slices.Contains(blindMayAsk, kind) || !p.reg.blind(from) {
		return nil
	}
	return p.refuseBlind(ctx, from, fmt.Errorf("pod: question of kind %d: %w", kind, errBlindPeer))
}

// mayHave says whether a pod may be sent a block. Nodes are read by who has them.
func (p *Pod) mayHave(ctx context.Context, to ident.Pod, id block.ID) error {
	if id.Codec() == block.Raw || !p.reg.blind(to) {
		return nil
	}
	return p.refuseBlind(ctx, to, fmt.Errorf("pod: %s is a node: %w", id, errBlindPeer))
}

// refuseBlind tells people of what a blind pod asked for, not too often: it may ask a thousand times a second.
func (p *Pod) refuseBlind(ctx context.Context, from ident.Pod, err error) error {
	if p.refusals.worth(from, p.clock.Now()) {
		const what = "a storage pod asked for what names files"
		p.log.WarnContext(ctx, "somebody was refused", "what", what, "pod", from, "err", err)
		p.event(Event{Kind: EventRefused, Pod: p.reg.name(from), Text: what + ": " + err.Error()})
	}
	return err
}

// mayHear says whether a pod is told a statement. What names a path is kept from blind pods, and so are forks, which are about commits.
func (p *Pod) mayHear(pod ident.Pod, statement []byte) bool {
	return !p.reg.blind(pod) || !tellsOfTree(statement)
}

// tellsOfTree says whether a statement has something in it that blind pods are not told.
func tellsOfTree(statement []byte) bool {
	kind, body, err := member.DecodeStatement(statement)
	switch {
	case err != nil:
		return true
	case kind == member.KindFork:
		return true
	case kind != member.KindNetwork:
		return false
	}
	s, err := member.DecodeSettings(body)
	return err != nil || slices.ContainsFunc(s.Ext, func(f member.Field) bool { return f.ID == fieldMinorityPaths && len(f.Value) > 0 })
}

// nets are the pods as the planner sees them: for chunks all; for nodes those that are not blind.
type nets struct{ chunks, nodes *placement.Network }

// of are the pods among which a block is placed.
func (n nets) of(id block.ID) *placement.Network {
	if id.Codec() == block.Raw {
		return n.chunks
	}
	return n.nodes
}

// plan is what is to be done about a block.
func (n nets) plan(c *placing, self ident.Pod) placement.Plan { return n.of(c.id).Plan(c.chunk(self)) }

// set is the pods that may hold a block by its policy.
func (n nets) set(c *placing) []ident.Pod {
	return n.of(c.id).Set(placement.GroupOf(c.id), c.policy)
}

// up says whether a pod answers, or is taken for one that does.
func (n nets) up(pod ident.Pod) bool { return n.chunks.Up(pod) }

// wantsNode is what is wanted of a node of a file of which this is wanted: as many copies, if there are so many pods that may have it. The rows, without which the node is
// nothing, are on no more pods either.
func (p *Pod) wantsNode(n nets, w wants) wants {
	if n.nodes == n.chunks {
		return w
	}
	w.keep = slices.DeleteFunc(slices.Clone(w.keep), p.reg.blind)
	switch most := n.nodes.Layout().Len(); {
	case w.policy.ForBytes(0).Copies() <= most:
	case most == 0:
		w.policy = placement.Policy{Kind: placement.PolicyNone}
	default:
		w.policy = placement.Policy{Kind: placement.PolicyReplica, N: most}
	}
	return w
}
