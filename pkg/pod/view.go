package pod

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// A view is the pod's file system as one surface sees it. It tells the surface of changes that came from
// elsewhere: other pods and other surfaces.
type view struct {
	p       *Pod
	watches *watchers
}

var (
	_ vfs.FS      = (*view)(nil)
	_ vfs.Watcher = (*view)(nil)
)

// FS is a file system over the pod's tree for one more surface.
func (p *Pod) FS() vfs.FS { return pastView{&view{p: p, watches: &p.watches}} }

// changed tells the other surfaces of an operation of this one.
func (v *view) changed(c ...vfs.Change) { v.watches.tell(v, c) }

func (v *view) changedNode(id vfs.NodeID) { v.changed(vfs.Change{Node: id}) }

// Lookup is vfs.FS's.
func (v *view) Lookup(_ context.Context, parent vfs.NodeID, name string) (vfs.Attr, error) {
	if err := vfs.CheckName(name); err != nil {
		return vfs.Attr{}, err
	}
	named := v.p.nodes.named.Load()
	row, err := v.p.db.Lookup(parent, name)
	if err != nil {
		return vfs.Attr{}, v.p.notFolder(parent, err)
	}
	v.p.showNode(&row, named)
	return row.Attr, nil
}

// notFolder makes an error about an entry that is not there one about its parent, if that is no folder.
func (p *Pod) notFolder(parent vfs.NodeID, err error) error {
	if !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	if a, attrErr := p.attr(parent); attrErr == nil && a.Kind != vfs.KindFolder {
		return fmt.Errorf("pod: node %d: %w", parent, vfs.ErrNotDir)
	}
	return err
}

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
	if err := p.writable(); err != nil {
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
	n.mu.Lock()
	err = p.truncateLocked(ctx, n, size)
	n.mu.Unlock()
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

// ReadDir is vfs.FS's.
func (v *view) ReadDir(_ context.Context, id vfs.NodeID, after string, limit int) ([]vfs.DirEntry, error) {
	named := v.p.nodes.named.Load()
	entries, err := v.p.db.List(id, after, limit)
	if err != nil {
		return nil, v.p.notFolder(id, err)
	}
	out := make([]vfs.DirEntry, len(entries))
	for i, e := range entries {
		v.p.showNode(&e.Node, named)
		out[i] = vfs.DirEntry{Name: e.Name, Attr: e.Node.Attr}
	}
	return out, nil
}

// Parent is vfs.FS's.
func (v *view) Parent(_ context.Context, id vfs.NodeID) (vfs.NodeID, error) { return v.p.db.Parent(id) }

// Create is vfs.FS's.
func (v *view) Create(ctx context.Context, parent vfs.NodeID, name string, n vfs.NewNode) (vfs.Attr, error) {
	if err := v.p.writable(); err != nil {
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
	if _, _, err := p.putChunk(ctx, []byte(n.Target)); err != nil {
		return fmt.Errorf("pod: put a symlink's target: %w", err)
	}
	return p.store.Sync(ctx)
}

// Link is vfs.FS's.
func (v *view) Link(ctx context.Context, id, parent vfs.NodeID, name string) (vfs.Attr, error) {
	if err := v.p.settleNode(ctx, id); err != nil {
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
	if err := p.writable(); err != nil {
		return err
	}
	replaced, err := p.rename(parent, name, newParent, newName, f)
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
func (v *view) Remove(_ context.Context, parent vfs.NodeID, name string, folder bool) error {
	if err := v.p.writable(); err != nil {
		return err
	}
	row, err := v.p.remove(parent, name, folder)
	if err != nil {
		return v.p.notFolder(parent, err)
	}
	v.changed(vfs.Change{Parent: parent, Name: name}, vfs.Change{Node: parent}, vfs.Change{Node: row.ID})
	return nil
}

// remove removes a name. No contents are named meanwhile: they would take the removal for another pod's.
func (p *Pod) remove(parent vfs.NodeID, name string, folder bool) (state.Node, error) {
	p.unlinking.Lock()
	defer p.unlinking.Unlock()
	row, err := p.db.Remove(parent, name, folder)
	if err == nil && row.NLink == 0 {
		p.orphaned(row)
	}
	return row, err
}

// rename moves a name, and returns what it replaced. As for remove, no contents are named meanwhile.
func (p *Pod) rename(parent vfs.NodeID, name string, newParent vfs.NodeID, newName string, f vfs.RenameFlag) (state.Node, error) {
	p.unlinking.Lock()
	defer p.unlinking.Unlock()
	replaced, err := p.db.Rename(parent, name, newParent, newName, f)
	if err == nil && replaced.ID != 0 && replaced.NLink == 0 {
		p.orphaned(replaced)
	}
	return replaced, err
}

// ReadLink is vfs.FS's.
func (v *view) ReadLink(ctx context.Context, id vfs.NodeID) (string, error) {
	row, err := v.p.db.Get(id)
	if err != nil {
		return "", err
	}
	if row.Kind != vfs.KindSymlink {
		return "", fmt.Errorf("pod: node %d is no symlink: %w", id, vfs.ErrInvalid)
	}
	body, err := decodeBody(row.Body)
	if err != nil {
		return "", err
	}
	if body.Size > vfs.TargetMax {
		return "", fmt.Errorf("pod: symlink %d with a target of %d bytes: %w", id, body.Size, block.ErrCorrupt)
	}
	target := make([]byte, body.Size)
	if err := v.p.readBody(ctx, body, target, 0); err != nil {
		return "", err
	}
	return string(target), nil
}

// GetXattr is vfs.FS's.
func (v *view) GetXattr(ctx context.Context, id vfs.NodeID, name string) ([]byte, error) {
	if strings.HasPrefix(name, computedXattr) {
		return v.p.computed(ctx, id, name)
	}
	return v.p.db.Xattr(id, name)
}

// SetXattr is vfs.FS's.
func (v *view) SetXattr(_ context.Context, id vfs.NodeID, name string, value []byte, f vfs.XattrFlag) error {
	if err := errors.Join(v.p.writable(), settable(name)); err != nil {
		return err
	}
	defer v.changedNode(id)
	defer v.p.bump(id)
	_, err := v.p.db.SetXattr(id, name, value, f)
	return err
}

// ListXattr is vfs.FS's.
func (v *view) ListXattr(_ context.Context, id vfs.NodeID) ([]string, error) {
	return v.p.db.Xattrs(id)
}

// RemoveXattr is vfs.FS's.
func (v *view) RemoveXattr(_ context.Context, id vfs.NodeID, name string) error {
	if err := errors.Join(v.p.writable(), settable(name)); err != nil {
		return err
	}
	defer v.changedNode(id)
	defer v.p.bump(id)
	_, err := v.p.db.RemoveXattr(id, name)
	return err
}

// Open is vfs.FS's.
func (v *view) Open(_ context.Context, id vfs.NodeID) (vfs.File, error) {
	n, err := v.p.use(id)
	if err != nil {
		return nil, err
	}
	switch n.kind() {
	case vfs.KindFile:
		v.p.nodes.mu.Lock()
		n.opens++
		v.p.nodes.mu.Unlock()
		return &file{p: v.p, v: v, n: n}, nil
	case vfs.KindFolder:
		err = vfs.ErrIsDir
	default:
		err = vfs.ErrInvalid
	}
	v.p.release(n)
	return nil, fmt.Errorf("pod: open node %d: %w", id, err)
}

// StatFS is vfs.FS's.
func (v *view) StatFS(ctx context.Context) (vfs.StatFS, error) { return v.p.statFS(ctx) }

// SyncFS is vfs.FS's.
func (v *view) SyncFS(ctx context.Context) error {
	return errors.Join(v.p.stageAll(ctx), v.p.barrier.wait(ctx))
}

// stageAll stages every file that was written.
func (p *Pod) stageAll(ctx context.Context) error {
	p.nodes.mu.Lock()
	var list []*node
	for _, n := range p.nodes.byID {
		n.refs++
		list = append(list, n)
	}
	p.nodes.mu.Unlock()
	var errs []error
	for _, n := range list {
		errs = append(errs, p.stage(ctx, n))
		p.release(n)
	}
	return errors.Join(errs...)
}
