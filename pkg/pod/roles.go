package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// What a member may do is in its chain, and in the statements of kind revoke about its key and those above it: all that is here is a function of the set of
// statements, so that all pods come to the same, in whatever order they hear them.

// newestRole is the newest statement that gives a key a role; false: there is none. mu is held.
func (r *registry) newestRole(key ident.Pod) (newest member.Revoke, found bool) {
	for _, v := range r.ends[key] {
		if v.Role != 0 && (!found || v.Newer(newest)) {
			newest, found = v, true
		}
	}
	return newest, found
}

// roleLocked is what a pod may do: what its certificate says, or the newest statement about it, and no more than those about the users who run it. mu is held.
func (r *registry) roleLocked(pod ident.Pod) member.Role {
	chain := r.chains[pod]
	role := chain.Leaf().Role
	if v, ok := r.newestRole(pod); ok {
		role = v.Role
	}
	for _, user := range usersIn(chain) {
		if v, ok := r.newestRole(user); ok {
			role = max(role, v.Role)
		}
	}
	return role
}

// role is what a pod may do, in a network that it was not shut out of.
func (r *registry) role(pod ident.Pod) member.Role {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.roleLocked(pod)
}

// unkept says who stands in a chain below an admin whose right to sign has ended, without being among those who stay; mu is held.
func (r *registry) unkept(chain member.Chain) (by member.Cert, unkept bool) {
	for i := 1; i < len(chain); i++ {
		above, below := chain[i-1], chain[i].Pod()
		ends := r.ends[above.Pod()]
		if above.Kind == member.KindUser || len(ends) == 0 {
			continue
		}
		if !slices.ContainsFunc(ends, func(v member.Revoke) bool { return v.Keeps(below) }) {
			return above, true
		}
	}
	return member.Cert{}, false
}

// signsNoMore says whether the right of a chain's last key to sign members has ended.
func (r *registry) signsNoMore(chain member.Chain) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, unkept := r.unkept(chain)
	return unkept || len(r.ends[chain.Leaf().Pod()]) > 0 || revokedUser(r.revoked, chain)
}

// settingsAfterEnd refuses settings that an admin signed after its right had ended, as far as their version says so. mu is held.
func (r *registry) settingsAfterEnd(s member.Settings) error {
	for _, v := range r.ends[s.Signer.Leaf().Pod()] {
		if s.Version > v.Version {
			return fmt.Errorf("pod: settings by %q, which may not change them any more: %w", s.Signer.Leaf().Name, member.ErrDenied)
		}
	}
	return nil
}

// shownRoleLocked is the role of a pod or user, for people. mu is held.
func (r *registry) shownRoleLocked(c member.Cert) member.Role {
	if c.Kind == member.KindPod {
		return r.roleLocked(c.Pod())
	}
	if v, ok := r.newestRole(c.Pod()); ok {
		return v.Role
	}
	return c.Role
}

// mayWriteLocked says whether what a pod writes from now on counts. mu is held.
func (r *registry) mayWriteLocked(pod ident.Pod) bool {
	return r.roleLocked(pod).MayWrite() && !r.revokedLocked(pod)
}

// mayWrite says whether what a pod writes from now on counts.
func (r *registry) mayWrite(pod ident.Pod) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.mayWriteLocked(pod)
}

// couldWriteLocked says whether a pod may write, or could once. mu is held.
func (r *registry) couldWriteLocked(pod ident.Pod) bool {
	return r.chains[pod].Leaf().Role.MayWrite() ||
		slices.ContainsFunc(r.ends[pod], func(v member.Revoke) bool { return v.Role.MayWrite() || len(v.Cuts) > 0 })
}

// writersOf is a version vector without members that never might write: nothing of them is to be had.
func (r *registry) writersOf(vv state.VV) state.VV {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make(state.VV, len(vv))
	for a, seq := range vv {
		if pod, known := r.members[a.Member]; !known || r.couldWriteLocked(pod) {
			out[a] = seq
		}
	}
	return out
}

// cuts are the members whose right to write has ended, with the commits that the statements about them name.
func (r *registry) cuts() []state.Cut {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []state.Cut
	for pod, chain := range r.chains {
		if r.mayWriteLocked(pod) || !r.couldWriteLocked(pod) {
			continue
		}
		cut := state.Cut{Member: chain.Leaf().Member}
		for _, key := range append(usersIn(chain), pod) {
			for _, v := range r.ends[key] {
				for _, c := range v.Cuts {
					if c.Actor.Member == cut.Member {
						cut.Last = append(cut.Last, state.Dep{Dot: state.Dot{Actor: c.Actor, Seq: c.Seq}, Digest: c.Digest})
					}
				}
			}
		}
		out = append(out, cut)
	}
	return out
}

// signedBy are the keys whose certificates a key signed, sorted.
func (r *registry) signedBy(key ident.Pod) []ident.Pod {
	r.mu.RLock()
	defer r.mu.RUnlock()
	found := make(map[ident.Pod]bool)
	for _, chains := range []map[ident.Pod]member.Chain{r.chains, r.users} {
		for _, chain := range chains {
			if _, unkept := r.unkept(chain); unkept {
				continue
			}
			for i := 1; i < len(chain); i++ {
				if chain[i-1].Pod() == key && chain[i-1].Kind != member.KindUser {
					found[chain[i].Pod()] = true
				}
			}
		}
	}
	out := make([]ident.Pod, 0, len(found))
	for k := range found {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b ident.Pod) int { return bytes.Compare(a[:], b[:]) })
	return out[:min(len(out), member.RevokeKeptMax)]
}

// role is what this pod may do.
func (p *Pod) role() member.Role { return p.reg.role(p.id) }

// whyReadOnly is the error of a change by a pod that may not write: it names what is missing. It is a vfs.ErrReadOnly.
func (p *Pod) whyReadOnly() error {
	if p.reg.isRevoked(p.id) {
		return fmt.Errorf("this pod was shut out, and what it does counts nowhere: %w", vfs.ErrReadOnly)
	}
	return fmt.Errorf("this pod has the role %s, and the tree is changed by writers and admins: %w", p.role(), vfs.ErrReadOnly)
}

// mayWrite says whether this pod may write.
func (p *Pod) mayWrite() bool { return p.reg.mayWrite(p.id) }

// SetRole gives a pod, or a user, another role: writer, reader or storage. What it wrote as a writer stays as far as this pod has it, or others built on it. It is durable here, and sent to all
// that are connected, when it returns nil.
//
// Errors: member.ErrBadName; ErrNoSuchPod; ErrNotSafe for this pod itself, for who runs it, and for a pod that a user runs; member.ErrDenied if this pod is no admin's, for the role admin, which only a
// new certificate gives, and for who was revoked.
func (p *Pod) SetRole(ctx context.Context, name, role string) error {
	to, err := member.ParseRole(role)
	if err != nil {
		return err
	}
	if to.MayAdmit() {
		return fmt.Errorf("pod: admins have numbers to give, which come with a new certificate alone: invite a new pod with the role admin: %w", member.ErrDenied)
	}
	key, err := p.memberNamed(name)
	if err != nil {
		return err
	}
	chain := p.reg.chainOf(key)
	if users := usersIn(chain); len(users) > 0 && users[0] != key {
		return fmt.Errorf("pod: %q is run by the user %q: give that one the role: %w", name, p.reg.chainOf(users[0]).Leaf().Name, ErrNotSafe)
	}
	if now, _ := p.reg.roleOf(key); now == to {
		return nil
	}
	if err := p.end(ctx, key, name, to); err != nil {
		return err
	}
	return errors.Join(p.giveKeys(ctx, key), p.rekeyIfDue(ctx))
}

// roleOf is the role of a pod or user, and when a statement gave it; 0: its certificate did.
func (r *registry) roleOf(key ident.Pod) (role member.Role, version uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	v, _ := r.newestRole(key)
	if c, user := r.users[key]; user {
		if v.Role != 0 {
			return v.Role, v.Version
		}
		return c.Leaf().Role, 0
	}
	return r.roleLocked(key), v.Version
}

// giveKeys seals the data keys of an encrypted network to those who may read it now, and lack them.
func (p *Pod) giveKeys(ctx context.Context, key ident.Pod) error {
	for _, cert := range p.reg.pods() {
		pod := cert.Pod()
		if pod != key && !slices.Contains(usersIn(p.reg.chain(pod)), key) {
			continue
		}
		cert.Role = p.reg.role(pod)
		sealed, err := p.keysFor(cert)
		if err != nil {
			return err
		}
		for _, k := range sealed {
			if err := p.learn(ctx, k, p.id); err != nil {
				return err
			}
		}
	}
	return nil
}
