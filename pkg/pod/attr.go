package pod

import (
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// showNode puts into a row what is known of the file beyond the state. named is p.nodes.named as it was before the
// row was read: contents that were named since are not in the row, and their node may be gone.
func (p *Pod) showNode(row *state.Node, named uint64) {
	if row.Kind != vfs.KindFile {
		return
	}
	n := p.inUse(row.ID)
	if n != nil {
		defer p.release(n)
		n.mu.RLock() // nothing is named meanwhile
		defer n.mu.RUnlock()
	}
	if p.nodes.named.Load() != named {
		if again, err := p.db.Get(row.ID); err == nil {
			*row = again
		}
	}
	showBlocks(row)
	if n != nil {
		n.show(&row.Attr)
	}
}

// renumbered says whether what changed is a conflict copy that became a file of its own: every surface must look it up again.
func (p *Pod) renumbered(c vfs.Change) bool { return c.Node != 0 && p.db.Number(c.Node) != c.Node }

// GetAttr is vfs.FS's.
func (v *view) GetAttr(_ context.Context, id vfs.NodeID) (vfs.Attr, error) { return v.p.attr(id) }

func (p *Pod) attr(id vfs.NodeID) (vfs.Attr, error) {
	named := p.nodes.named.Load()
	row, err := p.db.Get(id)
	if err == nil {
		p.showNode(&row, named)
		row.ID = id // that of a conflict copy that became a file stays, for who was told it
		return row.Attr, nil
	}
	if n := p.inUse(id); n != nil {
		defer p.release(n)
		n.mu.RLock()
		defer n.mu.RUnlock()
		switch {
		case n.orphan:
			a := n.attr
			a.NLink = 0
			return a, nil
		case n.row != id: // another pod removed it, and it was made again
			row, err := p.db.Get(n.row)
			n.show(&row.Attr)
			row.ID = id
			return row.Attr, err
		case n.loaded: // another pod removed it
			return n.attr, nil
		}
	}
	return vfs.Attr{}, err
}

// SetAttr is vfs.FS's.
func (v *view) SetAttr(ctx context.Context, id vfs.NodeID, set vfs.SetAttr) (vfs.Attr, error) {
	p := v.p
	if err := p.changeable(id); err != nil {
		return vfs.Attr{}, err
	}
	defer v.changedNode(id)
	if set.Size != nil {
		if err := p.setSize(ctx, id, *set.Size); err != nil {
			return vfs.Attr{}, err
		}
	}
	rest := set
	rest.Size = nil
	if n := p.inUse(id); n != nil {
		done, err := n.setAttr(&rest)
		p.release(n)
		if err != nil {
			return vfs.Attr{}, err
		}
		p.bump(id)
		if done {
			return p.attr(id)
		}
	}
	if rest != (vfs.SetAttr{}) {
		if _, err := p.db.SetAttr(id, rest); err != nil {
			return vfs.Attr{}, err
		}
		p.refresh(id)
	}
	return p.attr(id)
}

// setAttr sets what the node keeps itself and clears it from set. It says whether nothing is left to set,
// since the node has no name any more.
func (n *node) setAttr(set *vfs.SetAttr) (done bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.orphan {
		if set.Mode != nil {
			n.attr.Mode = *set.Mode & 0o7777
		}
		if set.UID != nil {
			n.attr.UID = *set.UID
		}
		if set.GID != nil {
			n.attr.GID = *set.GID
		}
		if set.Atime != nil {
			n.attr.Atime = *set.Atime
		}
		if set.Mtime != nil {
			n.attr.Mtime = *set.Mtime
		}
		return true, nil
	}
	if n.loaded && n.changed() && set.Mtime != nil {
		n.setMtimeLocked(*set.Mtime)
		set.Mtime = nil
	}
	return false, nil
}

// setSize truncates or extends a file, open or not.
func (p *Pod) setSize(ctx context.Context, id vfs.NodeID, size uint64) error {
	a, err := p.attr(id)
	if err != nil {
		return err
	}
	switch a.Kind {
	case vfs.KindFile:
	case vfs.KindFolder:
		return fmt.Errorf("pod: set the size of folder %d: %w", id, vfs.ErrIsDir)
	default:
		return fmt.Errorf("pod: set the size of node %d, which is no file: %w", id, vfs.ErrInvalid)
	}
	n, err := p.use(id)
	if err != nil {
		return err
	}
	err = p.locked(ctx, n, func(h here) error { return p.truncateLocked(ctx, h, n, size) })
	p.quotas.shrank()
	if err != nil {
		p.release(n)
		return err
	}
	p.nodes.mu.Lock()
	open := n.opens > 0
	p.nodes.mu.Unlock()
	if open {
		p.release(n)
		return nil // its close stages it
	}
	return p.saved(n, p.stage(ctx, n))
}
