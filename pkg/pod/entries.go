package pod

import (
	"context"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// entryEvery is how often entry points are asked whose pod is not connected.
const entryEvery = 15 * time.Second

// runEntries connects the pods that answer at the entry points of the configuration: those of this network, as each proves when it is connected.
func (p *Pod) runEntries(ctx context.Context) error {
	if p.o.Offline {
		<-ctx.Done()
		return ctx.Err()
	}
	met := make(map[string]ident.Pod) // who answered where
	silent := make(map[string]bool)   // where nobody did, which was said
	for {
		for _, addr := range *p.entries.Load() {
			if pod, ok := met[addr]; ok && (pod == p.id || p.net.Connected(pod)) {
				continue
			}
			pod, err := p2p.WhoIs(ctx, addr)
			if err == nil && pod != p.id {
				err = p.net.Connect(ctx, pod, []string{addr})
			}
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err == nil:
				met[addr] = pod
				delete(silent, addr)
			case !silent[addr]:
				silent[addr] = true
				p.log.InfoContext(ctx, "no pod of the network could be connected at an entry point; it is tried again", "addr", addr, "err", err)
			}
		}
		if err := clock.SleepOr(ctx, p.clock, entryEvery, p.entryKick); err != nil {
			return err
		}
	}
}
