package sim

import (
	"context"
	"strings"

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
		if err := p.removed(n, n.Kind == vfs.KindFolder); err != nil {
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

// computedName is what a computed name is a function of.
type computedName struct {
	parent state.Ino
	name   string // that is claimed
	id     string // of the version
	hlc    state.HLC
}

// computed are the computed names that a pod shows.
func (p *statePod) computed(ctx context.Context) (map[computedName]string, error) {
	all, err := p.db.Conflicts(ctx)
	if err != nil {
		return nil, err
	}
	out := map[computedName]string{}
	for i := range all {
		c := &all[i]
		if c.Kind != state.ConflictContents {
			continue
		}
		for _, v := range c.Versions[1:] {
			out[computedName{c.Parent, c.Name, v.ID, v.HLC}] = v.Name
		}
	}
	return out, nil
}

// stayed says which computed names are others than before, although they stand for the same. One may: when what it was is taken by a real name, or was.
func (p *statePod) stayed(ctx context.Context, before map[computedName]string) error {
	after, err := p.computed(ctx)
	if err != nil {
		return p.failed(err)
	}
	var found problems
	for key, was := range before {
		is, ok := after[key]
		if ok && is != was && !strings.Contains(is[max(0, len(is)-30):]+was[max(0, len(was)-30):], "+") {
			found.add("pod %d: what claims %d/%q was shown as %q, and is as %q after others' changes", p.n, key.parent, key.name, was, is)
		}
	}
	return found.err()
}
