package pod

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// durableWithin is how long a close or an fsync waits for other pods, where the durability asks for them.
const durableWithin = 30 * time.Second

// The durabilities. Local is the least: what an fsync or close promises is synced on this pod.
const (
	durabilityLocal  = "local"
	durabilityQuorum = "quorum" // on N/2+1 pods of replica:N, on K+ceil(M/2) of rs:K+M, bytes and commit
	durabilityFull   = "full"   // on all that the policy asks for
)

// Durable makes the contents at and below a node as durable as its durability says: with local it returns at once. What is not
// named yet is the caller's: call Settle before. Error: ErrNotSafe, when the pods that it takes don't have it within 30 s; here it is durable
// all the same.
func (p *Pod) Durable(ctx context.Context, id vfs.NodeID) error {
	durability, err := p.durability(id)
	if err != nil || durability == durabilityLocal {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, durableWithin)
	defer cancel()
	want := p.db.VV()
	for pause := settlePoll / 10; ; pause = min(2*pause, settlePollMax) {
		lacking, err := p.lackingBelow(ctx, id, durability, want)
		if err == nil && lacking == "" {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			p.log.InfoContext(ctx, "durability: trying again", "err", err)
		}
		if sleepErr := clock.Sleep(ctx, p.clock, pause); sleepErr != nil {
			return fmt.Errorf("pod: durability %s: %s: %w: %w", durability, lacking, ErrNotSafe, sleepErr)
		}
	}
}

// durable names what was staged of a file, and makes it as durable as its durability says.
func (p *Pod) durable(ctx context.Context, id vfs.NodeID) error {
	text, err := p.durability(id)
	if errors.Is(err, vfs.ErrNotExist) || err == nil && text == durabilityLocal {
		return nil // one without a name is nobody else's
	}
	if err == nil {
		err = p.barrier.wait(ctx)
	}
	if err != nil {
		return err
	}
	return p.Durable(ctx, id)
}

// durability is the one that holds at a node; what is not known counts as full.
func (p *Pod) durability(id vfs.NodeID) (string, error) {
	w, _, err := p.db.EffectiveWish(id)
	if err != nil {
		return "", err
	}
	text := w.Durability.Value
	if text == "" {
		text = p.reg.defaults().Durability
	}
	switch text {
	case "", durabilityLocal:
		return durabilityLocal, nil
	case durabilityQuorum:
		return text, nil
	}
	return durabilityFull, nil
}

// lackingBelow brings contents at and below a node to where they should be, and says what is still lacking; "" for nothing.
func (p *Pod) lackingBelow(ctx context.Context, id vfs.NodeID, durability string, want state.VV) (string, error) {
	knows, readers := p.whoKnows(ctx, want), p.readers()
	net := p.nets()
	lacking := ""
	err := p.eachBelow(ctx, id, func(n state.Node) error {
		list, _, err := p.placingOf(ctx, []state.Node{n}, placeOptions{isNew: true})
		if err != nil {
			return err
		}
		if err := p.survey(ctx, net, list); err != nil {
			return err
		}
		for _, c := range list {
			c.plan = net.plan(c, p.id)
		}
		if err := p.carryOut(ctx, net, list, true); err != nil {
			return err
		}
		for _, c := range list {
			c.holders = p.known(c.holders, knows)
			s := net.plan(c, p.id).Safety
			switch takes := enough(s, c.policy, durability); {
			case s.Have < takes:
				lacking = fmt.Sprintf("a block is on %d of the %d pods that it takes", s.Have, takes)
			case len(knows) < min(takes, readers):
				lacking = fmt.Sprintf("the changes are on %d of the %d pods that it takes", len(knows), min(takes, readers))
			}
		}
		return ctx.Err()
	})
	return lacking, err
}

// enough is how many of the pods that a policy asks for must have a chunk.
func enough(s placement.Safety, policy placement.Policy, durability string) int {
	switch {
	case durability == durabilityFull:
		return s.Need
	case policy.Kind == placement.PolicyRS && s.Need == policy.K+policy.M:
		return policy.K + (policy.M+1)/2
	}
	return s.Need/2 + 1
}

// readers is how many pods that store data can be told of changes: those that are not blind. It is none where all can: then who holds bytes knows their names.
func (p *Pod) readers() int {
	if n := p.nets(); n.nodes != n.chunks {
		return n.nodes.Layout().Len()
	}
	return 0
}

// known are the holders that have the commits, too: bytes whose names are nowhere else are lost with who wrote them. Blind ones never have them, and count: that the names are on pods
// enough is asked apart.
func (p *Pod) known(holders []placement.Holder, knows map[ident.Pod]bool) []placement.Holder {
	var out []placement.Holder
	for _, h := range holders {
		if knows[h.Pod] || p.reg.blind(h.Pod) {
			out = append(out, h)
		}
	}
	return out
}

// whoKnows are the connected pods that have what a vector covers, synced, and this one.
func (p *Pod) whoKnows(ctx context.Context, want state.VV) map[ident.Pod]bool {
	out := map[ident.Pod]bool{p.id: true}
	for _, pod := range p.sighted() {
		if f := p.peers.of(pod); f.vv != nil && want.LessEqual(f.vv) {
			out[pod] = true
			continue
		}
		mine, err := p.headMessage(ctx, nil)
		if err != nil {
			return out
		}
		answer, err := p.ask(ctx, pod, p2p.KindHead, mine)
		if err != nil {
			continue
		}
		if head, _, _, err := p.readHead(answer); err == nil && want.LessEqual(head.VV) {
			out[pod] = true
		}
	}
	return out
}
