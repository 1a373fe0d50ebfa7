package pod

import (
	"context"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// errFrozen says why a change is refused.
var errFrozen = fmt.Errorf("this pod is frozen, until the time that was given or wh pod unfreeze: %w", vfs.ErrReadOnly)

// frozen says whether a pod may be silent now without anything being made again.
func (p *Pod) frozen(pod ident.Pod) bool {
	e, known := p.reg.entry(pod)
	return known && p.clock.Now().Before(e.Frozen())
}

// Freeze has this pod take no changes of users for some time, placement.FreezeMax at most, and others make nothing again of what it has while it is silent in that
// time: it is to be restarted. What was written before is settled when it returns. Error: vfs.ErrInvalid for a time that there can't be.
func (p *Pod) Freeze(ctx context.Context, d time.Duration) (until time.Time, err error) {
	if d <= 0 || d > placement.FreezeMax {
		return until, fmt.Errorf("pod: freeze for %s: at most %s: %w", d, placement.FreezeMax, vfs.ErrInvalid)
	}
	until = p.clock.Now().Add(d)
	if err := p.setFrozen(ctx, until); err != nil {
		return until, err
	}
	return until, p.Settle(ctx)
}

// Unfreeze ends that. It is no error where there is nothing to end.
func (p *Pod) Unfreeze(ctx context.Context) error {
	if !p.frozen(p.id) {
		return nil
	}
	return p.setFrozen(ctx, time.Time{})
}

func (p *Pod) setFrozen(ctx context.Context, until time.Time) error {
	e, _ := p.reg.entry(p.id)
	if err := p.signEntry(ctx, e.Freeze(until)); err != nil {
		return err
	}
	p.isFrozen.Store(!until.IsZero())
	return nil
}
