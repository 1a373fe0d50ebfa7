package pod

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// What an admin asks a pod to do with its layout entry, which it signs itself.
const (
	dutyLook    = 0 // nothing: only tell
	dutyDrain   = 1 // take nothing new, and be emptied
	dutyUndrain = 2 // be used again
	dutyRemove  = 3 // store nothing for others any more; only once it is empty
)

// Drained tells how far a pod is with being emptied.
type Drained struct {
	Draining bool
	Removed  bool  // it stores nothing for others any more
	Known    bool  // it has looked at all since it was asked
	Left     int64 // bytes of blocks that others need it for, still
	Stuck    bool  // they can't go: no pod is there to take them
}

// Drain has a pod take nothing new and be emptied, or, with undo set, be used again; name "" is this one. Only an admin may do that to
// another pod. It returns at once: DrainState tells how far it is. Errors: ErrNoSuchPod, member.ErrDenied, p2p.ErrUnreachable.
func (p *Pod) Drain(ctx context.Context, name string, undo bool) (Drained, error) {
	duty := dutyDrain
	if undo {
		duty = dutyUndrain
	}
	return p.askDuty(ctx, name, duty)
}

// DrainState tells how far a pod is with being emptied. Errors are Drain's.
func (p *Pod) DrainState(ctx context.Context, name string) (Drained, error) {
	return p.askDuty(ctx, name, dutyLook)
}

// RemovePod ends a pod's storing for others, once it is drained and empty; its user may go on to use it as a portal. Errors: ErrNotSafe
// while others need what it holds; Drain's.
func (p *Pod) RemovePod(ctx context.Context, name string) (Drained, error) {
	return p.askDuty(ctx, name, dutyRemove)
}

func (p *Pod) askDuty(ctx context.Context, name string, duty int) (Drained, error) {
	pod, err := p.podNamed(name)
	if err != nil {
		return Drained{}, err
	}
	var d Drained
	if duty == dutyRemove && pod != p.id && p.reg.blind(pod) {
		if d, err = p.askDuty(ctx, name, dutyLook); err != nil || d.Left > 0 {
			return d, p.notEmpty(pod, d, err)
		}
	}
	switch {
	case pod == p.id && p.blind() && (duty == dutyLook || duty == dutyRemove):
		err = fmt.Errorf("pod: how far this pod is with being emptied, pods that may read can tell: %w", ErrBlind)
	case pod == p.id:
		d, err = p.doDuty(ctx, duty)
	case duty != dutyLook && !p.role().MayAdmit():
		err = fmt.Errorf("pod: only an admin's pod may drain or remove others: %w", member.ErrDenied)
	default:
		var answer []byte
		if answer, err = p.askPatiently(ctx, pod, p2p.KindDuty, cbor.AppendUint(nil, uint64(duty))); err == nil {
			d, err = decodeDrained(answer)
		}
		if err == nil && p.reg.blind(pod) {
			d, err = p.drainedBlind(ctx, pod, d)
		}
	}
	if err == nil && duty == dutyRemove && !d.Removed {
		err = p.notEmpty(pod, d, nil)
	}
	return d, err
}

// notEmpty is the error of a pod that can't be removed yet, or err.
func (p *Pod) notEmpty(pod ident.Pod, d Drained, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("pod: %s is still needed for %d bytes; drain it first (wh pod drain): %w", p.reg.name(pod), d.Left, ErrNotSafe)
}

// answerDuty does what an admin asks for.
func (p *Pod) answerDuty(ctx context.Context, from ident.Pod, body []byte) ([]byte, error) {
	duty, err := decodeDuty(body)
	if err != nil {
		return nil, fmt.Errorf("pod: question about its duties: %w", err)
	}
	if _, known := p.reg.cert(from); duty != dutyLook && (!known || !p.reg.role(from).MayAdmit()) {
		return nil, fmt.Errorf("pod: only an admin's pod may drain or remove this one: %w", member.ErrDenied)
	}
	d, err := p.doDuty(ctx, duty)
	return d.encode(), err
}

func decodeDuty(body []byte) (int, error) {
	r := cbor.NewReader(body)
	duty := int(r.UintMax(dutyRemove))
	return duty, r.Done()
}

func (p *Pod) doDuty(ctx context.Context, duty int) (Drained, error) {
	e, _ := p.reg.entry(p.id)
	d := p.drained(e)
	switch {
	case duty == dutyDrain && !e.Drain, duty == dutyUndrain && e.Drain:
		e.Drain = duty == dutyDrain
		if !e.Drain {
			e.Weight = p.share.Load().Weight
		}
	case duty == dutyRemove && e.Drain && (d.Known && d.Left == 0 || p.blind()): // of a blind pod the admin's has looked
		e.Weight = 0
	default:
		return d, nil
	}
	if err := p.signEntry(ctx, e); err != nil {
		return d, err
	}
	p.spread.poke()
	e, _ = p.reg.entry(p.id)
	return p.drained(e), nil
}

// drained is how far this pod is, by the last round over everything, if that began with the entry as it is.
func (p *Pod) drained(e placement.Entry) Drained {
	d := Drained{Draining: e.Drain, Removed: e.Drain && e.Weight == 0}
	s := p.spread
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Left = s.needed
	d.Known = s.looked != 0 && s.looked == e.Version
	d.Stuck = d.Known && d.Left > 0 && s.stuck
	return d
}

// signEntry makes this pod's layout entry anew, keeps it and tells it.
func (p *Pod) signEntry(ctx context.Context, e placement.Entry) error {
	e.Version = uint64(state.NextHLC(state.HLC(e.Version), p.clock.Now()))
	body := e.Encode(func(msg []byte) []byte { return ed25519.Sign(p.own.key, msg) })
	return p.learn(ctx, member.EncodeStatement(member.KindLayout, body), p.id)
}

// encode writes [draining, removed, known, left, stuck].
func (d Drained) encode() []byte {
	b := cbor.AppendArray(nil, 5)
	b = cbor.AppendBool(b, d.Draining)
	b = cbor.AppendBool(b, d.Removed)
	b = cbor.AppendBool(b, d.Known)
	b = cbor.AppendUint(b, uint64(max(d.Left, 0)))
	return cbor.AppendBool(b, d.Stuck)
}

func decodeDrained(b []byte) (Drained, error) {
	r := cbor.NewReader(b)
	r.Tuple(5)
	d := Drained{Draining: r.Bool(), Removed: r.Bool(), Known: r.Bool(), Left: int64(r.UintMax(1<<62 - 1)), Stuck: r.Bool()}
	if err := r.Done(); err != nil {
		return Drained{}, fmt.Errorf("pod: answer about a drain: %w", err)
	}
	return d, nil
}
