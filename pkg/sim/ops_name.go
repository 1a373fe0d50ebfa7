package sim

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// rename renames, and notes what it replaced.
func (p *statePod) rename(ctx context.Context, from place, parent state.Ino, name string, flags vfs.RenameFlag) error {
	dst, err := p.db.Lookup(parent, name)
	if err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	replaced, err := p.db.Rename(from.parent, from.name, parent, name, flags)
	if err != nil {
		return err
	}
	p.w.trace.say("%d: rename %d/%q (%d) to %d/%q, flags %d, over %d, which had %d links", p.n, from.parent, from.name, from.node.ID, parent, name, flags, replaced.ID, dst.NLink)
	return p.removed(ctx, replaced, dst.Kind == vfs.KindFolder)
}

func (p *statePod) opRename(ctx context.Context) error {
	at, err := p.pick()
	if err != nil || at.name == "" {
		return err
	}
	parent, err := p.folder()
	if err != nil {
		return err
	}
	flags := vfs.RenameFlag(0)
	if p.rng.IntN(8) == 0 {
		flags = vfs.RenameNoReplace
	}
	return p.rename(ctx, at, parent, p.name(), flags)
}

// opRenameInto moves one thing to where another is: over it, or in exchange.
func (p *statePod) opRenameInto(ctx context.Context) error {
	at, err := p.pick()
	if err != nil || at.name == "" {
		return err
	}
	to, err := p.pick()
	if err != nil || to.name == "" {
		return err
	}
	switch p.rng.IntN(3) {
	case 0:
		return p.rename(ctx, at, to.parent, to.name, vfs.RenameExchange)
	case 1:
		if to.node.Kind == vfs.KindFolder { // folders into each other, mostly
			return p.rename(ctx, at, to.node.ID, p.name(), 0)
		}
	}
	return p.rename(ctx, at, to.parent, to.name, 0)
}

// opSave saves as editors do: a new file beside, renamed over the old one.
func (p *statePod) opSave(ctx context.Context) error {
	at, err := p.file()
	if err != nil || at.node.Kind != vfs.KindFile {
		return err
	}
	text := p.text()
	c := content(text)
	tmp := fmt.Sprintf(".tmp%d", p.w.count)
	n, err := p.db.Create(at.parent, tmp, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644}, state.CreateOptions{Content: &c}) //nolint:contextcheck // operations of the state take no context
	if err != nil {
		return err
	}
	p.wrote(text)
	p.w.trace.say("%d: create %d/%q = %d %q", p.n, at.parent, tmp, n.ID, text)
	if err := p.made(n.ID); err != nil {
		return err
	}
	return p.rename(ctx, place{parent: at.parent, name: tmp, node: n}, at.parent, at.name, 0)
}

func (p *statePod) opRemove(ctx context.Context) error {
	at, err := p.pick()
	if err != nil || at.name == "" {
		return err
	}
	return p.remove(ctx, at)
}

func (p *statePod) remove(ctx context.Context, at place) error {
	folder := at.node.Kind == vfs.KindFolder
	n, err := p.db.Remove(at.parent, at.name, folder)
	if err != nil {
		return err
	}
	p.w.trace.say("%d: remove %d/%q (%d), %d links are left", p.n, at.parent, at.name, n.ID, n.NLink)
	return p.removed(ctx, n, folder)
}

// opRemoveAll removes a folder and all in it.
func (p *statePod) opRemoveAll(ctx context.Context) error {
	at, err := p.pick()
	if err != nil || at.name == "" {
		return err
	}
	return p.removeAll(ctx, at, 0)
}

func (p *statePod) removeAll(ctx context.Context, at place, depth int) error {
	if at.node.Kind == vfs.KindFolder {
		if depth > depthMax {
			return fmt.Errorf("folder %d is %d deep: %w", at.node.ID, depth, block.ErrCorrupt)
		}
		all, err := p.db.List(at.node.ID, "", 0)
		if err != nil {
			return err
		}
		for _, e := range all {
			// A name may have gone with another: two contents of one file.
			err := p.removeAll(ctx, place{parent: at.node.ID, name: e.Name, node: e.Node}, depth+1)
			if err != nil && !errors.Is(err, vfs.ErrNotExist) {
				return err
			}
		}
	}
	return p.remove(ctx, at)
}

func (p *statePod) opLink(context.Context) error {
	at, err := p.file()
	if err != nil {
		return err
	}
	parent, err := p.folder()
	if err != nil {
		return err
	}
	name := p.name()
	n, err := p.db.Link(at.node.ID, parent, name)
	if err != nil {
		return err
	}
	p.w.trace.say("%d: link %d as %d/%q = %d", p.n, at.node.ID, parent, name, n.ID)
	return nil
}
