package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// contentBlocks calls f with every block of a file's contents, the body's own included.
func (p *Pod) contentBlocks(ctx context.Context, n state.Node, f func(wanted) error) error {
	body, err := decodeBody(n.Body)
	if err != nil {
		return fmt.Errorf("pod: file %d: %w", n.ID, err)
	}
	if body.Size == 0 {
		return nil
	}
	if err := f(wanted{body.ID(), int64(len(n.Body))}); err != nil {
		return err
	}
	return dag.Blocks(ctx, blocks{p}, body, func(id block.ID, _ bool, size uint64) error {
		return f(wanted{id, int64(size)})
	})
}

// putBody puts the block of an encoded body, which stands in a row, unless it is here: the next checkpoint would put it, and it is needed now.
func (p *Pod) putBody(ctx context.Context, body []byte) error {
	if len(body) == 0 {
		return nil
	}
	id := block.Sum(block.DagCBOR, body)
	if owned, _ := p.store.Has(id); owned {
		return nil
	}
	return p.put(ctx, id, body)
}

// bring has a pod hold blocks, and returns those that it doesn't hold in the end.
func (p *Pod) bring(ctx context.Context, pod ident.Pod, list []wanted, pull bool) ([]wanted, error) {
	if pod == p.id {
		return p.bringHere(ctx, list, pull)
	}
	if !p.net.Connected(pod) {
		return list, nil
	}
	lacks, err := p.lacking(ctx, pod, list)
	if err != nil || len(lacks) == 0 {
		return lacks, err
	}
	var here []*placing
	var left []wanted
	for _, w := range lacks {
		if owned, _ := p.store.Has(w.id); owned {
			here = append(here, &placing{wanted: w})
		} else {
			left = append(left, w)
		}
	}
	if len(here) == 0 {
		return left, nil
	}
	acked, err := p.send(ctx, pod, here)
	for _, c := range here {
		if !slices.Contains(acked, c) {
			left = append(left, c.wanted)
		}
	}
	return left, err
}

// bringHere has this pod own blocks; with pull unset it only looks.
func (p *Pod) bringHere(ctx context.Context, list []wanted, pull bool) ([]wanted, error) {
	var left []wanted
	var errs []error
	for _, w := range list {
		err := p.leaving.stay(ctx, w.id)
		if owned, _ := p.store.Has(w.id); owned && err == nil {
			continue
		}
		if pull {
			err = p.working(ctx, pace.Balance, func(ctx context.Context) error { return p.ownBlock(ctx, w.id) })
			errs = append(errs, err)
		}
		if !pull || err != nil {
			left = append(left, w)
		}
	}
	if pull {
		errs = append(errs, p.store.Sync(ctx))
	}
	return left, errors.Join(errs...)
}

// ownBlock makes a block this pod's own: a cached copy, or one from another pod.
func (p *Pod) ownBlock(ctx context.Context, id block.ID) error {
	if err := p.leaving.stay(ctx, id); err != nil {
		return err
	}
	owned, isCached := p.store.Has(id)
	if owned {
		return nil
	}
	if isCached || p.store.InTrash(id) {
		defer p.leases.release(p.leases.take(id))
		if err := p.store.Own(ctx, id); err == nil {
			return nil
		}
	}
	_, err := p.fetchBlock(ctx, id, true)
	return err
}
