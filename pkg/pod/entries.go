package pod

import (
	"context"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// entryEvery is how often entry points are asked whose pod is not connected.
const entryEvery = 15 * time.Second

// runEntries connects the pods that answer at the entry points of the configuration: those of this network, as each proves when it is connected.
func (p *Pod) runEntries(ctx context.Context) error {
	met := make(map[string]ident.Pod) // who answered where
	for {
		for _, addr := range *p.entries.Load() {
			if p.o.Offline {
				break
			}
			if pod, ok := met[addr]; ok && p.net.Connected(pod) {
				continue
			}
			pod, err := p2p.WhoIs(ctx, addr)
			if err == nil && pod != p.id {
				err = p.net.Connect(ctx, pod, []string{addr})
			}
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				p.log.InfoContext(ctx, "no pod of the network could be connected at an entry point", "addr", addr, "err", err)
			default:
				met[addr] = pod
			}
		}
		timer := p.clock.NewTimer(entryEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-p.entryKick:
		case <-timer.C:
		}
		timer.Stop()
	}
}
