package pod

import (
	"context"

	"github.com/wormhole-fs/wormhole/p2p"
)

// Network is a pod's connections to the others, where Options.Connect gives them: what a p2p.Host does, it promises.
type Network interface{ network }

// Connect makes a pod's connections, over which handler is asked and told. A p2p.Host makes the real ones; the simulator has others.
type Connect func(handler p2p.Handler) (Network, error)

// running is a network that runs until it is ended, or fails. It is ended last: what the pod commits at its end is told, too.
type running struct {
	stop  context.CancelFunc
	ended chan struct{}
	err   error // set when ended is closed
}

func (p *Pod) runNetwork(ctx context.Context) *running {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = p.net.Run(ctx)
	}()
	return r
}

// wait waits for its end, or ctx's.
func (r *running) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ended:
		return r.err
	}
}

// end ends it, and waits for that, unless the databases can't be written any more: what waits for them never ends then. An error of its end is no news: nothing
// waits for it any more.
func (r *running) end(g *diskGuard) {
	r.stop()
	_, broken := g.stuck()
	select {
	case <-r.ended:
	case <-broken:
	}
}
