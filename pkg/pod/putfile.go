package pod

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// PutFile makes a file, or gives an existing one new contents, from all that r has. It is visible here when PutFile
// returns, and durable and published after Settle. A new file waits for the sync of its bytes, which all that are put at a time
// share: whoever has many puts many at a time. size is what r is expected to have, a hint only.
// m.Origin is noted, for KeepFile, if it can't have changed unseen. An r that is a Sparse too is read in parts.
// Errors: vfs.ErrIsDir and vfs.ErrExist where the name is taken by something else than a file; vfs.ErrClosed when Run ends meanwhile.
func (p *Pod) PutFile(ctx context.Context, parent vfs.NodeID, name string, m FileMeta, size int64, r io.Reader) (vfs.Attr, error) {
	if err := p.changeable(parent); err != nil {
		return vfs.Attr{}, err
	}
	p.puts.Add(1)
	defer p.leases.release(p.leases.hold())
	origin := m.Origin.settled(p.clock.Now())
	if err := p.spendPut(ctx, parent, name, size); err != nil {
		return vfs.Attr{}, fmt.Errorf("pod: put %q: %w", name, err)
	}
	made := p.makingAt(parent)
	if err := p.cutters.acquire(ctx); err != nil {
		return vfs.Attr{}, err
	}
	var body dag.Body
	var err error
	if sparse, ok := r.(Sparse); ok {
		body, err = p.putSparse(ctx, sparse, made)
	} else {
		body, err = p.putStream(ctx, size, r, made)
	}
	p.cutters.release()
	if err == nil && int64(body.Size) > max(size, 0) { // it has more than was expected
		err = p.spendPut(ctx, parent, name, int64(allocated(&body)))
	}
	if err != nil {
		return vfs.Attr{}, fmt.Errorf("pod: put %q: %w", name, err)
	}
	attr, err := p.makeFile(ctx, parent, name, m, &body, origin)
	if errors.Is(err, vfs.ErrExist) {
		return p.giveContents(ctx, parent, name, m, body, origin)
	}
	return attr, err
}

// CopyFile makes a file, or gives an existing one new contents, that are those of src. No data is copied.
func (p *Pod) CopyFile(ctx context.Context, src, parent vfs.NodeID, name string, m FileMeta) (vfs.Attr, error) {
	if isPast(src) {
		t, inner, err := p.past.tree(src, p.clock.Now())
		if err != nil {
			return vfs.Attr{}, err
		}
		return p.CopyFromTree(ctx, t.fs, inner, parent, name, m)
	}
	if err := p.changeable(parent); err != nil {
		return vfs.Attr{}, err
	}
	n, err := p.use(src)
	if err != nil {
		return vfs.Attr{}, err
	}
	defer p.release(n)
	if n.kind() != vfs.KindFile {
		return vfs.Attr{}, fmt.Errorf("pod: copy node %d, which is no file: %w", src, vfs.ErrInvalid)
	}
	if err := p.stage(ctx, n); err != nil {
		return vfs.Attr{}, err
	}
	n.mu.RLock()
	body, gone := n.body, n.orphan
	n.mu.RUnlock()
	if gone { // what was written to it is cut no more
		return vfs.Attr{}, fmt.Errorf("pod: copy file %d: %w", src, vfs.ErrNotExist)
	}
	if err := p.spendPut(ctx, parent, name, int64(allocated(&body))); err != nil {
		return vfs.Attr{}, fmt.Errorf("pod: copy to %q: %w", name, err)
	}
	return p.giveContents(ctx, parent, name, m, body, nil)
}

// giveContents makes or finds the file and stages a body for it, which came from origin; nil: that is not noted.
func (p *Pod) giveContents(ctx context.Context, parent vfs.NodeID, name string, m FileMeta, body dag.Body, origin []byte) (vfs.Attr, error) {
	for ctx.Err() == nil {
		id, err := p.fileAt(parent, name, m) //nolint:contextcheck // operations of the state take no context
		if err != nil {
			return vfs.Attr{}, err
		}
		attr, err := p.replaceContents(id, m, body, origin)
		switch {
		case err == nil:
			p.self.changed(vfs.Change{Parent: parent, Name: name}, vfs.Change{Node: parent}, vfs.Change{Node: id})
			return attr, nil
		case !errors.Is(err, vfs.ErrNotExist): // else it was removed just now, and is made
			return vfs.Attr{}, err
		}
	}
	return vfs.Attr{}, ctx.Err()
}

// replaceContents stages a body for a file. Error: vfs.ErrNotExist, also if the file has no name any more.
func (p *Pod) replaceContents(id vfs.NodeID, m FileMeta, body dag.Body, origin []byte) (vfs.Attr, error) {
	n, err := p.use(id)
	if err != nil {
		return vfs.Attr{}, err
	}
	defer p.release(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.orphan {
		return vfs.Attr{}, fmt.Errorf("pod: file %d: %w", id, vfs.ErrNotExist)
	}
	p.noteLocked(n)
	p.changeLocked(n, (*extents).forget)
	n.body = body
	n.attr.Size, n.attr.Blocks, n.attr.Mtime = body.Size, blocksOf(allocated(&body)), m.Mtime
	n.attr.Ctime = p.db.Tick()
	p.stageLocked(n)
	n.staged.origin = origin
	return n.attr, nil
}

// fileAt is the file at a name, made if there is none, with what m says of it.
func (p *Pod) fileAt(parent vfs.NodeID, name string, m FileMeta) (vfs.NodeID, error) {
	mode := m.Mode & 0o7777
	made, err := p.db.Create(parent, name,
		vfs.NewNode{Kind: vfs.KindFile, Mode: mode, UID: m.UID, GID: m.GID},
		state.CreateOptions{Mtime: &m.Mtime, Xattrs: m.Xattrs})
	if err == nil {
		return made.ID, nil
	}
	if !errors.Is(err, vfs.ErrExist) {
		return 0, err
	}
	old, err := p.db.Lookup(parent, name)
	switch {
	case err != nil:
		return 0, err
	case old.Kind == vfs.KindFolder:
		return 0, fmt.Errorf("pod: %q: %w", name, vfs.ErrIsDir)
	case old.Kind != vfs.KindFile:
		return 0, fmt.Errorf("pod: %q is no file: %w", name, vfs.ErrExist)
	}
	if old.Mode != mode || old.UID != m.UID || old.GID != m.GID {
		if _, err := p.db.SetAttr(old.ID, vfs.SetAttr{Mode: &mode, UID: &m.UID, GID: &m.GID}); err != nil {
			return 0, err
		}
	}
	for key, value := range m.Xattrs {
		if _, err := p.db.SetXattr(old.ID, key, value, 0); err != nil {
			return 0, err
		}
	}
	return old.ID, nil
}
