package pod

import (
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// MemberInfo is a pod or user of the network.
type MemberInfo struct {
	Name    string
	Kind    string // user or pod
	ID      string // of the key
	Role    string
	By      string // who admitted it: the name of a pod or user, or admin for the network's first key
	Revoked bool
	Ends    time.Time // when its certificates end; zero: never
}

// Members are all whom certificates are known of, users first, by name. Those that were revoked are among them.
func (p *Pod) Members() []MemberInfo {
	p.reg.mu.RLock()
	defer p.reg.mu.RUnlock()
	var out []MemberInfo
	for _, certs := range [][]member.Cert{p.reg.userListLocked(), p.reg.podsLocked()} {
		for _, c := range certs {
			key := c.Pod()
			chain := p.reg.chains[key]
			if c.Kind == member.KindUser {
				chain = p.reg.users[key]
			}
			i := MemberInfo{Name: c.Name, Kind: c.Kind.String(), ID: key.String(), Role: p.reg.shownRoleLocked(c).String(), Revoked: p.reg.revokedLocked(key)}
			if len(chain) > 1 {
				i.By = chain[len(chain)-2].Name
			}
			i.Ends = endTime(chain)
			out = append(out, i)
		}
	}
	return out
}

// memberName is the name of a pod, user or admin, for people.
func (p *Pod) memberName(key ident.Pod) string {
	p.reg.mu.RLock()
	defer p.reg.mu.RUnlock()
	for _, chains := range []map[ident.Pod]member.Chain{p.reg.users, p.reg.chains} {
		for _, chain := range chains {
			for _, c := range chain {
				if c.Pod() == key {
					return c.Name
				}
			}
		}
	}
	if ident.NetworkOf(key.Key()) == p.reg.network {
		return "the root key"
	}
	return key.String()
}
