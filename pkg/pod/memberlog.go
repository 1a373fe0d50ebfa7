package pod

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// What happened to a member.
const (
	MemberAdmitted = "admitted" // its certificate was signed; when, is not in it
	MemberRole     = "role"     // it was given another role
	MemberRevoked  = "revoked"  // it was shut out
	MemberRekeyed  = "rekeyed"  // the data key of an encrypted network was changed
)

// MemberEvent is a step in the history of the members.
type MemberEvent struct {
	At   time.Time // by the signer's clock; zero: not known
	What string    // one of the above
	Name string    // of the pod, user, admin or data key
	Kind string    // pod, user, admin or data key
	ID   string    // of its key
	Role string    // that it has from then on; "": none
	By   string    // whose key signed that
}

// MemberLog is the history of the members as the statements tell it, which are the same on all pods: the admissions first, by name, whose time is not known, then the rest by time.
func (p *Pod) MemberLog() []MemberEvent {
	out := p.admissions()
	p.reg.mu.RLock()
	var ends []member.Revoke
	for _, list := range p.reg.ends {
		ends = append(ends, list...)
	}
	p.reg.mu.RUnlock()
	slices.SortFunc(ends, func(a, b member.Revoke) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), bytes.Compare(a.Subject[:], b.Subject[:]), bytes.Compare(a.Sig, b.Sig))
	})
	for _, v := range ends {
		e := MemberEvent{
			At: state.HLC(v.Version).Time(), What: MemberRevoked, Name: p.memberName(v.Subject), Kind: p.memberKind(v.Subject),
			ID: v.Subject.String(), By: p.memberName(v.By),
		}
		if v.Role != 0 {
			e.What, e.Role = MemberRole, v.Role.String()
		}
		out = append(out, e)
	}
	out = append(out, p.rekeyEvents()...)
	slices.SortStableFunc(out, func(a, b MemberEvent) int { return a.At.Compare(b.At) })
	return out
}

// rekeyEvents are the changes of the data key that count.
func (p *Pod) rekeyEvents() []MemberEvent {
	p.reg.mu.RLock()
	list := slices.DeleteFunc(slices.Clone(p.reg.rekeys), func(k member.Rekey) bool { return !p.reg.countsLocked(k) })
	p.reg.mu.RUnlock()
	var out []MemberEvent
	for _, k := range list {
		id := hex.EncodeToString(k.KeyID[:])
		out = append(out, MemberEvent{At: state.HLC(k.Version).Time(), What: MemberRekeyed, Name: id[:8], Kind: "data key", ID: id, By: p.memberName(k.Signer.Leaf().Pod())})
	}
	slices.SortFunc(out, func(a, b MemberEvent) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	return out
}

// admissions are those of users, then of pods, by name.
func (p *Pod) admissions() []MemberEvent {
	var out []MemberEvent
	for _, c := range append(p.reg.userList(), p.reg.pods()...) {
		out = append(out, MemberEvent{
			What: MemberAdmitted, Name: c.Name, Kind: c.Kind.String(), ID: c.Pod().String(), Role: c.Role.String(), By: p.memberName(ident.PodOf(c.Issuer)),
		})
	}
	return out
}

// memberKind is what a key is: pod, user or admin.
func (p *Pod) memberKind(key ident.Pod) string {
	p.reg.mu.RLock()
	defer p.reg.mu.RUnlock()
	switch {
	case len(p.reg.users[key]) > 0:
		return member.KindUser.String()
	case len(p.reg.chains[key]) > 0:
		return member.KindPod.String()
	}
	return member.KindAdmin.String()
}
