package pod

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Numbers that are given to users, of which each of their pods takes one for good.
const (
	userRange      = 256 // to a user
	userAdminRange = 32  // to each pod of a user whose role is admin, to admit others
)

// addUser takes in a user's chain. Of several of one key the one that holds longest counts, so that all pods come to the same.
func (r *registry) addUser(chain member.Chain) what {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := chain.Leaf().Pod()
	if old, known := r.users[key]; known && !outlives(chain, old) {
		return what{}
	}
	r.users[key] = chain
	return what{members: true}
}

// outlives says whether a chain is taken instead of another of the same key: its end is later, or, of equal ends, its bytes are greater.
func outlives(c, old member.Chain) bool {
	a, b := chainEnd(c), chainEnd(old)
	if a != b {
		return a == 0 || b != 0 && a > b
	}
	return bytes.Compare(c.Encode(), old.Encode()) > 0
}

// user is a user's chain. The error is member.ErrDenied: no member has this key, or it was revoked.
func (r *registry) user(key ident.Pod) (member.Chain, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	chain, ok := r.users[key]
	by, unkept := r.unkept(chain)
	switch {
	case r.revoked[key]:
		return nil, fmt.Errorf("pod: user %q was revoked: %w", chain.Leaf().Name, member.ErrDenied)
	case unkept:
		return nil, fmt.Errorf("pod: user %q was added by %q, which may not do that any more: %w", chain.Leaf().Name, by.Name, member.ErrDenied)
	case !ok:
		return nil, fmt.Errorf("pod: no member has this key; an admin adds it by wh member add: %w", member.ErrDenied)
	}
	return chain, nil
}

// userList are the users, sorted by name.
func (r *registry) userList() []member.Cert {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.userListLocked()
}

func (r *registry) userListLocked() []member.Cert {
	return leaves(r.users)
}

// leaves are the members whose chains these are, sorted by name.
func leaves(chains map[ident.Pod]member.Chain) []member.Cert {
	var out []member.Cert
	for _, c := range chains {
		out = append(out, c.Leaf())
	}
	slices.SortFunc(out, func(a, b member.Cert) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), bytes.Compare(a.Subject, b.Subject))
	})
	return out
}

// taken says which names pods and users have.
func (r *registry) taken() map[string]bool {
	names := make(map[string]bool)
	for _, c := range append(r.pods(), r.userList()...) {
		names[c.Name] = true
	}
	return names
}

// AddUser makes a member of a person, whose OpenSSH key may then sign pods with the role, and no other. It is durable here, and sent to all that are
// connected, when it returns nil.
//
// Errors: member.ErrBadName; member.ErrDenied where this pod is no admin's, or where the key was revoked; vfs.ErrExist for a name or key that a
// member has; member.ErrNoNumbers.
func (p *Pod) AddUser(ctx context.Context, key ed25519.PublicKey, name, role string) error {
	r, err := member.ParseRole(role)
	if err != nil {
		return err
	}
	if err := member.CheckName(name); err != nil {
		return err
	}
	by, err := p.authority()
	if err != nil {
		return err
	}
	if len(by.chain)+2 > member.ChainMax { // the user's own certificate, and that of a pod
		return fmt.Errorf("pod: this admin's pod was admitted by one that was admitted itself, and adds no users: %w", member.ErrDenied)
	}
	p.inviting.Lock()
	defer p.inviting.Unlock()
	id := ident.PodOf(key)
	known, err := p.reg.user(id)
	switch {
	case err == nil:
		return fmt.Errorf("pod: the key is of the member %q: %w", known.Leaf().Name, vfs.ErrExist)
	case p.reg.isRevoked(id):
		return err
	case p.reg.taken()[name]:
		return fmt.Errorf("pod: a member is called %q: %w", name, vfs.ErrExist)
	}
	issuer := by.chain.Leaf()
	cert := member.Cert{Subject: key, Kind: member.KindUser, Role: r, Name: name}
	got, err := member.NextRange(member.Range{Lo: issuer.RangeLo, Hi: issuer.RangeHi}, userRange, p.reg.given(by.chain))
	if err != nil {
		return err
	}
	cert.RangeLo, cert.RangeHi, cert.NotAfter = got.Lo, got.Hi, p.newEnd()
	chain, err := member.Issue(by.key, by.chain, cert)
	if err != nil {
		return err
	}
	return p.learn(ctx, member.EncodeStatement(member.KindChain, chain.Encode()), p.id)
}
