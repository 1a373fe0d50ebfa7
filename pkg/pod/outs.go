package pod

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// outLook is how often it is looked which pods are silent for long, at the most.
const (
	outLook    = 10 * time.Second
	outLookMin = 50 * time.Millisecond // with short rules
)

// outs are the statements that pods are out, by whom they are about. Those of a registry are guarded by its mutex.
//
// A pod is lost when an admin says so: it is in no layout, and nothing waits for it. It is out when more than half of the active pods say that they have
// not heard it: it keeps its place in the layout and others get what it has. Either ends when the pod answers in its layout entry, by the version of the newest that it has heard.
type outs struct {
	said map[ident.Pod]map[ident.Pod]member.Out // the newest by each who says it
	lost map[ident.Pod]member.Out               // the newest of an admin's
	out  map[ident.Pod]bool                     // what said comes to
}

func newOuts() outs {
	return outs{said: make(map[ident.Pod]map[ident.Pod]member.Out), lost: make(map[ident.Pod]member.Out)}
}

// addOut takes in a statement about members; one of strangers is not kept, so that what a member sends is bounded.
func (r *registry) addOut(body []byte) (what, error) {
	o, err := member.DecodeOut(body)
	if err == nil {
		err = o.Verify(r.network)
	}
	if err != nil {
		return what{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.chains[o.Subject]; !known {
		return what{}, fmt.Errorf("pod: statement that %s is out: it is no member that is known here: %w", o.Subject, member.ErrBadStatement)
	}
	if o.Lost() {
		if r.outs.lost[o.Subject].Version >= o.Version {
			return what{}, nil
		}
		r.outs.lost[o.Subject] = o
	} else {
		by, known := r.chains[o.By]
		if !known || by.Leaf().Kind != member.KindPod {
			return what{}, fmt.Errorf("pod: statement that %s is out, by %s: it is no member that is known here: %w", o.Subject, o.By, member.ErrBadStatement)
		}
		said := r.outs.said[o.Subject]
		if said == nil {
			said = make(map[ident.Pod]member.Out)
			r.outs.said[o.Subject] = said
		}
		if said[o.By].Version >= o.Version {
			return what{}, nil
		}
		said[o.By] = o
	}
	r.layoutLocked()
	return what{layout: true}, nil
}

// staleOut says whether a statement was answered, or replaced by a newer one; mu is held.
func (r *registry) staleOut(o member.Out) bool {
	newest := r.outs.said[o.Subject][o.By].Version
	if o.Lost() {
		newest = r.outs.lost[o.Subject].Version
	}
	return o.Version < newest || o.Version <= r.entries[o.Subject].Answered()
}

// lostLocked says whether an admin's word that a pod is lost stands; mu is held.
func (r *registry) lostLocked(pod ident.Pod) bool {
	return r.outs.lost[pod].Version > r.entries[pod].Answered()
}

// isLost says whether an admin's word that a pod is lost stands.
func (r *registry) isLost(pod ident.Pod) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.lostLocked(pod)
}

// isOut says whether the word of more than half of the active pods that a pod is out stands.
func (r *registry) isOut(pod ident.Pod) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.outs.out[pod]
}

// says is a pod's own word that another is out, if it stands.
func (r *registry) says(pod, subject ident.Pod) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.outs.said[subject][pod].Version > r.entries[subject].Answered()
}

// heardOut is the newest statement that a pod is out which it has not answered.
func (r *registry) heardOut(pod ident.Pod) (newest member.Out, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	newest = r.outs.lost[pod]
	for _, o := range r.outs.said[pod] {
		if o.Version > newest.Version {
			newest = o
		}
	}
	return newest, newest.Version > r.entries[pod].Answered()
}

// outPods are the active pods that are out: of which more than half of those that are left say so. It is the same wherever the same is known.
func outPods(active []placement.Entry, said map[ident.Pod]map[ident.Pod]member.Out) map[ident.Pod]bool {
	left := make(map[ident.Pod]bool, len(active))
	for _, e := range active {
		if e.Weight > 0 {
			left[e.Pod] = true
		}
	}
	gone := make(map[ident.Pod]bool)
	for {
		var next []ident.Pod
		for _, e := range active {
			n := 0
			for by, o := range said[e.Pod] {
				if left[by] && o.Version > e.Answered() {
					n++
				}
			}
			if left[e.Pod] && 2*n > len(left) {
				next = append(next, e.Pod)
			}
		}
		if len(next) == 0 {
			return gone
		}
		for _, pod := range next {
			delete(left, pod)
			gone[pod] = true
		}
	}
}

// RemoveLost takes a pod out that never answers again: what it holds counts no more, is made again elsewhere, and nothing waits for it. What only it had is lost. If
// it comes back after all it takes nothing new, what it holds is brought elsewhere, and an admin may have it used again (Drain with undo).
//
// Errors: ErrNotSafe while the pod is connected, or not known to be down yet; member.ErrDenied if this pod is no admin's; ErrNoSuchPod.
func (p *Pod) RemoveLost(ctx context.Context, name string) (Drained, error) {
	pod, err := p.podNamed(name)
	if err != nil {
		return Drained{}, err
	}
	by, err := p.authority()
	if err != nil {
		return Drained{}, fmt.Errorf("pod: only an admin's pod may say that another is lost: %w", err)
	}
	switch s := p.states()[pod]; s {
	case "lost":
		return Drained{Removed: true}, nil
	case "down", "out":
	default:
		return Drained{}, fmt.Errorf("pod: %s is %s and no lost pod; drain it (wh pod drain), or wait until it is down: %w", p.reg.name(pod), s, ErrNotSafe)
	}
	o := member.Out{Network: p.reg.network, Subject: pod, Version: p.outVersion(pod), By: ident.PodOf(by.chain.Leaf().Subject), Admin: by.chain}
	return Drained{Removed: true}, p.sayOut(ctx, o, by.sign)
}

// outVersion is the version of a statement about a pod that it has not answered.
func (p *Pod) outVersion(pod ident.Pod) uint64 {
	e, _ := p.reg.entry(pod)
	return uint64(state.NextHLC(state.HLC(max(e.Answered(), e.Version)), p.clock.Now()))
}

func (p *Pod) sayOut(ctx context.Context, o member.Out, sign func([]byte) []byte) error {
	o, err := o.Sign(sign)
	if err == nil {
		err = p.learn(ctx, member.EncodeStatement(member.KindOut, o.Encode()), p.id)
	}
	return err
}

// runOuts says of pods that were silent for long that they are.
func (p *Pod) runOuts(ctx context.Context) error {
	last := p.clock.Now()
	listening := last
	for {
		if err := clock.Sleep(ctx, p.clock, max(outLookMin, min(outLook, p.outAfter()/4))); err != nil {
			return err
		}
		now := p.clock.Now()
		if now.Sub(last) > 3*outLook {
			listening = now // this machine slept, and heard nobody
		}
		last = now
		if err := p.sayOuts(ctx, now, listening); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "that pods are out was not said", "err", err)
		}
	}
}

// sayOuts says of each active pod which this one, that has listened since a moment, has not heard for long that it is out. One that sees half of them or less says
// nothing: it is the one that is cut off.
func (p *Pod) sayOuts(ctx context.Context, now, listening time.Time) error {
	if _, active := p.reg.layout().Entry(p.id); !active || !p.placing().Majority() {
		return nil
	}
	var errs []error
	for _, e := range p.reg.layout().Entries() {
		silent := now.Sub(later(later(p.peers.of(e.Pod).lastSeen, p.started), listening))
		if e.Pod == p.id || p.net.Connected(e.Pod) || silent < p.outAfter() || p.reg.says(p.id, e.Pod) || p.frozen(e.Pod) {
			continue
		}
		p.log.InfoContext(ctx, "a pod is out, as seen from here", "pod", p.reg.name(e.Pod), "silent", silent)
		o := member.Out{Network: p.reg.network, Subject: e.Pod, Version: p.outVersion(e.Pod), By: p.id}
		errs = append(errs, p.sayOut(ctx, o, func(msg []byte) []byte { return ed25519.Sign(p.own.key, msg) }))
	}
	return errors.Join(errs...)
}

// answered is a pod's own entry with the answer to what was said of it. One that was removed as lost takes nothing new until it is used again.
func (r *registry) answered(e placement.Entry) (placement.Entry, bool) {
	o, ok := r.heardOut(e.Pod)
	if !ok {
		return e, false
	}
	e.Drain = e.Drain || r.isLost(e.Pod)
	return e.Answer(o.Version), true
}

// answerOut says that this pod is here, if somebody said that it is out.
func (p *Pod) answerOut(ctx context.Context) error {
	e, known := p.reg.entry(p.id)
	if !known {
		return nil
	}
	e, news := p.reg.answered(e)
	if !news {
		return nil
	}
	p.log.InfoContext(ctx, "this pod was said to be out; it answers", "drained", e.Drain)
	return p.signEntry(ctx, e)
}
