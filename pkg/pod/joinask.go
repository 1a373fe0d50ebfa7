package pod

import (
	"context"
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
	look := member.EnrolRequest{Step: member.StepLook, PodName: o.PodName}
	t, reply, err := question{network: o.Network, at: o.At, request: look, asOther: true, check: checkLook}.ask(ctx)
	if err != nil {
		return Ticket{}, err
	}
	if reply.Text == AccessAsk && o.Waiting != nil {
		o.Waiting(t.Network, t.NetworkName, reply.Chain.Leaf().Name, ident.PodOf(public(t.Key)))
	}
	return t, t.wait(ctx, orReal(o.Clock))
}

// checkLook proves that an answer has the certificate of the pod that gave it.
func checkLook(a answered, leaf member.Cert) error {
	if leaf.Kind != member.KindPod || leaf.Pod() != a.at.Pod {
		return fmt.Errorf("pod: an answer with the certificate of another pod: %w", member.ErrBadCert)
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
