package pod

import (
	"context"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

const (
	announceFirst = 30 * time.Second // after the start: others may be coming
	announceEvery = time.Minute      // between looks at the layout
)

// runAnnounce has this pod found as a holder of the groups in whose walks it is among the first, for pods that have no layout.
func (p *Pod) runAnnounce(ctx context.Context) error {
	d := p.dht()
	var told placement.Layout
	for wait := announceFirst; ; wait = announceEvery {
		if err := clock.Sleep(ctx, p.clock, wait); err != nil {
			return err
		}
		now := p.reg.layout()
		if d == nil || now == told || len(p.connected()) == 0 {
			continue
		}
		if err := p.announce(ctx, d, now); err != nil {
			p.log.WarnContext(ctx, "the groups held here are not announced; trying again", "err", err)
			continue
		}
		told = now
	}
}

// announce tells which groups this pod holds under a layout. It is at most 4096 records, however many blocks there are.
func (p *Pod) announce(ctx context.Context, d p2p.DHT, lay placement.Layout) error {
	var keys []p2p.Key
	if _, active := lay.Entry(p.id); active {
		for g := range placement.Group(placement.Groups) {
			if lay.Len() <= p2p.HoldersMax || slices.Contains(firstOf(lay, g), p.id) {
				keys = append(keys, p2p.GroupKey(p.reg.network, uint16(g)))
			}
		}
	}
	return d.Announce(ctx, keys)
}

// firstOf are the pods that announce a group.
func firstOf(lay placement.Layout, g placement.Group) []ident.Pod {
	walk := lay.Walk(g)
	return walk[:min(len(walk), p2p.HoldersMax)]
}
