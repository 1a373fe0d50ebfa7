package pod

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/erasure"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// target is a pod that is to hold a fragment.
type target struct {
	pod   ident.Pod
	index int
}

// errSamePod says that two fragments of a stripe would lie on one pod: they would be lost together.
var errSamePod = errors.New("two fragments of one block for one pod")

// encodeTo cuts a block of this pod into k+m fragments and puts some of them to other pods, and to this one; it returns their stripe, and an error for each target: nil means durable
// there, whether it was sent or there before. form is the block as it is sent; nil: as this pod has stored it. It is proved to be the block before anything is made of it (I7).
//
// Errors of the whole: block.ErrNotFound, block.ErrCorrupt, block.ErrBadID for k, m or a target that there can't be, errSamePod.
func (p *Pod) encodeTo(ctx context.Context, id block.ID, form []byte, k, m int, targets []target) (block.Stripe, []error, error) {
	seen := make(map[ident.Pod]bool)
	for _, t := range targets {
		switch {
		case seen[t.pod]:
			return block.Stripe{}, nil, fmt.Errorf("pod: encode %s: %s: %w", id, p.reg.name(t.pod), errSamePod)
		case t.index < 0 || t.index >= k+m:
			return block.Stripe{}, nil, fmt.Errorf("pod: encode %s: fragment %d of %d+%d: %w", id, t.index, k, m, block.ErrBadID)
		}
		seen[t.pod] = true
	}
	if form == nil {
		var err error
		if form, err = p.store.Wire(ctx, id); err != nil {
			return block.Stripe{}, nil, fmt.Errorf("pod: encode %s: %w", id, err)
		}
	}
	if _, err := p.store.OpenWire(id, form); err != nil {
		return block.Stripe{}, nil, fmt.Errorf("pod: encode %s: %w", id, err)
	}
	set := p.coding.set()
	defer p.coding.give(set)
	if err := p.coding.codec.Cut(set, id, form, k, m); err != nil {
		return block.Stripe{}, nil, fmt.Errorf("pod: encode %s: %w", id, err)
	}
	return set.Record().Stripe, p.sendSet(ctx, set, targets), nil
}

// sendSet puts fragments of a set, which has them, to their targets at once.
func (p *Pod) sendSet(ctx context.Context, set *erasure.Set, targets []target) []error {
	errs := make([]error, len(targets))
	var group errgroup.Group
	for i, t := range targets {
		group.Go(func() error {
			if errs[i] = p.sendFragment(ctx, set, t); errs[i] != nil {
				errs[i] = fmt.Errorf("pod: fragment %d of %s to %s: %w", t.index, set.Record().ID, p.reg.name(t.pod), errs[i])
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return errs
}

func (p *Pod) sendFragment(ctx context.Context, set *erasure.Set, t target) error {
	f := block.Fragment{Stripe: set.Record().Stripe, I: uint8(t.index)}
	wire, err := set.AppendWire(nil, t.index)
	if err != nil {
		return err
	}
	if t.pod == p.id {
		return p.keepFragment(ctx, f, wire)
	}
	return p.putFragment(ctx, t.pod, f, wire)
}

// putFragment puts a fragment to another pod: it is durable there, whether it was sent or there before.
func (p *Pod) putFragment(ctx context.Context, to ident.Pod, f block.Fragment, wire []byte) error {
	if _, speaks := p.coding.speaks.Load(to); !speaks {
		// A pod of a version without fragments would end the connection; it answers no such question.
		if _, err := p.askFragments(ctx, to, []block.ID{f.ID}); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	errs, err := p.net.PutFragments(ctx, to, 1, func(int) block.Fragment { return f }, func(int) ([]byte, error) { return wire, nil })
	return errors.Join(append(errs, err)...)
}

// keepFragment stores a fragment here, durably.
func (p *Pod) keepFragment(ctx context.Context, f block.Fragment, wire []byte) error {
	if err := p.leaving.stay(ctx, f.ID); err != nil {
		return err
	}
	defer p.leases.release(p.leases.take(f.ID))
	// Durable by this: the fragment.
	return fullDisk(errors.Join(p.store.PutFragment(ctx, f, wire), p.store.Sync(ctx)))
}

// copyFragment has this pod hold a fragment that another one holds. That one keeps it.
func (p *Pod) copyFragment(ctx context.Context, from ident.Pod, f block.Fragment) error {
	wire, err := p.fetchFragment(ctx, holding{from, f})
	if err == nil {
		err = p.keepFragment(ctx, f, wire)
	}
	if err != nil {
		return fmt.Errorf("pod: copy %s from %s: %w", f, p.reg.name(from), err)
	}
	return nil
}

// rebuildFragment makes a fragment again out of others, here, and stores it (I7): the whole block is joined from k others and proved, cut anew, and only then the fragment is
// taken. With too few fragments a whole copy of this pod does as well, if it is of the same form.
func (p *Pod) rebuildFragment(ctx context.Context, f block.Fragment) error {
	_, set, err := p.gather(ctx, f.ID, func(s block.Stripe) bool { return s == f.Stripe }, nil)
	if err == nil {
		err = p.coding.codec.Rebuild(set, func(form []byte) error {
			_, err := p.store.OpenWire(f.ID, form)
			return err
		})
	} else if set = p.recut(ctx, f.Stripe); set != nil {
		err = nil
	}
	if set != nil {
		defer p.coding.give(set)
	}
	var wire []byte
	if err == nil {
		wire, err = set.AppendWire(nil, int(f.I))
	}
	if err == nil {
		err = p.keepFragment(ctx, f, wire)
	}
	if err != nil {
		return fmt.Errorf("pod: rebuild %s: %w", f, err)
	}
	return nil
}

// recut is a stripe cut from this pod's whole copy; nil if there is none, or it is stored in another form.
func (p *Pod) recut(ctx context.Context, s block.Stripe) *erasure.Set {
	form, err := p.store.Wire(ctx, s.ID)
	if err != nil {
		return nil
	}
	if _, err := p.store.OpenWire(s.ID, form); err != nil {
		return nil
	}
	set := p.coding.set()
	if err := p.coding.codec.Cut(set, s.ID, form, int(s.K), int(s.M)); err != nil || set.Record().Stripe != s {
		p.coding.give(set)
		return nil
	}
	return set
}

// mendFragment makes a fragment of this pod again that is damaged.
func (p *Pod) mendFragment(ctx context.Context, f block.Fragment) error {
	err := p.rebuildFragment(ctx, f)
	p.damaged.setFragment(f, err != nil)
	return err
}
