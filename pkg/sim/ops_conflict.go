package sim

import (
	"context"

	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// opResolve has a user end a conflict: one version is kept, or all are.
func (p *statePod) opResolve(ctx context.Context) error {
	all, err := p.db.Conflicts(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	c := all[p.rng.IntN(len(all))]
	keep := state.KeepAll
	if i := p.rng.IntN(len(c.Versions) + 1); i < len(c.Versions) {
		keep = c.Versions[i].ID
	}
	gone, err := p.db.Resolve(c.Parent, c.Name, c.Kind, keep)
	if err != nil {
		return err
	}
	p.w.trace.say("%d: conflict %d at %d/%q ends: %s is kept", p.n, c.Kind, c.Parent, c.Name, keep)
	if keep != state.KeepAll && c.Kind == state.ConflictContents {
		if err := p.dropOthers(&c, keep); err != nil {
			return err
		}
	}
	for _, n := range gone {
		if err := p.removed(ctx, n, n.Kind == vfs.KindFolder); err != nil {
			return err
		}
	}
	return nil
}

// dropOthers notes that the texts of the versions that were not kept go.
func (p *statePod) dropOthers(c *state.Conflict, keep string) error {
	for i := range c.Versions {
		if v := &c.Versions[i]; v.ID != keep {
			text, err := textOf(v.Node)
			if err != nil {
				return err
			}
			p.w.shadow.drop(text)
		}
	}
	return nil
}
