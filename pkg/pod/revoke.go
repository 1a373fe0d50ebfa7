package pod

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// parter is a network that can end the connections to a pod.
type parter interface {
	// Part ends all connections to a pod, and the dials to it.
	Part(pod ident.Pod, why error)
}

// addRevoke takes in that a key was revoked, or has another role. All of them count, in whatever order they come, so that all pods come to the same.
func (r *registry) addRevoke(body []byte) (what, error) {
	v, err := member.DecodeRevoke(body)
	if err == nil {
		err = v.Verify(r.network)
	}
	if err != nil {
		return what{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.ends[v.Subject], func(old member.Revoke) bool { return bytes.Equal(old.Encode(), body) }) {
		return what{}, nil
	}
	r.ends[v.Subject] = append(r.ends[v.Subject], v)
	if v.Role == 0 {
		r.revoked[v.Subject] = true
	}
	r.layoutLocked()
	return what{members: true, layout: true, revoked: true}, nil
}

// revokedLocked says whether a pod's key was revoked, or that of the user who runs it, or whether the admin who signed it was, and whoever revoked that one did not know of it; mu is held.
// Those that an admin had admitted until then stay when the admin goes.
func (r *registry) revokedLocked(pod ident.Pod) bool {
	_, unkept := r.unkept(r.chains[pod])
	return r.revoked[pod] || revokedUser(r.revoked, r.chains[pod]) || unkept
}

func revokedUser(revoked map[ident.Pod]bool, chain member.Chain) bool {
	return slices.ContainsFunc(chain, func(c member.Cert) bool { return c.Kind == member.KindUser && revoked[ident.PodOf(c.Subject)] })
}

// isRevoked says whether a pod's key was revoked, or that of the user who runs it.
func (r *registry) isRevoked(pod ident.Pod) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.revokedLocked(pod)
}

// endedBy is who shut a pod out, by name, as far as a statement is about itself or the users who run it.
func (r *registry) endedBy(pod ident.Pod, name func(ident.Pod) string) string {
	r.mu.RLock()
	var by ident.Pod
	for _, key := range append(usersIn(r.chains[pod]), pod) {
		for _, v := range r.ends[key] {
			if v.Role == 0 {
				by = v.By
			}
		}
	}
	r.mu.RUnlock()
	if by == (ident.Pod{}) {
		return "an admin" // who shut out the one who let it in
	}
	return name(by)
}

// isGone says whether a pod is lost or revoked, so that nothing is kept on it or waits for it.
func (r *registry) isGone(pod ident.Pod) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.lostLocked(pod) || r.revokedLocked(pod)
}

// refusesChain says of who shows a chain whether it was revoked, also where the chain is not known yet. The error is member.ErrDenied.
func (r *registry) refusesChain(pod ident.Pod, chain member.Chain) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.revokedLocked(pod) || revokedUser(r.revoked, chain) {
		return fmt.Errorf("pod: %q was revoked: %w", chain.Leaf().Name, member.ErrDenied)
	}
	if by, unkept := r.unkept(chain); unkept {
		return fmt.Errorf("pod: %q was admitted by %q, which may not do that any more: %w", chain.Leaf().Name, by.Name, member.ErrDenied)
	}
	return nil
}

// Revoke shuts a pod, or all pods of a user, out for good: no pod that has heard of it talks to that one again, and what it held is made again on others where they have enough of it.
// What it did until then stays. It is durable here, and sent to all that are connected, when it returns nil.
//
// Errors: ErrNoSuchPod; ErrNotSafe for this pod itself and for the user who runs it; member.ErrDenied if this pod is no admin's.
func (p *Pod) Revoke(ctx context.Context, name string) error {
	pod, err := p.memberNamed(name)
	if err != nil {
		return err
	}
	if p.reg.isRevoked(pod) {
		return nil
	}
	if err := p.end(ctx, pod, name, 0); err != nil {
		return err
	}
	return p.rekeyIfDue(ctx)
}

// end signs and spreads that a member has another role, or is shut out.
func (p *Pod) end(ctx context.Context, key ident.Pod, name string, role member.Role) error {
	if key == p.id {
		return fmt.Errorf("pod: a pod does not do that to itself; do it on another admin's pod: %w", ErrNotSafe)
	}
	if slices.Contains(usersIn(p.own.chain), key) {
		return fmt.Errorf("pod: %q runs this pod; do it on another admin's: %w", name, ErrNotSafe)
	}
	by, err := p.authority()
	if err != nil {
		return fmt.Errorf("pod: only an admin's pod may do that: %w", err)
	}
	signer := ident.PodOf(by.chain.Leaf().Subject)
	if signer == key {
		return fmt.Errorf("pod: %q is the admin's key of this pod; do it on another admin's: %w", name, ErrNotSafe)
	}
	if role != 0 && p.reg.isRevoked(key) {
		return fmt.Errorf("pod: %q was revoked: %w", name, member.ErrDenied)
	}
	tips, err := p.db.Tips()
	if err != nil {
		return err
	}
	_, last := p.reg.roleOf(key)
	v := member.Revoke{
		Network: p.reg.network, Subject: key, Version: uint64(state.NextHLC(state.HLC(last), p.clock.Now())), Role: role,
		Cuts: cutsOf(tips, p.reg.numbersOf(key)), Kept: p.reg.signedBy(key), By: signer, Admin: by.chain,
	}
	if v, err = v.Sign(by.sign); err != nil {
		return err
	}
	return p.learn(ctx, member.EncodeStatement(member.KindRevoke, v.Encode()), p.id)
}

// memberNamed is the key of a pod or user. Error: ErrNoSuchPod.
func (p *Pod) memberNamed(name string) (ident.Pod, error) {
	for _, user := range p.reg.userList() {
		if user.Name == name {
			return user.Pod(), nil
		}
	}
	pod, err := p.podNamed(name)
	if err != nil {
		if admin, ok := p.reg.adminNamed(name, p.signerKey()); ok {
			return admin, nil
		}
	}
	return pod, err
}

// signerKey is the key by which this pod signs members; zero: it signs none.
func (p *Pod) signerKey() ident.Pod {
	by, err := p.authority()
	if err != nil {
		return ident.Pod{}
	}
	return by.chain.Leaf().Pod()
}

// adminNamed is the key of an admin that is neither a pod nor a user, by its name or id: of the network's first pod, or made by the root key. Several may have one
// name: then it is the one besides own, if there is one such.
func (r *registry) adminNamed(name string, own ident.Pod) (ident.Pod, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	found := make(map[ident.Pod]bool)
	for _, chains := range []map[ident.Pod]member.Chain{r.chains, r.users} {
		for _, chain := range chains {
			for _, c := range chain {
				if key := c.Pod(); c.Kind == member.KindAdmin && (c.Name == name && key != own || key.String() == name) {
					found[key] = true
				}
			}
		}
	}
	for key := range found {
		return key, len(found) == 1
	}
	return ident.Pod{}, false
}

// numbersOf are the numbers of a pod, or of all pods that a user runs.
func (r *registry) numbersOf(key ident.Pod) map[uint32]bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make(map[uint32]bool)
	for pod, chain := range r.chains {
		if pod == key || revokedUser(map[ident.Pod]bool{key: true}, chain) {
			out[chain.Leaf().Member] = true
		}
	}
	return out
}

// cutsOf are the last commits of members, by what is here; of more incarnations than a statement holds, the newest.
func cutsOf(tips []state.Tip, numbers map[uint32]bool) []member.Cut {
	var cuts []member.Cut
	for _, t := range tips {
		if numbers[t.Actor.Member] {
			cuts = append(cuts, member.Cut{Actor: t.Actor, Seq: t.Seq, Digest: [8]byte(t.Digest[:8])})
		}
	}
	slices.SortFunc(cuts, func(a, b member.Cut) int { return a.Actor.Compare(b.Actor) })
	return cuts[max(0, len(cuts)-member.RevokeCutsMax):]
}

// partRevoked ends the connections to pods that were revoked.
func (p *Pod) partRevoked(ctx context.Context) {
	for _, pod := range p.connected() {
		if !p.reg.isRevoked(pod) {
			continue
		}
		p.log.WarnContext(ctx, "a pod was revoked and is shut out", "pod", p.reg.name(pod))
		if n, ok := p.net.(parter); ok {
			n.Part(pod, fmt.Errorf("pod: %q was revoked: %w", p.reg.name(pod), member.ErrDenied))
		}
	}
}
