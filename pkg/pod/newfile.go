package pod

import (
	"context"

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

	done chan made // capacity 1
}

// made is what became of it.
type made struct {
	node state.Node
	err  error
}

// make queues a file. After close it is answered at once.
func (b *barrier) make(f *newFile) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		f.done <- made{err: errClosed}
		return
	}
	b.puts = append(b.puts, f)
	b.wake()
}

// makeFile has the barrier make a file that does not exist yet. When ctx ends meanwhile, it may be made all the same.
// Error: vfs.ErrExist.
func (p *Pod) makeFile(ctx context.Context, parent vfs.NodeID, name string, m FileMeta, body *dag.Body, origin []byte) (vfs.Attr, error) {
	content := &state.NewContent{Size: body.Size, Origin: origin}
	if body.Size > 0 {
		content.Body = body.Encode()
	}
	f := &newFile{done: make(chan made, 1), NewFile: state.NewFile{
		Parent: parent, Name: name,
		Node:          vfs.NewNode{Kind: vfs.KindFile, Mode: m.Mode & 0o7777, UID: m.UID, GID: m.GID},
		CreateOptions: state.CreateOptions{Content: content, Mtime: &m.Mtime, Xattrs: m.Xattrs},
	}}
	p.barrier.make(f)
	select {
	case got := <-f.done:
		if got.err != nil {
			return vfs.Attr{}, got.err
		}
		got.node.Blocks = blocksOf(allocated(body))
		p.self.changed(vfs.Change{Parent: parent, Name: name}, vfs.Change{Node: parent})
		return got.node.Attr, nil
	case <-ctx.Done():
		return vfs.Attr{}, ctx.Err()
	}
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
			f.done <- got
		}
	}
}
