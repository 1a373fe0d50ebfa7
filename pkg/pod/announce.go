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

// announce tells which groups this pod holds under a layout.
func (p *Pod) announce(ctx context.Context, d p2p.DHT, lay placement.Layout) error {
	return d.Announce(ctx, announced(p.reg.network, p.id, lay))
}

// announced are the keys of the groups in whose walks a pod is among the first, at most 4096 however many blocks there are; or one for all, where
// the pods are so few that each is among the first of every group.
func announced(n ident.Network, pod ident.Pod, lay placement.Layout) []p2p.Key {
	if _, active := lay.Entry(pod); !active {
		return nil
	}
	if lay.Len() <= p2p.HoldersMax {
		return []p2p.Key{p2p.GroupsKey(n)}
	}
	var keys []p2p.Key
	for g := range placement.Group(placement.Groups) {
		if slices.Contains(lay.Walk(g)[:p2p.HoldersMax], pod) {
			keys = append(keys, p2p.GroupKey(n, uint16(g)))
		}
	}
	return keys
}

// announcing are the pods that announce a group, or all groups.
func (p *Pod) announcing(ctx context.Context, d p2p.DHT, g placement.Group) ([]ident.Pod, error) {
	pods, err := d.FindHolders(ctx, p2p.GroupKey(p.reg.network, uint16(g)))
	if err != nil || len(pods) > 0 {
		return pods, err
	}
	return d.FindHolders(ctx, p2p.GroupsKey(p.reg.network))
}
