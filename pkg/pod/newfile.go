package pod

import (
	"context"
	"sync/atomic"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

const (
	// cuttersMax is how many streams are cut at a time: as many as keep two processors busy while others wait for a disk.
	cuttersMax = 4
	// importMax is how many files one change of the state makes: other operations wait for it, a few ms.
	importMax = 128
)

// cutters bounds the memory of streams that are cut: each takes a buffer of two chunks.
type cutters chan struct{}

func (c cutters) acquire(ctx context.Context) error {
	select {
	case c <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c cutters) release() { <-c }

// newFile is a file whose bytes are put, to be made at the next barrier.
type newFile struct {
	state.NewFile

	made   made // once group is told of it
	blocks uint64
	group  *makes
}

// made is what became of a file.
type made struct {
	node state.Node
	err  error
}

// makes are files that one caller waits for.
type makes struct {
	left atomic.Int64
	done chan struct{} // closed when all are made, or not
}

// finish tells who waits what became of the file, which is told once.
func (f *newFile) finish(m made) {
	f.made = m
	if f.group.left.Add(-1) == 0 {
		close(f.group.done)
	}
}

// make queues files. After close they are answered at once.
func (b *barrier) make(files []*newFile) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		for _, f := range files {
			f.finish(made{err: errClosed})
		}
		return
	}
	b.puts = append(b.puts, files...)
	b.wake()
}

// newFileOf is a file to be made with a body.
func newFileOf(parent vfs.NodeID, name string, m *FileMeta, body *dag.Body, origin []byte) *newFile {
	content := &state.NewContent{Size: body.Size, Origin: origin}
	if body.Size > 0 {
		content.Body = body.Encode()
	}
	return &newFile{blocks: blocksOf(allocated(body)), NewFile: state.NewFile{
		Parent: parent, Name: name,
		Node:          vfs.NewNode{Kind: vfs.KindFile, Mode: m.Mode & 0o7777, UID: m.UID, GID: m.GID},
		CreateOptions: state.CreateOptions{Content: content, Mtime: &m.Mtime, Xattrs: m.Xattrs},
	}}
}

// makeNew has the barrier make files that do not exist yet, and waits until each is made or is not. When ctx ends meanwhile, some may be made all
// the same, and nothing must be read of them.
func (p *Pod) makeNew(ctx context.Context, files []*newFile) error {
	if len(files) == 0 {
		return nil
	}
	group := &makes{done: make(chan struct{})}
	group.left.Store(int64(len(files)))
	for _, f := range files {
		f.group = group
	}
	p.barrier.make(files)
	select {
	case <-group.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// madeAttr is what was made, of which others are told. Error: vfs.ErrExist.
func (p *Pod) madeAttr(f *newFile) (vfs.Attr, error) {
	if f.made.err != nil {
		return vfs.Attr{}, f.made.err
	}
	a := f.made.node.Attr
	a.Blocks = f.blocks
	p.self.changed(vfs.Change{Parent: f.Parent, Name: f.Name}, vfs.Change{Node: f.Parent})
	return a, nil
}

// makeFile is makeNew for one. Error: vfs.ErrExist.
func (p *Pod) makeFile(ctx context.Context, parent vfs.NodeID, name string, m FileMeta, body *dag.Body, origin []byte) (vfs.Attr, error) {
	f := newFileOf(parent, name, &m, body, origin)
	if err := p.makeNew(ctx, []*newFile{f}); err != nil {
		return vfs.Attr{}, err
	}
	return p.madeAttr(f)
}

// makeFiles makes files whose bytes are durable, and tells those who wait for them.
func (p *Pod) makeFiles(ctx context.Context, files []*newFile) {
	for len(files) > 0 {
		part := files[:min(importMax, len(files))]
		files = files[len(part):]
		list := make([]state.NewFile, len(part))
		for i, f := range part {
			list[i] = f.NewFile
		}
		out, err := p.db.Import(ctx, list)
		for i, f := range part {
			got := made{err: err}
			if err == nil {
				got = made{node: out[i].Node, err: out[i].Err}
			}
			f.finish(got)
		}
	}
}
