package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// file is an open file.
type file struct {
	p      *Pod
	v      *view
	n      *node
	closed atomic.Bool
	ahead  ahead

	writes  atomic.Uint64 // how often it was written to by this handle
	durable atomic.Uint64 // of them, those of which it is known that they are as durable as the policy asks
	told    atomic.Uint64 // of them, those of which the other surfaces were told
}

// ReadAt is vfs.File's.
func (f *file) ReadAt(ctx context.Context, data []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("pod: read at %d: %w", off, vfs.ErrInvalid)
	}
	n := f.n
	n.mu.RLock()
	size, body := int64(n.attr.Size), n.body
	if off >= size {
		n.mu.RUnlock()
		return 0, io.EOF
	}
	short := size-off < int64(len(data))
	data = data[:min(int64(len(data)), size-off)]
	over := n.ext.overlay(off, int64(len(data)))
	n.mu.RUnlock()

	f.p.readAhead(ctx, &f.ahead, body, off, int64(len(data)))
	if err := f.p.readBody(ctx, body, data, uint64(off)); err != nil {
		f.p.failed(EventReadFailed, n.id, err)
		return 0, err
	}
	f.p.heat.Note(uint64(n.id), int64(len(data)), f.p.clock.Now())
	for _, e := range over {
		copy(data[e.off-off:], e.data)
	}
	if short {
		return len(data), io.EOF
	}
	return len(data), nil
}

// sharedMin is the least number of bytes that are shared as they are. A file that was edited in many places has an entry for each, one from others can have one for each byte: such are copied
// together, or whoever gives them on would do so one by one.
const sharedMin = 64 << 10

// ReadShared is vfs.SharedReader's.
func (f *file) ReadShared(ctx context.Context, off int64) ([]byte, vfs.Lent, error) {
	n := f.n
	n.mu.RLock()
	size, body, written := int64(n.attr.Size), n.body, n.ext.bytes > 0
	n.mu.RUnlock()
	switch {
	case off < 0:
		return nil, nil, fmt.Errorf("pod: read at %d: %w", off, vfs.ErrInvalid)
	case off >= size:
		return nil, nil, io.EOF
	case written:
		return nil, nil, fmt.Errorf("pod: file %d has bytes in no chunk: %w", n.id, vfs.ErrNotSupported)
	}
	e, err := f.p.chunkAt(ctx, body, uint64(off))
	if err == nil && int64(e.Off+e.Len)-off < sharedMin {
		err = fmt.Errorf("pod: file %d has %d bytes together at %d: %w", n.id, int64(e.Off+e.Len)-off, off, vfs.ErrNotSupported)
	}
	if errors.Is(err, vfs.ErrNotSupported) {
		return nil, nil, err
	}
	var data []byte
	var lent *cached
	if err == nil {
		f.p.readAhead(ctx, &f.ahead, body, off, int64(e.Off+e.Len)-off)
		data, lent, err = partOf(ctx, blocks{f.p}, e.Entry)
	}
	if err != nil {
		f.p.failed(EventReadFailed, n.id, err)
		return nil, nil, err
	}
	data = data[uint64(off)-e.Off:]
	data = data[:min(int64(len(data)), size-off)]
	f.p.pace.NoteRead(int64(len(data)))
	f.p.heat.Note(uint64(n.id), int64(len(data)), f.p.clock.Now())
	return data, lent, nil
}

// WriteAt is vfs.File's.
func (f *file) WriteAt(ctx context.Context, data []byte, off int64) (int, error) {
	if err := f.p.changeable(f.n.id); err != nil {
		return 0, err
	}
	if err := f.p.spendWrite(ctx, f.n, off, int64(len(data))); err != nil {
		return 0, err
	}
	f.writing()
	err := f.p.locked(ctx, f.n, func(h here) error { return f.p.writeLocked(ctx, h, f.n, data, off) })
	if err != nil {
		return 0, err
	}
	return len(data), nil
}

// writing notes that this handle is about to change the file: other surfaces see that before they are told.
func (f *file) writing() {
	f.n.writer.Store(f.v)
	f.writes.Add(1)
}

// tell tells the other surfaces of what was written by this handle, whoever staged it since.
func (f *file) tell(writes uint64) {
	if f.told.Swap(writes) == writes {
		return
	}
	if now := f.p.db.Number(f.n.id); now != f.n.id {
		f.p.watches.tell(nil, []vfs.Change{{Node: now}}) // this surface too knows the file by both numbers
	}
	f.v.changedNode(f.n.id)
	f.n.writer.CompareAndSwap(f.v, nil)
}

// Sync is vfs.File's.
func (f *file) Sync(ctx context.Context) error {
	writes := f.writes.Load()
	if err := f.p.syncNode(ctx, f.n); err != nil {
		return err
	}
	f.tell(writes)
	text, err := f.p.durability(f.n.id)
	switch {
	case errors.Is(err, vfs.ErrNotExist): // a file without a name is nobody else's
		return nil
	case err != nil:
		return err
	case text == durabilityLocal:
		return nil
	}
	// Others need its bytes as chunks, and the commit that names them.
	if err := f.p.stage(ctx, f.n); err != nil {
		return err
	}
	return f.makeDurable(ctx, writes)
}

// Flush is vfs.File's. What was written here and somebody else had staged need not be as durable as the policy asks.
func (f *file) Flush(ctx context.Context) error {
	writes := f.writes.Load()
	f.n.mu.RLock()
	dirty := f.n.dirty
	f.n.mu.RUnlock()
	if dirty {
		if err := f.p.stage(ctx, f.n); err != nil {
			return err
		}
	}
	f.tell(writes)
	if !dirty && writes == f.durable.Load() {
		return nil
	}
	return f.makeDurable(ctx, writes)
}

// makeDurable makes what was staged as durable as the policy asks, and notes so of the first writes.
func (f *file) makeDurable(ctx context.Context, writes uint64) error {
	err := errors.Join(f.p.durable(ctx, f.n.id), f.n.lostErr())
	if err == nil {
		f.durable.Store(writes)
	}
	return err
}

// Close is vfs.File's.
func (f *file) Close(ctx context.Context) error {
	if f.closed.Swap(true) {
		return nil
	}
	f.p.closeAhead(&f.ahead)
	// No longer open before the flush: who truncates the file from now on stages it themselves.
	f.p.nodes.mu.Lock()
	f.n.opens--
	f.p.nodes.mu.Unlock()
	return f.p.saved(f.n, f.Flush(ctx))
}

// saved ends a use of a file that was to be staged. One that could not be is kept and tried again, so that what was written,
// and can be read, doesn't go back to something older.
func (p *Pod) saved(n *node, err error) error {
	if err != nil {
		p.failed(EventSaveFailed, n.id, err)
		p.barrier.keep(n)
	} else {
		p.release(n)
	}
	return err
}
