package pod

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// Ticket is a right to make one pod, which was got before there is a folder for it: the pod's key, and which pod lets it in. It holds a private key:
// it is for the machine's own processes, never for the network.
type Ticket struct {
	Key         ed25519.PrivateKey
	Network     ident.Network
	NetworkName string
	At          p2p.Found    // the pod that lets it in
	User        member.Chain // of the user and, last, the pod, as the user signed it; none: the pod asks to be let in
	PodName     string       // wished, where User is none
}

// UserOptions are for AskAsUser.
type UserOptions struct {
	Network string      // its name, or NAME@ID8; "": whichever the pods at At are of
	At      []p2p.Found // pods to ask; those that are not of the network, or can't be reached, do no harm
	PodName string      // wished
	User    ed25519.PublicKey
	Sign    func(message []byte) ([]byte, error) // by the user's key: plain Ed25519
}

// AskAsUser has a user's key sign a new pod, with what a pod of the network offers. Sign is called once, for the pod's certificate. The user must be a member
// already, as the chain proves from the network's id down; which network that is was not known before, so people are told its id.
//
// Errors: ErrSeveral where pods of two networks answer; member.ErrDenied, where no pod knows the user; p2p.ErrUnreachable, where none answers.
func AskAsUser(ctx context.Context, o UserOptions) (Ticket, error) {
	check := func(a answered, leaf member.Cert) error { return checkOffer(a, leaf, o.User) }
	request := member.EnrolRequest{Step: member.StepOffer, User: o.User, PodName: o.PodName}
	t, reply, err := question{network: o.Network, at: o.At, request: request, check: check}.ask(ctx)
	if err != nil {
		return Ticket{}, err
	}
	user, offer := reply.Chain, reply.Offer
	t.User, err = member.IssueBySSH(user, member.Cert{
		Subject: public(t.Key), Kind: member.KindPod, Role: user.Leaf().Role, Name: offer.PodName,
		Member: offer.Member, RangeLo: offer.RangeLo, RangeHi: offer.RangeHi,
	}, o.Sign)
	if err != nil {
		return Ticket{}, err
	}
	t.PodName = "" // the certificate has it
	return t, nil
}

// checkOffer proves that something is offered, and to this user.
func checkOffer(a answered, leaf member.Cert, user ed25519.PublicKey) error {
	switch {
	case a.reply.Offer == nil:
		return fmt.Errorf("pod: an offer of nothing: %w", member.ErrBadMessage)
	case leaf.Kind != member.KindUser || !bytes.Equal(leaf.Subject, user):
		return fmt.Errorf("pod: an offer to another user: %w", member.ErrBadCert)
	}
	return nil
}

// request is what a pod with the ticket asks to be let in by.
func (t Ticket) request() []byte {
	if len(t.User) == 0 {
		return member.EnrolRequest{Step: member.StepAsk, NetworkName: t.NetworkName, PodName: t.PodName}.Encode()
	}
	cert := t.User.Leaf()
	return member.EnrolRequest{Step: member.StepUser, NetworkName: t.NetworkName, PodName: cert.Name, Cert: &cert}.Encode()
}
