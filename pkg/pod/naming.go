package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Create is vfs.FS's.
func (v *view) Create(ctx context.Context, parent vfs.NodeID, name string, n vfs.NewNode) (vfs.Attr, error) {
	if err := v.p.changeable(parent); err != nil {
		return vfs.Attr{}, err
	}
	// A symlink's target may be a block.
	defer v.p.leases.release(v.p.leases.hold())
	if err := v.p.putTarget(ctx, n); err != nil {
		return vfs.Attr{}, err
	}
	row, err := v.p.db.Create(parent, name, n, state.CreateOptions{}) //nolint:contextcheck // operations take no context
	if err != nil {
		return vfs.Attr{}, v.p.notFolder(parent, err)
	}
	v.changed(vfs.Change{Parent: parent, Name: name}, vfs.Change{Node: parent})
	return row.Attr, nil
}

// putTarget makes the chunk durable that a symlink's long target becomes, before a row names it (I2a).
func (p *Pod) putTarget(ctx context.Context, n vfs.NewNode) error {
	if n.Kind != vfs.KindSymlink || len(n.Target) <= dag.InlineMax || len(n.Target) > vfs.TargetMax {
		return nil
	}
	if _, _, err := p.putChunk(ctx, []byte(n.Target), making{}); err != nil {
		return fmt.Errorf("pod: put a symlink's target: %w", err)
	}
	return p.store.Sync(ctx)
}

// Link is vfs.FS's.
func (v *view) Link(ctx context.Context, id, parent vfs.NodeID, name string) (vfs.Attr, error) {
	if err := v.p.changeable(parent, id); err != nil {
		return vfs.Attr{}, err
	}
	if err := v.p.settleNode(ctx, id); err != nil {
		return vfs.Attr{}, err
	}
	if err := v.p.spendLink(ctx, id, parent); err != nil {
		return vfs.Attr{}, err
	}
	named := v.p.nodes.named.Load()
	row, err := v.p.db.Link(id, parent, name)
	if err != nil {
		return vfs.Attr{}, v.p.notFolder(parent, err)
	}
	v.changed(vfs.Change{Parent: parent, Name: name}, vfs.Change{Node: parent}, vfs.Change{Node: id})
	v.p.showNode(&row, named)
	return row.Attr, nil
}

// settleNode has the contents of a file named before its name changes (I4): else another pod could see the
// new name with bytes that exist nowhere.
func (p *Pod) settleNode(ctx context.Context, id vfs.NodeID) error {
	if err := p.writable(); err != nil {
		return err
	}
	n := p.inUse(id)
	if n == nil {
		return nil
	}
	defer p.release(n)
	if err := p.stage(ctx, n); err != nil {
		return err
	}
	n.mu.RLock()
	wait := n.staged != nil
	n.mu.RUnlock()
	if !wait {
		return nil
	}
	return p.barrier.wait(ctx)
}

// Rename is vfs.FS's.
func (v *view) Rename(ctx context.Context, parent vfs.NodeID, name string, newParent vfs.NodeID, newName string, f vfs.RenameFlag) error {
	p := v.p
	var moved vfs.NodeID
	for i, place := range []struct {
		parent vfs.NodeID
		name   string
	}{{parent, name}, {newParent, newName}} {
		row, err := p.db.Lookup(place.parent, place.name)
		if err == nil {
			err = p.settleNode(ctx, row.ID)
		}
		if err != nil && !errors.Is(err, vfs.ErrNotExist) {
			return err
		}
		if i == 0 {
			moved = row.ID
		}
		if f&vfs.RenameExchange == 0 {
			break // what is replaced needs no naming
		}
	}
	if err := p.changeable(parent, newParent, moved); err != nil {
		return err
	}
	if err := p.spendMoved(ctx, parent, newParent, moved); err != nil {
		return err
	}
	replaced, err := p.rename(ctx, parent, name, newParent, newName, f)
	if err != nil {
		return p.notFolder(parent, p.notFolder(newParent, err))
	}
	changes := []vfs.Change{
		{Parent: parent, Name: name},
		{Parent: newParent, Name: newName},
		{Node: parent},
		{Node: newParent},
		{Node: moved},
	}
	if replaced.ID != 0 {
		changes = append(changes, vfs.Change{Node: replaced.ID})
	}
	v.changed(changes...)
	return nil
}

// Remove is vfs.FS's.
func (v *view) Remove(ctx context.Context, parent vfs.NodeID, name string, folder bool) error {
	if err := v.p.changeable(parent); err != nil {
		return err
	}
	row, err := v.p.remove(ctx, parent, name, folder)
	if err != nil {
		return v.p.notFolder(parent, err)
	}
	v.changed(vfs.Change{Parent: parent, Name: name}, vfs.Change{Node: parent}, vfs.Change{Node: row.ID})
	return nil
}

// remove removes a name. No contents are named meanwhile: they would take the removal for another pod's.
func (p *Pod) remove(ctx context.Context, parent vfs.NodeID, name string, folder bool) (state.Node, error) {
	if err := p.removing.Acquire(ctx, 1); err != nil {
		return state.Node{}, fmt.Errorf("pod: %q waits for the disk to sync what was written before it: %w", name, err)
	}
	defer p.removing.Release(1)
	p.unlinking.Lock()
	defer p.unlinking.Unlock()
	row, err := p.db.Remove(parent, name, folder)
	p.quotas.shrank()
	if err == nil && row.NLink == 0 {
		p.orphaned(row)
	}
	return row, err
}

// rename moves a name, and returns what it replaced. As for remove, no contents are named meanwhile.
func (p *Pod) rename(ctx context.Context, parent vfs.NodeID, name string, newParent vfs.NodeID, newName string, f vfs.RenameFlag) (state.Node, error) {
	if err := p.removing.Acquire(ctx, 1); err != nil {
		return state.Node{}, fmt.Errorf("pod: %q waits for the disk to sync what was written before it: %w", name, err)
	}
	defer p.removing.Release(1)
	p.unlinking.Lock()
	defer p.unlinking.Unlock()
	replaced, err := p.db.Rename(parent, name, newParent, newName, f)
	p.quotas.shrank()
	if err == nil && replaced.ID != 0 && replaced.NLink == 0 {
		p.orphaned(replaced)
	}
	return replaced, err
}
