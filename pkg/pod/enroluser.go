package pod

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// offer answers a stranger who says whose pod it is to be: that user's chain, and a name and numbers that nobody has. It promises nothing: whoever
// brings the user's certificate first has them.
func (p *Pod) offer(pod ident.Pod, q member.EnrolRequest) (member.EnrolReply, error) {
	if err := p.ofNetwork(q.NetworkName); err != nil {
		return member.EnrolReply{}, err
	}
	user, err := p.reg.user(ident.PodOf(q.User))
	if err == nil {
		err = p.inDate(user)
	}
	if err != nil {
		return member.EnrolReply{}, err
	}
	if user.Leaf().Role.MayRead() && p.seal.Load().on {
		if _, err := p.authority(); err != nil {
			return member.EnrolReply{}, fmt.Errorf("pod: the key of the encrypted network is given by admins' pods: %w", err)
		}
	}
	cert, err := p.numbered(member.Cert{Subject: pod.Key(), Kind: member.KindPod, Role: user.Leaf().Role, Name: q.PodName}, user)
	if err != nil {
		return member.EnrolReply{}, err
	}
	return member.EnrolReply{
		Chain: user, NetworkName: p.reg.defaults().Name,
		Offer: &member.EnrolOffer{PodName: cert.Name, Member: cert.Member, RangeLo: cert.RangeLo, RangeHi: cert.RangeHi},
	}, nil
}

// ofNetwork says whether a network's name, or none, is this one's.
func (p *Pod) ofNetwork(name string) error {
	if name != "" && name != p.reg.defaults().Name {
		return fmt.Errorf("pod: this pod %w", member.ErrElsewhere)
	}
	return nil
}

// numbered gives a pod that a user is to sign a name and numbers that nobody has. Two pods that are asked apart can't know of each other, so
// where it begins to look in the user's range depends on the new pod's key.
func (p *Pod) numbered(cert member.Cert, user member.Chain) (member.Cert, error) {
	by := user.Leaf()
	given := p.reg.given(user)
	name := member.CleanName(cert.Name)
	taken := p.reg.taken()
	cert.Name = member.FreeName(name, func(s string) bool { return taken[s] })
	start := by.RangeLo + binary.BigEndian.Uint32(cert.Subject)%(by.RangeHi-by.RangeLo+1)
	var err error
	if cert.Member, err = member.NextNumber(member.Range{Lo: start, Hi: by.RangeHi}, given); err != nil {
		if cert.Member, err = member.NextNumber(member.Range{Lo: by.RangeLo, Hi: by.RangeHi}, given); err != nil {
			return cert, err
		}
	}
	if cert.Role.MayAdmit() && len(user)+1 < member.ChainMax {
		given = append(given, member.Range{Lo: cert.Member, Hi: cert.Member})
		if got, err := member.NextRange(member.Range{Lo: by.RangeLo, Hi: by.RangeHi}, userAdminRange, given); err == nil {
			cert.RangeLo, cert.RangeHi = got.Lo, got.Hi
		}
	}
	return cert, nil
}

// enrolByUser lets in the pod that a user signed, if it has a name and numbers of its own.
func (p *Pod) enrolByUser(ctx context.Context, pod ident.Pod, cert member.Cert) (member.EnrolReply, error) {
	user, err := p.reg.user(ident.PodOf(cert.Issuer))
	if err != nil {
		return member.EnrolReply{}, err
	}
	chain := append(append(member.Chain{}, user...), cert)
	switch _, err := chain.Verify(p.reg.network); {
	case err != nil:
		return member.EnrolReply{}, fmt.Errorf("%w: %w", member.ErrDenied, err)
	case cert.Kind != member.KindPod || cert.Pod() != pod:
		return member.EnrolReply{}, fmt.Errorf("pod: the certificate is of %s %q, not of the key that connects: %w", cert.Kind, cert.Name, member.ErrDenied)
	}
	if err := p.inDate(chain); err != nil {
		return member.EnrolReply{}, err
	}
	p.reg.mu.RLock()
	known := p.reg.chains[pod]
	p.reg.mu.RUnlock()
	if known == nil {
		if err := p.unique(cert, user); err != nil {
			return member.EnrolReply{}, err
		}
	} else if !bytes.Equal(known.Leaf().Sig, cert.Sig) {
		return member.EnrolReply{}, fmt.Errorf("pod: this pod is a member already: %w", member.ErrUsed)
	}
	return p.letIn(ctx, chain)
}

// errTaken says that numbers or a name were given meanwhile.
var errTaken = errors.New("its name or number was given to another pod meanwhile; join again")

func (p *Pod) unique(cert member.Cert, user member.Chain) error {
	if p.reg.taken()[cert.Name] {
		return fmt.Errorf("pod: %q: %w: %w", cert.Name, errTaken, member.ErrDenied)
	}
	mine := []member.Range{{Lo: cert.Member, Hi: cert.Member}}
	if cert.RangeLo != 0 {
		mine = append(mine, member.Range{Lo: cert.RangeLo, Hi: cert.RangeHi})
	}
	for _, g := range p.reg.given(user) {
		for _, m := range mine {
			if g.Lo <= m.Hi && m.Lo <= g.Hi {
				return fmt.Errorf("pod: number %d: %w: %w", cert.Member, errTaken, member.ErrDenied)
			}
		}
	}
	return nil
}
