package pod

import (
	"context"
	"errors"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// unfoldedTries is how often a checkpoint is tried that files in the middle of their fsyncs are in the way of.
const unfoldedTries = 5

// When checkpoints are made (DESIGN section 5).
const (
	checkpointIdle = 200 * time.Millisecond // after the last change
	checkpointBusy = 2 * time.Second        // after the first change, under load
)

// touched says that the state changed: a checkpoint is due.
func (p *Pod) touched() {
	select {
	case p.checkpoints <- struct{}{}:
	default:
	}
}

// committed publishes a commit that is durable (I2): the head, with the commits that are new.
func (p *Pod) committed(ctx context.Context) {
	p.touched()
	p.spread.fresh()
	vv := p.db.VV()
	mine := vv[p.actor]
	since := vv
	since[p.actor] = p.published
	p.published = mine
	if len(p.connected()) == 0 {
		return // heads are exchanged when a pod connects
	}
	message, err := p.headMessage(ctx, since)
	if err != nil {
		p.log.ErrorContext(ctx, "a commit could not be published; the next one carries it", "err", err)
		return
	}
	if len(message) > p2p.TellMax {
		message, err = p.headMessage(ctx, nil)
		if err != nil {
			return
		}
	}
	p.tellAll(p2p.KindHead, message)
}

// runCheckpoints makes checkpoints and publishes heads that name them.
func (p *Pod) runCheckpoints(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.checkpoints:
		}
		if err := p.quiet(ctx); err != nil {
			return err
		}
		if _, err := p.checkpoint(ctx); err != nil && ctx.Err() == nil {
			p.log.ErrorContext(ctx, "no checkpoint could be made; trying again after the next change", "err", err)
		}
		p.truncateLog(ctx)
	}
}

// quiet waits until nothing has changed for a while, or for long enough.
func (p *Pod) quiet(ctx context.Context) error {
	begin := p.clock.Now()
	for clock.Since(p.clock, begin) < checkpointBusy {
		timer := p.clock.NewTimer(checkpointIdle)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-p.checkpoints:
			timer.Stop()
		case <-timer.C:
			return nil
		}
	}
	return nil
}

// checkpoint makes one, and tells the others.
func (p *Pod) checkpoint(ctx context.Context) (state.CheckpointInfo, error) {
	p.treeing.Lock()
	defer p.treeing.Unlock()
	defer p.leases.release(p.leases.hold()) // until the checkpoint is known to exist
	before := p.db.LastCheckpoint()
	made, err := p.db.Checkpoint(ctx)
	for range unfoldedTries {
		if !errors.Is(err, state.ErrUnfolded) {
			break
		}
		// A file was synced while its row waited to be committed.
		if err = errors.Join(p.foldJournals(ctx, false), p.barrier.wait(ctx)); err == nil {
			made, err = p.db.Checkpoint(ctx)
		}
	}
	if err != nil || made.State == before.State {
		return made, err
	}
	if message, err := p.headMessage(ctx, nil); err == nil {
		p.tellAll(p2p.KindHead, message)
	}
	return made, nil
}
