package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// A view is the pod's file system as one surface sees it. It tells the surface of changes that came from
// elsewhere: other pods and other surfaces.
type view struct {
	p       *Pod
	watches *watchers
}

var (
	_ vfs.FS         = (*view)(nil)
	_ vfs.NameReader = (*view)(nil)
	_ vfs.Watcher    = (*view)(nil)
)

// FS is a file system over the pod's tree for one more surface. On a blind pod all that it does is ErrBlind.
func (p *Pod) FS() vfs.FS {
	if p.blind() {
		return blindFS{p}
	}
	return pastView{&view{p: p, watches: &p.watches}}
}

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

// ReadNames is vfs.NameReader's.
func (v *view) ReadNames(_ context.Context, id vfs.NodeID, after string, limit int) ([]string, error) {
	names, err := v.p.db.Names(id, after, limit)
	if err != nil {
		return nil, v.p.notFolder(id, err)
	}
	return names, nil
}

// Parent is vfs.FS's.
func (v *view) Parent(_ context.Context, id vfs.NodeID) (vfs.NodeID, error) { return v.p.db.Parent(id) }

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
