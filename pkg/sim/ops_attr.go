package sim

import (
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

func (p *statePod) opSetAttr(context.Context) error {
	at, err := p.pick()
	if err != nil {
		return err
	}
	mode, mtime, uid := p.rng.Uint32N(0o10000), p.rng.Int64N(1<<40), p.rng.Uint32N(100)
	set := vfs.SetAttr{}
	if p.rng.IntN(2) == 0 {
		set.Mode = &mode
	}
	if p.rng.IntN(2) == 0 {
		set.Mtime = &mtime
	}
	if p.rng.IntN(2) == 0 {
		set.UID = &uid
	}
	n, err := p.db.SetAttr(at.node.ID, set)
	if err != nil {
		return err
	}
	p.w.trace.say("%d: attributes of %d = %d", p.n, at.node.ID, n.ID)
	return nil
}

func (p *statePod) opXattr(context.Context) error {
	at, err := p.pick()
	if err != nil {
		return err
	}
	name := "user." + string(rune('a'+p.rng.IntN(3)))
	var n state.Node
	if p.rng.IntN(4) == 0 {
		n, err = p.db.RemoveXattr(at.node.ID, name)
	} else {
		p.w.count++
		n, err = p.db.SetXattr(at.node.ID, name, fmt.Appendf(nil, "%d", p.w.count), 0)
	}
	if err != nil {
		return err
	}
	p.w.trace.say("%d: xattr %s of %d = %d", p.n, name, at.node.ID, n.ID)
	return nil
}

func (p *statePod) opWish(context.Context) error {
	at, err := p.pick()
	if err != nil {
		return err
	}
	policy := []string{"none", "replica:2", "replica:3"}[p.rng.IntN(3)]
	e := state.WishEdit{Policy: &policy}
	if p.rng.IntN(2) == 0 {
		pod := ident.Pod{byte(p.rng.IntN(4))}
		e = state.WishEdit{Pin: []ident.Pod{pod}}
		if p.rng.IntN(2) == 0 {
			e = state.WishEdit{Unpin: []ident.Pod{pod}}
		}
	}
	if err := p.db.SetWish(at.node.ID, e); err != nil {
		return err
	}
	p.w.trace.say("%d: wish of %d", p.n, at.node.ID)
	return nil
}

func (p *statePod) opSnapshot(context.Context) error {
	root := p.db.LastCheckpoint().Tree
	name := names[p.rng.IntN(6)]
	if p.rng.IntN(4) == 0 {
		root = block.ID{}
	}
	if err := p.db.SetSnapshot(name, root); err != nil {
		return err
	}
	p.w.trace.say("%d: snapshot %q", p.n, name)
	return nil
}

// opOwner gives a file or folder to another owner and group.
func (p *statePod) opOwner(context.Context) error {
	at, err := p.pick()
	if err != nil {
		return err
	}
	uid, gid := p.rng.Uint32N(100), p.rng.Uint32N(100)
	set := vfs.SetAttr{GID: &gid}
	if p.rng.IntN(2) == 0 {
		set.UID = &uid
	}
	n, err := p.db.SetAttr(at.node.ID, set)
	if err != nil {
		return err
	}
	p.w.trace.say("%d: owner of %d = %d", p.n, at.node.ID, n.ID)
	return nil
}

// opHomes wishes where something lies, or what its writes wait for.
func (p *statePod) opHomes(context.Context) error {
	at, err := p.pick()
	if err != nil {
		return err
	}
	durability := []string{"local", "quorum", "full"}[p.rng.IntN(3)]
	e := state.WishEdit{Durability: &durability}
	if p.rng.IntN(2) == 0 {
		homes := []ident.Pod{{byte(p.rng.IntN(4))}, {byte(4 + p.rng.IntN(4))}}[:p.rng.IntN(3)]
		e = state.WishEdit{Homes: &homes}
	}
	if err := p.db.SetWish(at.node.ID, e); err != nil {
		return err
	}
	p.w.trace.say("%d: homes or durability of %d", p.n, at.node.ID)
	return nil
}
