package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// CopyFromTree makes a file, or gives an existing one new contents, that are those of a file of a tree that OpenTree or OpenMoment opened. No data is
// copied: the blocks get names again, and those in the trash come back. Errors: vfs.ErrInvalid (another file system, or no file);
// block.ErrUnavailable where a block is neither here nor can another pod be asked for it.
func (p *Pod) CopyFromTree(ctx context.Context, from vfs.FS, src, parent vfs.NodeID, name string, m FileMeta) (vfs.Attr, error) {
	if err := p.changeable(parent); err != nil {
		return vfs.Attr{}, err
	}
	t, ok := from.(*treeFS)
	if !ok || t.p != p {
		return vfs.Attr{}, fmt.Errorf("pod: restore from what is no tree of this pod: %w", vfs.ErrInvalid)
	}
	n, err := t.node(src)
	if err != nil {
		return vfs.Attr{}, err
	}
	if n.attr.Kind != vfs.KindFile {
		return vfs.Attr{}, fmt.Errorf("pod: restore node %d of a tree, which is no file: %w", src, vfs.ErrInvalid)
	}
	if a, same, err := p.sameFile(n, parent, name, m); same || err != nil {
		return a, err
	}
	body, err := t.bodyOf(ctx, n)
	if err != nil {
		return vfs.Attr{}, err
	}
	if err := p.spendPut(ctx, parent, name, int64(allocated(&body))); err != nil {
		return vfs.Attr{}, fmt.Errorf("pod: restore %q: %w", name, err)
	}
	// No collection takes its blocks from here until they are staged, or named while it runs (markOpen, markNamed).
	defer p.leases.release(p.leases.hold())
	if err := p.bringBack(ctx, body); err != nil {
		return vfs.Attr{}, fmt.Errorf("pod: restore %q: %w", name, err)
	}
	return p.giveContents(ctx, parent, name, m, body, nil)
}

// bringBack leases the blocks of a body, and takes those that are in the trash back into use.
func (p *Pod) bringBack(ctx context.Context, body dag.Body) error {
	if body.Size == 0 {
		return nil
	}
	own := false
	err := dag.Blocks(ctx, blocks{p}, body, func(id block.ID, _ bool, _ uint64) error {
		p.leases.release(p.leases.take(id))
		owned, cached := p.store.Has(id)
		switch {
		case owned || cached:
			return nil
		case p.store.InTrash(id):
			own = true
			return p.ownBlock(ctx, id)
		case len(p.connected()) == 0:
			return fmt.Errorf("block %s is not here, and no other pod is connected: %w", id, block.ErrUnavailable)
		}
		return nil
	})
	if own {
		err = errors.Join(err, p.store.Sync(ctx))
	}
	return err
}

// sameFile says whether the file at a name holds what a file of a tree does, and has the attributes that m says.
func (p *Pod) sameFile(n treeNode, parent vfs.NodeID, name string, m FileMeta) (vfs.Attr, bool, error) {
	row, err := p.db.Lookup(parent, name)
	if errors.Is(err, vfs.ErrNotExist) {
		return vfs.Attr{}, false, nil
	}
	if err != nil {
		return vfs.Attr{}, false, err
	}
	a, err := p.attr(row.ID) // it may be written, and not named yet
	if err != nil || row.Kind != vfs.KindFile || a.Size != row.Size || a.Mtime != row.Mtime ||
		row.Mtime != m.Mtime || row.Mode != m.Mode&0o7777 || row.UID != m.UID || row.GID != m.GID {
		return a, false, err
	}
	if cid, err := p.db.NodeCID(row.ID); err != nil || cid != n.child {
		return a, false, err
	}
	for key, value := range m.Xattrs {
		old, err := p.db.Xattr(row.ID, key)
		if err != nil || string(old) != string(value) {
			return a, false, nil //nolint:nilerr // it is to be set
		}
	}
	return a, true, nil
}
