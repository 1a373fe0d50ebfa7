package pod

import (
	"context"
	"fmt"
	"io"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// keptFile is a file as it was when it was opened, whatever is done to it since. Its blocks are kept here while it is open; other pods may delete theirs when
// their trash is emptied.
type keptFile struct {
	p     *Pod
	id    vfs.NodeID
	size  int64
	body  dag.Body
	over  []extent // what was written over it and not cut yet
	ahead ahead
}

var _ vfs.Keeper = pastView{}

// OpenAsIs is vfs.Keeper's.
func (v *view) OpenAsIs(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	f, err := v.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	n := f.(*file).n //nolint:errcheck,forcetypeassert // a view opens only these
	n.mu.RLock()
	k := &keptFile{p: v.p, id: n.id, size: int64(n.attr.Size), body: n.body, over: n.ext.overlay(0, int64(n.attr.Size))}
	v.p.nodes.mu.Lock()
	v.p.nodes.kept[k] = true
	v.p.nodes.mu.Unlock()
	n.mu.RUnlock()
	if err := f.Close(ctx); err != nil {
		_ = k.Close(ctx) // it never fails
		return nil, err
	}
	return k, nil
}

// OpenAsIs is vfs.Keeper's. What is past never changes.
func (v pastView) OpenAsIs(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	if isPast(id) {
		return v.Open(ctx, id)
	}
	return v.view.OpenAsIs(ctx, id)
}

// ReadAt is vfs.File's.
func (k *keptFile) ReadAt(ctx context.Context, data []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("pod: read at %d: %w", off, vfs.ErrInvalid)
	}
	if off >= k.size {
		return 0, io.EOF
	}
	short := k.size-off < int64(len(data))
	data = data[:min(int64(len(data)), k.size-off)]
	k.p.readAhead(ctx, &k.ahead, k.body, off, int64(len(data)))
	if err := k.p.readBody(ctx, k.body, data, uint64(off)); err != nil {
		k.p.failed(EventReadFailed, k.id, err)
		return 0, err
	}
	for _, e := range k.over {
		if from, to := max(e.off, off), min(e.end(), off+int64(len(data))); from < to {
			copy(data[from-off:to-off], e.data[from-e.off:])
		}
	}
	if short {
		return len(data), io.EOF
	}
	return len(data), nil
}

var errKept = fmt.Errorf("pod: a file that was opened as it is: %w", vfs.ErrReadOnly)

// WriteAt is vfs.File's.
func (k *keptFile) WriteAt(context.Context, []byte, int64) (int, error) { return 0, errKept }

// Sync is vfs.File's.
func (k *keptFile) Sync(ctx context.Context) error { return k.p.self.SyncFS(ctx) }

// Flush is vfs.File's.
func (k *keptFile) Flush(context.Context) error { return nil }

// Close is vfs.File's.
func (k *keptFile) Close(context.Context) error {
	k.p.nodes.mu.Lock()
	defer k.p.nodes.mu.Unlock()
	delete(k.p.nodes.kept, k)
	return nil
}
