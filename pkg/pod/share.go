package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// Share is what of the network's data a pod takes.
type Share struct {
	Weight      uint32 // beside those of others; 0: nothing, as a portal
	Zone, Class string // see placement.Entry
	Priority    uint32 // the same
}

// SetShare has the pod take another share from here on, and tells all. What it holds that others should have then it gives up once they have it. A pod
// that was drained and removed stays so until that is undone. It is durable here when it returns nil. Error: placement.ErrBadEntry.
func (p *Pod) SetShare(ctx context.Context, s Share) error {
	err := errors.Join(ident.CheckLabel(s.Zone), ident.CheckLabel(s.Class))
	if s.Weight > placement.WeightMax {
		err = errors.Join(err, fmt.Errorf("weight %d, over the limit of %d", s.Weight, placement.WeightMax))
	}
	if s.Priority > placement.PriorityMax {
		err = errors.Join(err, fmt.Errorf("priority %d, over the limit of %d", s.Priority, placement.PriorityMax))
	}
	if err != nil {
		return fmt.Errorf("pod: share: %w: %w", placement.ErrBadEntry, err)
	}
	p.share.Store(&s)
	e, _ := p.reg.entry(p.id)
	want := e.Prefer(s.Priority)
	want.Zone, want.Class = s.Zone, s.Class
	if !e.Drain || e.Weight > 0 {
		want.Weight = s.Weight
	}
	if want.Weight == e.Weight && want.Zone == e.Zone && want.Class == e.Class && s.Priority == e.Priority() {
		return nil
	}
	if err := p.signEntry(ctx, want); err != nil {
		return err
	}
	p.spread.poke()
	return nil
}
