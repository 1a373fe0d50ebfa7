package pod

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// unfoldedTries is how often a checkpoint is tried that files in the middle of their fsyncs are in the way of.
const unfoldedTries = 5

// Removals and renames are held back by a checkpoint for holdFirst at the most, then, each time that what was staged could not be made durable meanwhile, for twice as long, up to holdLast.
const (
	holdFirst   = 250 * time.Millisecond
	holdLast    = 8 * time.Second
	removersMax = 1 << 30 // that remove at a time
)

// errSlow says that no checkpoint could be made without holding up removals for long.
var errSlow = errors.New("pod: the disk takes too long to sync what was written last for a checkpoint; look at its load and health")

// When checkpoints are made (DESIGN section 5).
const (
	checkpointIdle = 200 * time.Millisecond // after the last change
	checkpointBusy = 2 * time.Second        // after the first change, under load
	// Under load a checkpoint comes no sooner than so many times as long as the last one took, so that it takes a tenth of the time at most; but in a
	// minute at the latest (docs/adr/0007).
	checkpointShare = 10
	checkpointMax   = time.Minute
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
	self := p.db.Actor()
	mine, told := vv[self], uint64(0)
	if p.published.Actor == self {
		told = p.published.Seq
	}
	since := vv
	since[self] = told
	p.published = state.Dot{Actor: self, Seq: mine}
	if len(p.sighted()) == 0 {
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
	p.tellHead(message)
}

// tellHead tells the pods with which numbers were compared since they connected (I3); the others are told when that is done.
func (p *Pod) tellHead(message []byte) {
	for _, pod := range p.sighted() {
		if p.peers.of(pod).compared {
			p.net.Tell(pod, p2p.KindHead, message)
		}
	}
}

// runCheckpoints makes checkpoints and publishes heads that name them.
func (p *Pod) runCheckpoints(ctx context.Context) error {
	var took time.Duration
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.checkpoints:
		}
		if err := p.quiet(ctx, max(checkpointBusy, min(checkpointShare*took, checkpointMax))); err != nil {
			return err
		}
		begin := p.clock.Now()
		if _, err := p.checkpoint(ctx); err != nil && ctx.Err() == nil {
			p.log.ErrorContext(ctx, "no checkpoint could be made; trying again after the next change", "err", err)
		}
		took = clock.Since(p.clock, begin)
		p.saveHistory(ctx)
		p.truncateLog(ctx)
	}
}

// quiet waits until nothing has changed for a while, or for as long as most.
func (p *Pod) quiet(ctx context.Context, most time.Duration) error {
	begin := p.clock.Now()
	for clock.Since(p.clock, begin) < most {
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
	return p.checkpointLocked(ctx)
}

// checkpointWhole makes a checkpoint at a moment at which all contents are named that were staged before a name was removed: it commits all that was done, and nobody is to hear of a removal
// before the contents that its writer had finished first. Removals wait meanwhile.
func (p *Pod) checkpointWhole(ctx context.Context) (state.CheckpointInfo, error) {
	for {
		free, err := p.holdRemovals(ctx)
		if err != nil {
			return state.CheckpointInfo{}, err
		}
		made, err := p.db.CheckpointAt(ctx, free)
		free()
		if !errors.Is(err, state.ErrOvertaken) {
			return made, err
		}
	}
}

// holdRemovals holds removals back, and returns when all contents are named that were staged before. The caller calls free, once or more. A removal waits for what is staged while others are synced, no more,
// and not for a disk that takes long for that. Errors: errSlow, the context's.
func (p *Pod) holdRemovals(ctx context.Context) (free func(), err error) {
	for most := holdFirst; most <= holdLast; most *= 2 {
		if err := p.nameStaged(ctx); err != nil { // most of it while removals go on
			return nil, err
		}
		if err := p.removing.Acquire(ctx, removersMax); err != nil {
			return nil, err
		}
		free := sync.OnceFunc(func() { p.removing.Release(removersMax) })
		last, cancel := context.WithTimeout(ctx, most)
		err := p.nameStaged(last)
		cancel()
		if err == nil {
			return free, nil
		}
		free()
		if last.Err() == nil || ctx.Err() != nil {
			return nil, err
		}
	}
	return nil, errSlow
}

// nameStaged waits until what is staged is named.
func (p *Pod) nameStaged(ctx context.Context) error {
	if !p.barrier.anyStaged() {
		return nil
	}
	err := p.barrier.wait(ctx)
	if errors.Is(err, errClosed) { // what is staged is lost with the pod, which ends
		return nil
	}
	return err
}

// checkpointLocked is checkpoint while treeing is held.
func (p *Pod) checkpointLocked(ctx context.Context) (state.CheckpointInfo, error) {
	defer p.leases.release(p.leases.hold()) // until the checkpoint is known to exist
	before := p.db.LastCheckpoint()
	made, err := p.checkpointWhole(ctx)
	for range unfoldedTries {
		if !errors.Is(err, state.ErrUnfolded) {
			break
		}
		// A file was synced while its row waited to be committed.
		if err = errors.Join(p.foldJournals(ctx, false), p.barrier.wait(ctx)); err == nil {
			made, err = p.checkpointWhole(ctx)
		}
	}
	if err != nil || made.State == before.State {
		return made, err
	}
	p.madeRoot(made.Tree)
	p.records.wake()
	if message, err := p.headMessage(ctx, nil); err == nil {
		p.tellHead(message)
	}
	return made, nil
}
