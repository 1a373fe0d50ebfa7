package pod

import (
	"context"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// sweepFragments takes fragments of dead blocks out of use, as sweep does with blocks.
func (c *collection) sweepFragments(ctx context.Context) error {
	return c.p.store.EachFragment(ctx, func(f block.Fragment, bytes int64, trashed bool, _ time.Time) error {
		if err := c.rest(ctx); err != nil {
			return err
		}
		if trashed || c.live.has(f.ID) || c.p.leases.has(f.ID) {
			return nil
		}
		if !c.o.DryRun {
			take := c.p.store.TrashFragment
			if bytes == 0 { // damaged: there is nothing to come back
				take = c.p.store.DropDamaged
			}
			done, err := take(ctx, f, func() bool { return c.p.leases.has(f.ID) })
			if err != nil || !done {
				return err
			}
			c.p.damaged.setFragment(f, false)
		}
		c.out.Garbage++
		c.out.GarbageBytes += bytes
		return c.took(ctx)
	})
}

// trashedFragments looks at the fragments in the trash, as trash does at blocks.
func (c *collection) trashedFragments(ctx context.Context) error {
	return c.p.store.EachFragment(ctx, func(f block.Fragment, bytes int64, trashed bool, since time.Time) error {
		if err := c.rest(ctx); err != nil || !trashed {
			return err
		}
		if c.live.has(f.ID) && bytes > 0 {
			c.out.Restored++
			c.out.RestoredBytes += bytes
			if c.o.DryRun {
				return nil
			}
			return c.p.store.OwnFragment(ctx, f)
		}
		if (c.waited(since) || bytes == 0) && !c.p.leases.has(f.ID) {
			done := true
			if !c.o.DryRun {
				var err error
				if done, err = c.p.store.DropFragment(ctx, f, func() bool { return c.p.leases.has(f.ID) }); err != nil {
					return err
				}
			}
			if done {
				c.out.Freed++
				c.out.FreedBytes += bytes
				return c.took(ctx)
			}
		}
		c.out.Kept++
		c.out.KeptBytes += bytes
		return nil
	})
}
