package pod

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// disconnecter is a network that can end the connections to a pod, which it goes on dialling.
type disconnecter interface{ Disconnect(pod ident.Pod) }

// expiredShown is for how long after it was refused a pod is shown as one whose certificate has ended: it tries again every 10 s.
const expiredShown = 2 * time.Minute

// chainEnd is the last second in which all of a chain holds; 0: it has no end.
func chainEnd(c member.Chain) int64 {
	var end int64
	for _, cert := range c {
		if cert.NotAfter != 0 && (end == 0 || cert.NotAfter < end) {
			end = cert.NotAfter
		}
	}
	return end
}

// endTime is when a chain ends; the zero time: never.
func endTime(c member.Chain) time.Time {
	end := chainEnd(c)
	if end == 0 {
		return time.Time{}
	}
	return time.Unix(end, 0).UTC()
}

// endsLater says whether a chain holds longer than another.
func endsLater(c, old member.Chain) bool {
	a, b := chainEnd(c), chainEnd(old)
	return b != 0 && (a == 0 || a > b)
}

// renews says whether a chain is the same pod's membership as another, and holds longer. The users in it stay, since whoever revokes a user means all pods of theirs.
func renews(c, old member.Chain) bool {
	a, b := c.Leaf(), old.Leaf()
	return endsLater(c, old) && a.Kind == b.Kind && a.Name == b.Name && a.Role == b.Role && a.Member == b.Member && a.RangeLo == b.RangeLo && a.RangeHi == b.RangeHi &&
		slices.Equal(usersIn(c), usersIn(old))
}

// usersIn are the keys of the users in a chain.
func usersIn(c member.Chain) (out []ident.Pod) {
	for _, cert := range c {
		if cert.Kind == member.KindUser {
			out = append(out, cert.Pod())
		}
	}
	return out
}

// lengthen gives chains the newer certificates of those who signed them, so that to renew a user renews all pods of theirs.
func (r *registry) lengthen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range member.ChainMax { // a pass for each step down
		changed := false
		for _, all := range []map[ident.Pod]member.Chain{r.users, r.chains} {
			for key, c := range all {
				if longer := r.lengthenedLocked(c); endsLater(longer, c) {
					all[key], changed = longer, true
				}
			}
		}
		if !changed {
			return
		}
	}
}

// lengthenedLocked is a chain with the newest certificates of its signer, or as it is; mu is held.
func (r *registry) lengthenedLocked(c member.Chain) member.Chain {
	if len(c) < 2 || chainEnd(c) == 0 {
		return c
	}
	signer := c[len(c)-2].Pod()
	by, ok := r.users[signer]
	if !ok {
		by = r.chains[signer]
	}
	if len(by) == 0 {
		return c
	}
	longer := append(slices.Clone(by), c.Leaf())
	if _, unkept := r.unkept(longer); unkept || !renews(longer, c) {
		return c
	}
	if _, err := longer.Verify(r.network); err != nil {
		return c
	}
	return longer
}

// chain is a pod's chain; nil where none is known.
func (r *registry) chain(pod ident.Pod) member.Chain {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.chains[pod]
}

// chainOf is a pod's or user's chain; nil where none is known.
func (r *registry) chainOf(key ident.Pod) member.Chain {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c, ok := r.users[key]; ok {
		return c
	}
	return r.chains[key]
}

// longest is what a pod is judged by that shows a chain: that, or what is known of it here, if that holds longer.
func (r *registry) longest(pod ident.Pod, shown member.Chain) member.Chain {
	r.mu.RLock()
	defer r.mu.RUnlock()
	shown = r.lengthenedLocked(shown)
	if known := r.chains[pod]; len(known) > 0 && endsLater(known, shown) {
		return known
	}
	return shown
}

// staleChainLocked says whether another certificate of the same member is in use instead of this chain's; mu is held.
func (r *registry) staleChainLocked(c member.Chain) bool {
	known, ok := r.users[c.Leaf().Pod()]
	if !ok {
		known, ok = r.chains[c.Leaf().Pod()]
	}
	return ok && !bytes.Equal(known.Leaf().Sig, c.Leaf().Sig)
}

// inDate says whether a chain's dates allow a connection now. This machine's clock may be wrong: a chain is refused only if it does not hold by what the
// connected pods' clocks say either. The error is member.ErrExpired, and has the times, by which people see whose clock is wrong.
func (p *Pod) inDate(c member.Chain) error {
	early := p.surelyNow()
	late := p.clock.Now().Add(max(0, p.clockOff(), time.Duration(p.stamps.ahead.Load())))
	err := c.ValidAt(early)
	if err == nil || c.ValidAt(late) == nil {
		return nil
	}
	if end := endTime(c); !end.IsZero() && early.After(end) {
		return fmt.Errorf("pod: %w: it ended at %s, and here it is %s", err, end.Format(time.RFC3339), early.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("pod: %w: here it is %s", err, late.UTC().Format(time.RFC3339))
}

// ownChain is this pod's chain as it was renewed last.
func (p *Pod) ownChain() member.Chain {
	if c := p.reg.chain(p.id); renews(c, p.own.chain) {
		return c
	}
	return p.own.chain
}

// authority is the right of this pod to sign new members. member.ErrDenied: it has none.
func (p *Pod) authority() (authority, error) {
	by, err := readAuthority(p.home, authority{key: p.own.key, chain: p.ownChain()})
	if err == nil && p.reg.signsNoMore(by.chain) {
		err = fmt.Errorf("pod: %q may not sign members any more: %w", by.chain.Leaf().Name, member.ErrDenied)
	}
	return by, err
}

// learnShown takes in what is new of a chain that a pod has shown: all of it from a stranger, newer certificates of itself or of who signed it from a member.
func (p *Pod) learnShown(ctx context.Context, pod ident.Pod, shown member.Chain) error {
	for i, cert := range shown {
		c := shown[:i+1]
		known := p.reg.chainOf(cert.Pod())
		if cert.Kind == member.KindAdmin || len(known) == 0 && i < len(shown)-1 {
			continue
		}
		if len(known) > 0 && (!renews(c, known) || bytes.Equal(known.Leaf().Sig, cert.Sig)) {
			continue
		}
		if err := p.learn(ctx, member.EncodeStatement(member.KindChain, c.Encode()), pod); err != nil {
			return err
		}
	}
	return nil
}

// partExpired ends the connections to pods whose certificates have ended.
func (p *Pod) partExpired(ctx context.Context) {
	n, ok := p.net.(disconnecter)
	if !ok {
		return
	}
	for _, pod := range p.connected() {
		if err := p.inDate(p.reg.chain(pod)); err != nil {
			p.expired(pod)
			p.refused(ctx, pod, "a pod was disconnected", err)
			n.Disconnect(pod)
		}
	}
}

// expired notes that a pod was refused because its certificate has ended.
func (p *Pod) expired(pod ident.Pod) {
	if _, known := p.reg.cert(pod); known {
		p.peers.update(pod, func(f *peerFacts) { f.expired = p.clock.Now() })
	}
}

// expiredText says why a pod is refused that was refused lately, as its certificate has ended; "": it was not.
func (p *Pod) expiredText(pod ident.Pod) string {
	at := p.peers.of(pod).expired
	if now := p.clock.Now(); at.IsZero() || now.Sub(at) > expiredShown || p.net.Connected(pod) {
		return ""
	}
	return p.endText(p.reg.chain(pod))
}

// endText is when a chain ends, with the time that it is here.
func (p *Pod) endText(c member.Chain) string {
	return fmt.Sprintf("%s, and by this machine's clock it is %s", endTime(c).Format(time.RFC3339), p.clock.Now().UTC().Format(time.RFC3339))
}
