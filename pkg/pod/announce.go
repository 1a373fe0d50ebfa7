package pod

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

const (
	announceFirst = 30 * time.Second // after the start: others may be coming
	announceEvery = time.Minute      // between looks at the layout
	pinsMax       = 4000             // pins and homes that are announced; with all groups fewer than p2p.AnnounceMax
)

// runAnnounce has this pod found as a holder of the groups in whose walks it is among the first, and of what is pinned here, for pods that have no layout.
func (p *Pod) runAnnounce(ctx context.Context) error {
	d := p.dht()
	var told []p2p.Key
	for wait := announceFirst; ; wait = announceEvery {
		if err := clock.Sleep(ctx, p.clock, wait); err != nil {
			return err
		}
		if d == nil || len(p.connected()) == 0 {
			continue
		}
		keys, err := p.announcement(ctx, p.reg.layout())
		if err == nil && told != nil && slices.Equal(keys, told) {
			continue
		}
		if err == nil {
			err = d.Announce(ctx, keys)
		}
		if err != nil {
			p.log.WarnContext(ctx, "what is held here is not announced; trying again", "err", err)
			continue
		}
		told = keys
	}
}

// announcement are the keys that this pod announces: the groups that it holds under a layout, and the roots of what is pinned or at home here. It is never nil.
func (p *Pod) announcement(ctx context.Context, lay placement.Layout) ([]p2p.Key, error) {
	pinned, err := p.pinnedRoots(ctx)
	return append(append([]p2p.Key{}, announced(p.reg.network, p.id, lay)...), pinned...), err
}

// pinnedRoots are the keys of the files and folders that are pinned or at home here, up to pinsMax. They are hints: until the last round over everything found all where it should be, there are
// none, and a folder's is as of the newest checkpoint.
func (p *Pod) pinnedRoots(ctx context.Context) ([]p2p.Key, error) {
	if p.spread.safeSince().IsZero() {
		return nil, nil
	}
	var nodes []vfs.NodeID
	err := p.db.EachWish(ctx, func(id vfs.NodeID, w state.Wish) error {
		if len(nodes) < pinsMax && slices.Contains(keepers(&w), p.id) {
			nodes = append(nodes, id)
		}
		return nil
	})
	var keys []p2p.Key
	for _, node := range nodes {
		if root, err := p.db.NodeCID(node); err == nil && !root.IsZero() { // a node that is gone, or in no checkpoint yet, is told of later
			keys = append(keys, p2p.RootKey(p.reg.network, root))
		}
	}
	slices.SortFunc(keys, func(a, b p2p.Key) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(keys), err
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

// announcing are the pods that announce a block's group, or all groups, and, if it may be the root of a file or folder, those that announce that: each once, as they are found. A search that fails, or takes longer than findTimeout with what is
// done about its pods meanwhile, tells its error behind them; the next one begins nevertheless.
func (p *Pod) announcing(ctx context.Context, d p2p.DHT, id block.ID) iter.Seq2[ident.Pod, error] {
	return func(yield func(ident.Pod, error) bool) {
		seen := make(map[ident.Pod]bool)
		find := func(key p2p.Key) (more bool) {
			search, cancel := context.WithTimeout(ctx, findTimeout)
			defer cancel()
			for pod, err := range d.FindHolders(search, key) {
				if err == nil && seen[pod] {
					continue
				}
				if !yield(pod, err) {
					return false
				}
				if err == nil {
					seen[pod] = true
				}
			}
			return true
		}
		more := find(p2p.GroupKey(p.reg.network, uint16(placement.GroupOf(id))))
		if more && len(seen) == 0 {
			more = find(p2p.GroupsKey(p.reg.network))
		}
		if more && id.Codec() == block.DagCBOR {
			find(p2p.RootKey(p.reg.network, id))
		}
	}
}
