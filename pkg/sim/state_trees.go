package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// newTrees is what decides over trees and logs in half the simulations: in them pods catch up by trees too, and cut their logs. It draws from a source of its own, so that the
// other half is as it was without trees.
func newTrees(seed uint64) *rand.Rand {
	if rng := rand.New(rand.NewPCG(seed, 2)); rng.IntN(2) == 0 {
		return rng
	}
	return nil
}

// treeAct has a pod cut its log, or ask for a tree.
func (w *stateWorld) treeAct(ctx context.Context, p *statePod) error {
	if w.trees.IntN(3) > 0 {
		return p.truncate(ctx)
	}
	if q := w.pods[w.trees.IntN(len(w.pods))]; q != p {
		p.askTree(ctx, q)
	}
	return nil
}

// truncate drops old commits from a pod's log, as a pod that has heard from some of the others, or is short of space.
func (p *statePod) truncate(ctx context.Context) error {
	rng := p.w.trees
	lim := state.LogLimits{Known: state.VV{}, Keep: rng.Int64N(2000), Max: rng.Int64N(8000)}
	if rng.IntN(2) == 0 {
		lim.Passed = p.db.VV()
	}
	for _, q := range p.w.pods {
		if q == p {
			continue
		}
		vv := q.db.VV()
		lim.Known.Merge(vv)
		for a := range lim.Passed {
			lim.Passed[a] = min(lim.Passed[a], vv[a])
		}
	}
	self := p.db.Actor() // what the world has not noted is told from the log
	lim.Known[self] = min(lim.Known[self], p.noted[self])
	if rng.IntN(2) == 0 {
		if _, err := p.checkpoint(ctx); err != nil || p.disk.Failed() {
			return err
		}
	}
	n, err := p.db.Truncate(ctx, lim)
	if err != nil || p.disk.Failed() {
		return p.failed(err)
	}
	p.w.trace.say("%d: drops %d bytes of its log", p.n, n)
	return nil
}

// askTree asks another pod for its tree.
func (p *statePod) askTree(ctx context.Context, q *statePod) {
	have := p.db.VV()
	p.w.net.Send(p.n, q.n, func() error { return q.offer(ctx, p, have) })
}

// offer answers with the newest checkpoint, or one that is made now.
func (p *statePod) offer(ctx context.Context, to *statePod, have state.VV) error {
	o, err := p.db.Offer(ctx, have)
	if errors.Is(err, block.ErrNotFound) {
		if _, err := p.checkpoint(ctx); err != nil {
			return err
		}
		if p.disk.Failed() {
			return p.w.crash(ctx, p)
		}
		o, err = p.db.Offer(ctx, have)
	}
	if errors.Is(err, block.ErrNotFound) {
		return nil // nothing is lacking, or journals wait
	}
	if err != nil {
		return p.failed(err)
	}
	encoded := o.Encode()
	p.w.net.Send(p.n, to.n, func() error { return to.takeTree(ctx, p, encoded, have) })
	return nil
}

// takeTree joins what another pod offered when it was told what had been seen here.
func (p *statePod) takeTree(ctx context.Context, from *statePod, encoded []byte, asked state.VV) error {
	p.arm()
	if p.met[from.n] != from.life {
		if err := p.reconcile(ctx, from); err != nil {
			return err
		}
	}
	o, err := state.DecodeOffer(encoded)
	if err != nil {
		return fmt.Errorf("pod %d: offer of %d: %w", p.n, from.n, err)
	}
	o.Asked = asked
	err = o.Complete(ctx, from.db.Digests)
	if err == nil {
		err = p.fetchTree(ctx, from, o.Head)
	}
	if errors.Is(err, block.ErrNotFound) { // it lost its power meanwhile
		p.w.trace.say("%d: tree of %d: %v", p.n, from.n, err)
		return nil
	}
	if err != nil {
		return err
	}
	last, dirty := p.last(), p.db.Dirty()
	joined, err := p.db.Join(ctx, o)
	p.w.trace.say("%d: tree of %d: joined %v: %v", p.n, from.n, joined, err)
	switch {
	case p.disk.Failed():
		return p.w.crash(ctx, p)
	case (errors.Is(err, state.ErrFork) || errors.Is(err, block.ErrNotFound)) && p.w.forked:
		return errors.Join(p.reconcile(ctx, from), from.reconcile(ctx, p)) // one of the two may know of a fork
	case errors.Is(err, state.ErrFuture), errors.Is(err, state.ErrOutdated):
	case err != nil:
		return fmt.Errorf("pod %d: tree of %d: %w", p.n, from.n, err)
	}
	if (p.last() != last || p.db.Dirty() != dirty) && !p.imported && !p.w.forked {
		return fmt.Errorf("pod %d: a tree of %d made changes of its own (I6)", p.n, from.n)
	}
	return p.publish(ctx)
}

// fetchTree takes over the blocks of the rows' tree of a head.
func (p *statePod) fetchTree(ctx context.Context, from *statePod, head []byte) error {
	h, err := state.DecodeHead(head)
	if err != nil {
		return err
	}
	take := func(id block.ID) error {
		b, err := from.blocks.Get(ctx, id)
		if err != nil {
			return err
		}
		return p.blocks.Put(ctx, id, b)
	}
	b, err := from.blocks.Get(ctx, h.Checkpoint)
	if err != nil {
		return err
	}
	root, err := state.DecodeRoot(b)
	if err != nil {
		return err
	}
	return errors.Join(take(h.Checkpoint), dag.TreeNodes(ctx, from.blocks, root.Rows, take))
}
