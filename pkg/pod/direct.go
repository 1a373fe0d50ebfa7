package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// A blind pod does not know which blocks there should be, so what is to go from one of them to another, or to be made again at one, a pod that reads has it do. It takes nothing on trust: what it
// fetches it checks against the CID, and what it makes it makes of a block that it proved (I7).

// directMax is how many orders are in one question.
const directMax = 64

// What a pod is directed to do.
const (
	directOwn      = 1 // hold a whole copy
	directFragment = 2 // hold a fragment: copied from a pod, or made again
	directEncode   = 3 // cut its whole copy, and put fragments to pods
)

// order is one thing that a blind pod is to do.
type order struct {
	do      int
	f       block.Fragment // directOwn: its ID alone counts; directEncode: its K and M, too
	from    ident.Pod      // directFragment: who has it; zero: nobody, so it is made again
	targets []placement.Target
}

// directed are orders with the blocks that they are about, by who is to do them.
type directed map[ident.Pod][]directedOne

type directedOne struct {
	c *placing
	o order
}

// add notes the order that an action comes to.
func (d *directed) add(c *placing, a placement.Action) {
	if *d == nil {
		*d = make(directed)
	}
	o, who := order{do: directOwn, f: block.Fragment{Stripe: block.Stripe{ID: c.id}}}, a.To
	switch a.Kind {
	case placement.CopyFragment:
		o = order{do: directFragment, f: fragmentOf(c.id, a.Stripe, a.Index), from: a.From}
	case placement.Rebuild:
		o = order{do: directFragment, f: fragmentOf(c.id, a.Stripe, a.Index)}
	case placement.Encode:
		o.do, o.f.K, o.f.M, o.targets, who = directEncode, a.Stripe.K, a.Stripe.M, a.Targets, a.From
	case placement.CopyWhole, placement.JoinWhole, placement.Release:
	}
	(*d)[who] = append((*d)[who], directedOne{c, o})
}

// directs says whether this pod has another one take an action, which that one can't know of. In a round one does that of those which see the block.
func (p *Pod) directs(c *placing, a placement.Action) bool {
	who := a.To
	switch a.Kind {
	case placement.Release:
		return false
	case placement.Encode:
		who = a.From
	case placement.CopyWhole, placement.CopyFragment:
		if a.From != a.To && !p.reg.blind(a.From) {
			return false // who has it sends it
		}
	case placement.JoinWhole, placement.Rebuild:
	}
	return who != p.id && p.reg.blind(who) && p.net.Connected(who) && (c.round == nil || p.steward(placement.GroupOf(c.id)) == p.id)
}

// steward is the first pod of a group's walk that is up and reads; where none of these stores data, the one with the least id of those that are up.
func (p *Pod) steward(g placement.Group) ident.Pod {
	net := p.nets()
	for _, pod := range net.nodes.Layout().Walk(g) {
		if pod == p.id || net.up(pod) && p.net.Connected(pod) {
			return pod
		}
	}
	return slices.MinFunc(append(p.sighted(), p.id), comparePods)
}

// directAll has blind pods take actions, and notes who holds what now because of it. What a pod did not do, it is asked for again by the next round.
func (p *Pod) directAll(ctx context.Context, d directed) error {
	var errs []error
	for pod, list := range d {
		for part := range slices.Chunk(list, directMax) {
			orders := make([]order, len(part))
			for i, one := range part {
				orders[i] = one.o
			}
			done, err := p.askDirect(ctx, pod, orders)
			if err != nil {
				errs = append(errs, err)
				break
			}
			for i, one := range part {
				if done[i] == 1 {
					one.c.done(pod, one.o)
				} else {
					errs = append(errs, fmt.Errorf("pod: %s could not do its part for %s: %w", p.reg.name(pod), one.c.id, block.ErrUnavailable))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// done notes that an order was carried out. Who took fragments of another's encoding is asked in the next round.
func (c *placing) done(pod ident.Pod, o order) {
	switch o.do {
	case directOwn:
		c.hold(pod, hasOwned)
	case directFragment:
		c.holdFragments(pod, []block.Fragment{o.f})
	}
}

// askDirect tells for each order whether it was carried out, durably: 1, or 0.
func (p *Pod) askDirect(ctx context.Context, pod ident.Pod, orders []order) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	answer, err := p.net.Ask(ctx, pod, p2p.KindDirect, encodeOrders(orders))
	if err != nil {
		return nil, fmt.Errorf("pod: direct %s: %w", p.reg.name(pod), err)
	}
	if len(answer) != len(orders) {
		return nil, fmt.Errorf("pod: %s answers for %d orders of %d: %w", p.reg.name(pod), len(answer), len(orders), block.ErrCorrupt)
	}
	return answer, nil
}

// answerDirect carries out orders. Only a blind pod takes any: others see for themselves. The error is about the whole question.
func (p *Pod) answerDirect(ctx context.Context, from ident.Pod, body []byte) ([]byte, error) {
	if err := p.obeys(from); err != nil {
		return nil, err
	}
	orders, err := decodeOrders(body)
	if err != nil {
		return nil, err
	}
	done := make([]byte, len(orders))
	for i, o := range orders {
		err := p.working(ctx, pace.Repair, func(ctx context.Context) error { return p.obey(ctx, o) })
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			p.log.InfoContext(ctx, "this pod was directed to make a copy, and can't", "by", p.reg.name(from), "block", o.f.ID, "err", err)
		default:
			done[i] = 1
		}
	}
	return done, p.store.Sync(ctx)
}

// obeys says whether this pod does what another one says about what it stores. Error: member.ErrDenied.
func (p *Pod) obeys(from ident.Pod) error {
	switch {
	case !p.blind():
		return fmt.Errorf("pod: this pod is not blind, and sees itself what is to be done: %w", member.ErrDenied)
	case p.reg.blind(from):
		return fmt.Errorf("pod: %w", errBlindPeer)
	}
	return nil
}

// obey carries out an order.
func (p *Pod) obey(ctx context.Context, o order) error {
	switch {
	case o.do == directEncode:
		targets := make([]target, len(o.targets))
		for i, t := range o.targets {
			if t.Pod != p.id && !p.net.Connected(t.Pod) {
				return fmt.Errorf("pod: encode %s: %s: %w", o.f.ID, p.reg.name(t.Pod), p2p.ErrUnreachable)
			}
			targets[i] = target{t.Pod, int(t.Index)}
		}
		_, errs, err := p.encodeTo(ctx, o.f.ID, nil, int(o.f.K), int(o.f.M), targets)
		return errors.Join(append(errs, err)...)
	case o.do == directOwn:
		return p.ownBlock(ctx, o.f.ID)
	case p.store.HasFragment(o.f):
		return nil
	case o.from == ident.Pod{} || o.from == p.id:
		return p.rebuildFragment(ctx, o.f)
	}
	return p.copyFragment(ctx, o.from, o.f)
}

// encodeOrders writes [[do, id, form, k, m, i, from, [[pod, i]…]]…].
func encodeOrders(orders []order) []byte {
	b := cbor.AppendArray(nil, len(orders))
	for _, o := range orders {
		b = cbor.AppendUint(cbor.AppendArray(b, 8), uint64(o.do))
		b = cbor.AppendBytes(b, o.f.ID.Append(nil))
		b = cbor.AppendBytes(b, o.f.Form[:])
		for _, n := range []uint8{o.f.K, o.f.M, o.f.I} {
			b = cbor.AppendUint(b, uint64(n))
		}
		b = cbor.AppendBytes(b, o.from[:])
		b = cbor.AppendArray(b, len(o.targets))
		for _, t := range o.targets {
			b = cbor.AppendBytes(cbor.AppendArray(b, 2), t.Pod[:])
			b = cbor.AppendUint(b, uint64(t.Index))
		}
	}
	return b
}

// decodeOrders reads what encodeOrders writes: sealed chunks alone, each fragment one that there can be.
func decodeOrders(body []byte) ([]order, error) {
	return readList(body, "orders", directMax, func(r *cbor.Reader) (o order, err error) {
		r.Tuple(8)
		o.do = int(r.UintMax(directEncode))
		id := r.Fixed(block.IDLen)
		copy(o.f.Form[:], r.Fixed(len(o.f.Form)))
		for _, n := range []*uint8{&o.f.K, &o.f.M, &o.f.I} {
			*n = uint8(r.UintMax(1<<8 - 1))
		}
		copy(o.from[:], r.Fixed(len(o.from)))
		for range r.Array(block.FragmentsMax) {
			r.Tuple(2)
			var t placement.Target
			copy(t.Pod[:], r.Fixed(len(t.Pod)))
			t.Index = uint8(r.UintMax(1<<8 - 1))
			o.targets = append(o.targets, t)
		}
		if r.Err() != nil {
			return o, r.Err()
		}
		if o.f.ID, err = block.FromBytes(id); err != nil {
			return o, err
		}
		return o, o.check()
	})
}

// check says what is wrong with an order.
func (o order) check() error {
	whole, nobody := o.f.Form == block.Stripe{}.Form, o.from == ident.Pod{}
	switch {
	case o.f.ID.Codec() != block.Raw:
		return fmt.Errorf("%s is no chunk: %w", o.f.ID, block.ErrBadID)
	case (o.do == directEncode) != (len(o.targets) > 0):
		return fmt.Errorf("%d targets: %w", len(o.targets), block.ErrBadID)
	case o.do == directFragment:
		return o.f.Check()
	case o.do == directOwn && whole && o.f.K == 0 && o.f.M == 0 && o.f.I == 0 && nobody:
		return nil
	case o.do == directEncode && whole && o.f.K > 0 && o.f.M > 0 && int(o.f.K)+int(o.f.M) <= block.FragmentsMax && o.f.I == 0 && nobody:
		return nil
	}
	return block.ErrBadID
}
