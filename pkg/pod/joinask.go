package pod

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// askAgain is how long a stranger waits before it asks again, held answers included: p2p takes three requests a minute of one, and one is for the pod's making.
const askAgain = 31 * time.Second

// AskOptions are for AskToJoin.
type AskOptions struct {
	Network string      // its name, or NAME@ID8; "": whichever the pods at At are of
	At      []p2p.Found // pods to ask
	PodName string      // wished
	Clock   clock.Clock // nil: clock.Real
	// Waiting is called once it is known which network it is, where an admin must accept the pod: at is the name of the pod where it waits, id what the admin sees there.
	Waiting func(network ident.Network, networkName, at string, id ident.Pod)
}

// AskToJoin asks a network that takes strangers to be let in, and waits for an admin where one must say so. The ticket that it returns is for a pod that is let in.
//
// Errors: ErrSeveral where pods of two networks answer; member.ErrDenied, where an admin said no, or the network is full; p2p.ErrUnreachable, where no pod of
// such a network is found.
func AskToJoin(ctx context.Context, o AskOptions) (Ticket, error) {
	if err := member.CheckName(o.PodName); err != nil {
		return Ticket{}, err
	}
	name, short, err := splitNetwork(o.Network)
	if err != nil {
		return Ticket{}, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Ticket{}, fmt.Errorf("pod: make a key: %w", err)
	}
	look := member.EnrolRequest{Step: member.StepLook, NetworkName: name, PodName: o.PodName}.Encode()
	answers := askAll(ctx, nil, o.At, look)
	for i, a := range answers {
		if a.err == nil {
			answers[i].err = checkLook(a, name, short)
		}
	}
	from, err := oneNetwork(answers, o.Network)
	if err != nil {
		return Ticket{}, err
	}
	t := Ticket{Key: key, Network: from.network(), NetworkName: from.reply.NetworkName, At: from.at, PodName: o.PodName}
	if from.reply.Text == AccessAsk && o.Waiting != nil {
		o.Waiting(t.Network, t.NetworkName, from.reply.Chain.Leaf().Name, ident.PodOf(public(key)))
	}
	return t, t.wait(ctx, orReal(o.Clock))
}

// checkLook proves that a pod is of the network that it says it is of.
func checkLook(a answered, name, short string) error {
	if len(a.reply.Chain) == 0 {
		return fmt.Errorf("pod: an answer without a certificate: %w", member.ErrBadMessage)
	}
	net := a.network()
	cert, err := a.reply.Chain.Verify(net)
	switch {
	case err != nil:
		return err
	case cert.Kind != member.KindPod || cert.Pod() != a.at.Pod:
		return fmt.Errorf("pod: an answer with the certificate of another pod: %w", member.ErrBadCert)
	case name != "" && a.reply.NetworkName != name || short != "" && net.Short() != short:
		return fmt.Errorf("pod: the pod that answers %w", member.ErrElsewhere)
	}
	return nil
}

// wait asks until the pod is let in. A pod that can't be reached for a while is asked again: its daemon may be restarted meanwhile.
func (t Ticket) wait(ctx context.Context, c clock.Clock) error {
	waits := false
	for {
		asked := c.Now()
		reply, err := askToEnrol(ctx, t.Key, t.At, t.request())
		again := errors.Is(err, member.ErrPending) || waits && (errors.Is(err, p2p.ErrUnreachable) || errors.Is(err, p2p.ErrBusy))
		switch {
		case err == nil:
			_, err = reply.Chain.Verify(t.Network)
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !again:
			return err
		}
		waits = true
		if err := clock.Sleep(ctx, c, max(askAgain-c.Now().Sub(asked), 0)); err != nil {
			return err
		}
	}
}
