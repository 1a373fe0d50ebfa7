package memfs

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// pageSize is the bytes of content that are kept, or are a hole, together: a page of Linux on x86.
const pageSize = 4096

// file is an open file.
type file struct {
	f      *FS
	n      *node
	closed atomic.Bool
}

// Open opens a file.
func (f *FS) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	if err := f.lock(ctx); err != nil {
		return nil, err
	}
	defer f.t.mu.Unlock()
	n, err := f.t.get(id)
	switch {
	case err != nil:
		return nil, err
	case n.attr.Kind == vfs.KindFolder:
		return nil, fmt.Errorf("memfs: open node %d: %w", id, vfs.ErrIsDir)
	case n.attr.Kind != vfs.KindFile:
		return nil, fmt.Errorf("memfs: open node %d: %w", id, vfs.ErrInvalid)
	}
	n.open++
	return &file{f: f, n: n}, nil
}

// NextData is where the next data at off or behind it begins, and where the hole behind them, or the file, ends them; io.EOF
// if there are none. Pages that were never written are holes.
func (o *file) NextData(ctx context.Context, off int64) (from, to int64, err error) {
	if err := o.f.rlock(ctx); err != nil {
		return 0, 0, err
	}
	defer o.f.t.mu.RUnlock()
	at, size := uint64(max(off, 0)), o.n.attr.Size
	for at < size && o.n.pages[at/pageSize] == nil {
		at = (at/pageSize + 1) * pageSize
	}
	if at >= size {
		return 0, 0, io.EOF
	}
	end := at
	for end < size && o.n.pages[end/pageSize] != nil {
		end = (end/pageSize + 1) * pageSize
	}
	return int64(at), int64(min(end, size)), nil
}

// ReadAt reads.
func (o *file) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 || o.closed.Load() {
		return 0, fmt.Errorf("memfs: read at %d: %w", off, vfs.ErrInvalid)
	}
	if err := o.f.rlock(ctx); err != nil {
		return 0, err
	}
	defer o.f.t.mu.RUnlock()
	n := copyLen(len(p), off, o.n.attr.Size)
	for done := 0; done < n; {
		at := uint64(off) + uint64(done)
		end := min(n, done+int(pageSize-at%pageSize))
		part := p[done:end]
		if page := o.n.pages[at/pageSize]; page != nil {
			copy(part, page[at%pageSize:])
		} else {
			clear(part)
		}
		done = end
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// copyLen is how many of want bytes there are at off in size bytes.
func copyLen(want int, off int64, size uint64) int {
	if uint64(off) >= size {
		return 0
	}
	return int(min(uint64(want), size-uint64(off)))
}

// WriteAt writes all of p or, if there is no space, nothing.
func (o *file) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	switch {
	case off < 0 || o.closed.Load():
		return 0, fmt.Errorf("memfs: write at %d: %w", off, vfs.ErrInvalid)
	case len(p) == 0:
		return 0, ctx.Err()
	case off > vfs.FileMax-int64(len(p)):
		return 0, fmt.Errorf("memfs: write at %d: %w", off, vfs.ErrTooLarge)
	}
	if err := o.f.lock(ctx); err != nil {
		return 0, err
	}
	t := o.f.t
	defer t.mu.Unlock()
	n, end := o.n, uint64(off)+uint64(len(p))
	var fresh uint64
	for i := uint64(off) / pageSize; i <= (end-1)/pageSize; i++ {
		if n.pages[i] == nil {
			fresh++
		}
	}
	if (t.pages+fresh)*pageSize > t.capacity {
		return 0, fmt.Errorf("memfs: write: %w", vfs.ErrNoSpace)
	}
	t.pages += fresh
	for rest, at := p, uint64(off); len(rest) > 0; {
		page := n.pages[at/pageSize]
		if page == nil {
			page = make([]byte, pageSize)
			n.pages[at/pageSize] = page
		}
		c := copy(page[at%pageSize:], rest)
		rest, at = rest[c:], at+uint64(c)
	}
	n.attr.Size = max(n.attr.Size, end)
	n.attr.Blocks = uint64(len(n.pages)) * (pageSize / 512)
	n.attr.Mtime = t.now()
	n.attr.Ctime = n.attr.Mtime
	o.f.tell(vfs.Change{Node: n.attr.ID})
	return len(p), nil
}

// Allocate is vfs.Allocator's. Room is counted for whole files only: what is allocated stays a hole.
func (o *file) Allocate(ctx context.Context, off, n int64, f vfs.AllocFlag) error {
	if err := vfs.CheckAllocate(off, n, f); err != nil {
		return err
	}
	if err := o.f.lock(ctx); err != nil {
		return err
	}
	t, node := o.f.t, o.n
	defer t.mu.Unlock()
	from, to := uint64(off), uint64(off)+uint64(n)
	size := node.attr.Size
	if grown := max(to, size); f == 0 && (t.pages+(grown-size)/pageSize)*pageSize > t.capacity {
		return fmt.Errorf("memfs: allocate: %w", vfs.ErrNoSpace)
	}
	if f&(vfs.AllocPunch|vfs.AllocZero) != 0 {
		t.punch(node, from, min(to, size))
	}
	if f&vfs.AllocKeepSize == 0 {
		t.truncate(node, max(to, size))
	}
	if f == vfs.AllocKeepSize {
		return nil
	}
	node.attr.Mtime = t.now()
	node.attr.Ctime = node.attr.Mtime
	o.f.tell(vfs.Change{Node: node.attr.ID})
	return nil
}

// punch makes a range of a file a hole; parts of pages become zeros. mu held for writing.
func (t *tree) punch(n *node, from, to uint64) {
	for i, page := range n.pages {
		start, end := i*pageSize, (i+1)*pageSize
		lo, hi := max(start, from), min(end, to)
		switch {
		case lo >= hi:
		case lo == start && (hi == end || hi == n.attr.Size):
			delete(n.pages, i)
			t.pages--
		default:
			clear(page[lo-start : hi-start])
		}
	}
	n.attr.Blocks = uint64(len(n.pages)) * (pageSize / 512)
}

// truncate sets a file's size. Bytes behind the end are zero in the last page, so that growing again
// shows a hole. mu held for writing.
func (t *tree) truncate(n *node, size uint64) {
	if size < n.attr.Size {
		for i, page := range n.pages {
			switch start := i * pageSize; {
			case start >= size:
				delete(n.pages, i)
				t.pages--
			case start+pageSize > size:
				clear(page[size-start:])
			}
		}
	}
	n.attr.Size = size
	n.attr.Blocks = uint64(len(n.pages)) * (pageSize / 512)
}

// Sync has nothing to do.
func (o *file) Sync(ctx context.Context) error { return o.Flush(ctx) }

// Flush has nothing to do.
func (o *file) Flush(ctx context.Context) error {
	if o.closed.Load() {
		return fmt.Errorf("memfs: flush: %w", vfs.ErrInvalid)
	}
	return o.f.SyncFS(ctx)
}

// Close ends the use of the file. The second one is vfs.ErrInvalid.
func (o *file) Close(context.Context) error {
	if o.closed.Swap(true) {
		return fmt.Errorf("memfs: close: %w", vfs.ErrInvalid)
	}
	o.f.t.mu.Lock()
	defer o.f.t.mu.Unlock()
	o.n.open--
	o.f.t.forget(o.n)
	return nil
}
