package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/store"
)

// handler answers peers.
type handler struct{ p *Pod }

var _ p2p.Handler = handler{}

// admit lets in who shows a valid chain of this network for its own key.
func (p *Pod) admit(pod ident.Pod, hello []byte) error {
	err := p.admitChain(pod, hello)
	if err != nil {
		p.turnedAway(pod, err)
	}
	return err
}

// turnedAway tells of a pod that was not connected with.
func (p *Pod) turnedAway(pod ident.Pod, err error) {
	p.refused(context.Background(), pod, "a pod was refused", err)
}

func (p *Pod) admitChain(pod ident.Pod, hello []byte) error {
	chain, err := member.DecodeChain(hello)
	if err != nil {
		return err
	}
	cert, err := chain.Verify(p.reg.network)
	if err != nil {
		return err
	}
	if cert.Kind != member.KindPod || cert.Pod() != pod {
		return fmt.Errorf("the certificate is of %s %q, not of the key that connects: %w", cert.Kind, cert.Name, member.ErrDenied)
	}
	if err := p.reg.refusesChain(pod, chain); err != nil {
		return err
	}
	if err := p.inDate(p.reg.longest(pod, chain)); err != nil {
		p.expired(pod)
		return err
	}
	return p.learnShown(context.Background(), pod, chain)
}

// Connected is p2p.Handler's.
func (h handler) Connected(pod ident.Pod) {
	p := h.p
	p.log.Info("pod connected", "pod", p.reg.name(pod))
	p.event(Event{Kind: EventConnected, Pod: p.reg.name(pod)})
	p.cameBack(pod)
	p.peers.update(pod, func(f *peerFacts) { f.lastSeen, f.met, f.compared = p.clock.Now(), false, false })
	p.pulls.connected(pod)
	p.records.connected()
	p.spread.poke()
	p.lookAtRenewals()
}

// Disconnected is p2p.Handler's.
func (h handler) Disconnected(pod ident.Pod) {
	p := h.p
	p.log.Info("pod disconnected", "pod", p.reg.name(pod))
	p.event(Event{Kind: EventDisconnected, Pod: p.reg.name(pod)})
	p.peers.update(pod, func(f *peerFacts) { f.lastSeen, f.lost = p.clock.Now(), p.clock.Now() })
}

// Told is p2p.Handler's.
func (h handler) Told(ctx context.Context, from ident.Pod, kind p2p.Kind, body []byte) {
	if h.p.reg.blind(from) && !slices.Contains(blindMayTell, kind) {
		return
	}
	switch kind {
	case p2p.KindHead:
		h.p.toldHead(ctx, from, body)
	case p2p.KindStatements:
		if err := h.p.learnAll(ctx, body, from); err != nil {
			h.p.log.WarnContext(ctx, "a pod told statements that are not believed", "pod", h.p.reg.name(from), "err", err)
		}
	case p2p.KindUsage:
		h.p.toldUsage(from, body)
	case p2p.KindPlace:
		h.p.spread.asked()
	default: // of a later version
	}
}

// Asked is p2p.Handler's.
func (h handler) Asked(ctx context.Context, from ident.Pod, kind p2p.Kind, body []byte) ([]byte, error) {
	if err := h.p.mayAsk(ctx, from, kind); err != nil {
		return nil, err
	}
	switch kind {
	case p2p.KindLog:
		return h.p.answerLog(ctx, from, body)
	case p2p.KindOffer:
		return h.p.answerOffer(ctx, from, body)
	case p2p.KindStatements:
		if err := h.p.learnAll(ctx, body, from); err != nil {
			h.p.log.WarnContext(ctx, "a pod sent statements that are not believed", "pod", h.p.reg.name(from), "err", err)
		}
		return h.p.allStatements(from)
	case p2p.KindHas:
		return h.p.answerHas(ctx, body)
	case p2p.KindFragments:
		return h.p.answerFragments(ctx, body)
	case p2p.KindKeptFragments:
		return h.p.answerKeptFragments(ctx, body)
	case p2p.KindKept:
		return h.p.answerKept(ctx, body)
	case p2p.KindDuty:
		return h.p.answerDuty(ctx, from, body)
	case p2p.KindTips:
		return h.p.answerTips(from, body)
	case p2p.KindDigests:
		return h.p.answerDigests(ctx, body)
	case p2p.KindHeat:
		return h.p.answerHeat(body)
	case p2p.KindClock:
		return h.p.answerClock(), nil
	case p2p.KindStored:
		return h.p.answerStored(ctx, from, body)
	case p2p.KindDrop:
		return h.p.answerDrop(ctx, from, body)
	case p2p.KindDirect:
		return h.p.answerDirect(ctx, from, body)
	case p2p.KindPeers:
		return h.p.answerPeers(), nil
	case p2p.KindHead:
		if err := h.p.sees(); err != nil {
			return nil, err
		}
		h.p.toldHead(ctx, from, body)
		return h.p.headMessage(ctx, nil)
	}
	return nil, fmt.Errorf("pod: question of kind %d is not known to this version", kind)
}

// Block is p2p.Handler's.
func (h handler) Block(ctx context.Context, to ident.Pod, id block.ID) (wire []byte, done func(), err error) {
	if err := h.p.mayHave(ctx, to, id); err != nil {
		return nil, nil, err
	}
	if wire, done, err = h.p.store.LendWire(ctx, id); err == nil {
		err = h.p.served(ctx, pace.Up, to, len(wire))
	}
	return wire, done, err
}

// PutBlock is p2p.Handler's.
func (h handler) PutBlock(ctx context.Context, from ident.Pod, id block.ID, wire []byte) error {
	if id.Codec() != block.Raw && h.p.blind() {
		return fmt.Errorf("pod: put %s, a node: %w", id, ErrBlind)
	}
	if err := h.p.served(ctx, pace.Down, from, len(wire)); err != nil {
		return err
	}
	defer h.p.leases.release(h.p.leases.take(id)) // what names it may come later than a collection under way
	if err := h.p.leaving.stay(ctx, id); err != nil {
		return err
	}
	h.p.renewed(ctx, id)
	err := h.p.store.PutWire(ctx, id, wire, false)
	if errors.Is(err, store.ErrNoSpace) {
		return errors.Join(err, p2p.ErrFull)
	}
	return err
}

// PutSync is p2p.Handler's.
func (h handler) PutSync(ctx context.Context, _ ident.Pod) error { return h.p.store.Sync(ctx) }

// HaveBlock is p2p.Handler's.
func (h handler) HaveBlock(ctx context.Context, _ ident.Pod, id block.ID) bool {
	defer h.p.leases.release(h.p.leases.take(id)) // before the look: what is told is not collected right behind it
	if h.p.leaving.stay(ctx, id) != nil {
		return false
	}
	h.p.renewed(ctx, id)
	owned, _ := h.p.store.Has(id)
	return owned
}
