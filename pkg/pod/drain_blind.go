package pod

import (
	"context"
	"errors"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// drainedBlind tells how far a blind pod is with being emptied, which it can't know: what it holds that the policies do not give up yet.
func (p *Pod) drainedBlind(ctx context.Context, pod ident.Pod, d Drained) (Drained, error) {
	if err := p.sees(); err != nil || !d.Draining || d.Removed {
		return d, err
	}
	d.Known, d.Stuck = true, true
	err := p.eachKept(ctx, func(nodes []state.Node) error {
		net := p.nets()
		list, lost, err := p.placingOf(ctx, nodes, placeOptions{look: true})
		if err = errors.Join(err, p.survey(ctx, net, list), p.askAll(ctx, map[ident.Pod][]*placing{pod: list})); err != nil {
			return err
		}
		d.Left += lost.unsafe
		for _, c := range list {
			c.plan = net.plan(c, p.id)
			if h := c.holder(pod); !h.Whole && len(h.Fragments) == 0 || len(surplusHere(c.plan, pod)) > 0 {
				continue
			}
			d.Left += c.size
			d.Stuck = d.Stuck && c.adds() == 0
		}
		return ctx.Err()
	})
	d.Stuck = d.Stuck && d.Left > 0
	return d, err
}

// eachKept calls f with the contents of all files, and those that only snapshots have, some at a time.
func (p *Pod) eachKept(ctx context.Context, f func([]state.Node) error) error {
	var batch []state.Node
	add := func(n state.Node) error {
		if batch = append(batch, n); len(batch) < spreadBatch {
			return nil
		}
		err := f(batch)
		batch = nil
		return err
	}
	if err := p.db.EachContent(ctx, add); err != nil {
		return err
	}
	all, err := p.Snapshots(ctx)
	aged, rules, agedErr := p.agedSnapshots(ctx)
	err = errors.Join(err, agedErr)
	newer := p.db.LastCheckpoint().Tree
	for i := len(all) - 1; i >= 0 && err == nil; i-- {
		err = p.eachOldContent(ctx, newer, all[i].Root, keptOf(aged, rules, all[i].Root), 0, func(d *dag.Dirent) error {
			data, err := p.getBlock(ctx, d.Child)
			if err != nil {
				return err
			}
			return add(state.Node{Attr: vfs.Attr{ID: vfs.RootID, Kind: vfs.Kind(d.Kind), Size: d.Size}, Body: data})
		})
		newer = all[i].Root
	}
	if err == nil {
		err = f(batch)
	}
	return err
}
