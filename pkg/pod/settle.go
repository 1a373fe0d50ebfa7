package pod

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

const (
	settlePoll    = 100 * time.Millisecond // between looks of SyncWait, at first
	settlePollMax = 2 * time.Second
	settleAsk     = 5 * time.Second // between messages of SyncWait that have other pods look at what they are to do
)

// ErrNotSafe says that something has fewer copies than its policy asks for, and that this can't be changed now.
var ErrNotSafe = errors.New("not safe under its policy")

// Settle makes all that was done before durable here, commits it and offers it to the other pods.
func (p *Pod) Settle(ctx context.Context) error {
	return errors.Join(p.stageAll(ctx), p.barrier.wait(ctx))
}

// SyncWait waits until all contents at and below a node are where their policies want them, and the changes that were made here before are known to as many
// pods as the root's policy asks for copies, or to all that are connected. With too few live pods it brings about the best that can be had and returns
// ErrNotSafe, which says what is missing.
func (p *Pod) SyncWait(ctx context.Context, id vfs.NodeID) error {
	if err := p.sees(); err != nil {
		return err
	}
	if err := p.Settle(ctx); err != nil {
		return err
	}
	changes, known := p.db.VV(), false
	var asked time.Time
	for pause := settlePoll; ; pause = min(2*pause, settlePollMax) {
		coming := p.onTheirWay() // before it is placed: who comes meanwhile is a holder the next time
		got, err := p.placeBelow(ctx, id)
		if ctx.Err() != nil {
			return fmt.Errorf("pod: %d copies are still missing (%s): %w: %w", got.missing, got.lack, ErrNotSafe, ctx.Err())
		}
		if err == nil && id == vfs.RootID {
			p.spread.count(got) // who asks for the status next is not told what was so before
		}
		switch {
		case err == nil && got.missing == 0 && got.short == 0 && coming == 0 && p.pulls.idle():
			if known, err = p.areKnown(ctx, changes); err != nil || known {
				return err
			}
		case err == nil && got.missing == 0 && got.short > 0 && coming == 0:
			return fmt.Errorf("pod: %d blocks are on fewer pods than the %d that they need, since %d pods that store data are up: add a pod, or start one that is down: %w",
				got.short, got.need, p.placing().Live().Len(), ErrNotSafe)
		case err != nil:
			p.log.InfoContext(ctx, "sync: trying again", "missing", got.missing, "err", err)
		}
		if now := p.clock.Now(); got.missing > 0 && now.Sub(asked) >= settleAsk {
			p.tellAll(p2p.KindPlace, nil) // what this pod could do of it, it has done
			asked = now
		}
		if err := clock.Sleep(ctx, p.clock, pause); err != nil {
			if got.missing == 0 && !known {
				return fmt.Errorf("pod: the changes that were made here are not known to enough other pods: %w: %w", ErrNotSafe, err)
			}
			return fmt.Errorf("pod: %d copies are still missing (%s): %w: %w", got.missing, got.lack, ErrNotSafe, err)
		}
	}
}

// areKnown says whether changes are known to as many pods as the root's policy asks for copies, this one among them, or to all that are connected.
func (p *Pod) areKnown(ctx context.Context, changes state.VV) (bool, error) {
	root, err := p.wantsOf([]state.Node{{Attr: vfs.Attr{ID: vfs.RootID}}})
	if err != nil {
		return false, err
	}
	return len(p.whoKnows(ctx, changes)) >= min(root[0].policy.Losses(), len(p.sighted()))+1, nil
}

// onTheirWay is the number of pods that are not known to be down and that have not told yet what they have.
func (p *Pod) onTheirWay() int {
	n := 0
	for pod, s := range p.states() {
		switch {
		case pod == p.id:
		case s == "suspect", s == "up" && !p.peers.of(pod).met:
			n++
		}
	}
	return n
}

// placeBelow places the contents at and below a node.
func (p *Pod) placeBelow(ctx context.Context, id vfs.NodeID) (placed, error) {
	var total placed
	var errs []error
	var batch []state.Node
	flush := func() {
		got, err := p.place(ctx, batch, placeOptions{pull: true})
		total.add(got)
		errs = append(errs, err)
		batch = batch[:0]
	}
	err := p.eachBelow(ctx, id, func(n state.Node) error {
		if batch = append(batch, n); len(batch) >= spreadBatch {
			flush()
		}
		return ctx.Err()
	})
	flush()
	return total, errors.Join(append(errs, err)...)
}

// eachBelow calls f with the contents of all files at and below a node.
func (p *Pod) eachBelow(ctx context.Context, id vfs.NodeID, f func(state.Node) error) error {
	if id == vfs.RootID {
		return p.db.EachContent(ctx, f)
	}
	n, err := p.db.Get(id)
	if err != nil {
		return err
	}
	if n.Kind != vfs.KindFolder {
		return f(n)
	}
	for after := ""; ; {
		entries, err := p.db.List(id, after, spreadBatch)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			after = e.Name
			if e.Node.Kind == vfs.KindFolder {
				err = p.eachBelow(ctx, e.Node.ID, f)
			} else {
				err = f(e.Node)
			}
			if err != nil {
				return err
			}
		}
	}
}

// stageAll stages every file that was written. Where blocks of other pods are missing for that, it makes what was written durable in the journal, if that
// can say it, so that a pod that does not answer stops neither this nor the end of the daemon.
func (p *Pod) stageAll(ctx context.Context) error {
	p.nodes.mu.Lock()
	var list []*node
	for _, n := range p.nodes.byID {
		n.refs++
		list = append(list, n)
	}
	p.nodes.mu.Unlock()
	var errs []error
	logged := false
	for _, n := range list {
		err := p.stageSoon(ctx, n)
		if _, isMissing := errors.AsType[missing](err); isMissing {
			var done bool
			if done, err = p.logWrites(n); done {
				logged = true
			} else if err == nil {
				err = p.stage(ctx, n)
			}
		}
		errs = append(errs, err)
		p.release(n)
	}
	if logged {
		errs = append(errs, p.syncLog(ctx))
	}
	return errors.Join(errs...)
}
