package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/chunker"
	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// SmallMax is the most bytes of a file that PutFiles takes: of so many it has one chunk at most.
const SmallMax = chunker.MinSize

// SmallFile is a file for PutFiles.
type SmallFile struct {
	Parent vfs.NodeID
	Name   string
	Meta   FileMeta
	Data   []byte // at most SmallMax; it must stay as it is until PutFiles returns
}

// foldersOf are the folders of files, each once.
func foldersOf(files []SmallFile) (ids []vfs.NodeID) {
	for _, f := range files {
		if !slices.Contains(ids, f.Parent) {
			ids = append(ids, f.Parent)
		}
	}
	return ids
}

// PutResult is what became of a SmallFile.
type PutResult struct {
	Attr vfs.Attr
	Err  error // one of PutFile's
}

// PutFiles is PutFile for each of some small files, at less cost: their chunks go to the store, and their rows into the state, many at once. An
// error with one does not hinder the others. Error: the context's; then some may have been put.
func (p *Pod) PutFiles(ctx context.Context, files []SmallFile) ([]PutResult, error) {
	out := make([]PutResult, len(files))
	fail := func(err error) {
		for i := range out {
			if out[i].Err == nil {
				out[i].Err = err
			}
		}
	}
	if err := p.changeable(foldersOf(files)...); err != nil {
		fail(err)
		return out, ctx.Err()
	}
	p.puts.Add(uint64(len(files)))
	defer p.leases.release(p.leases.hold())
	now := p.clock.Now()
	origins := make([][]byte, len(files))
	for i := range files {
		origins[i] = files[i].Meta.Origin.settled(now)
	}
	bodies, err := p.putSmall(ctx, files, out)
	if errors.Is(err, vfs.ErrNoSpace) { // for some there may be room
		for i := range files {
			f := &files[i]
			out[i].Attr, out[i].Err = p.PutFile(ctx, f.Parent, f.Name, f.Meta, int64(len(f.Data)), bytes.NewReader(f.Data))
		}
		return out, ctx.Err()
	}
	if err != nil {
		fail(fmt.Errorf("pod: put %d files: %w", len(files), err))
		return out, ctx.Err()
	}
	news := make([]*newFile, len(files))
	queue := make([]*newFile, 0, len(files))
	for i := range files {
		if f := &files[i]; out[i].Err == nil {
			news[i] = newFileOf(f.Parent, f.Name, &f.Meta, &bodies[i], origins[i])
			queue = append(queue, news[i])
		}
	}
	if err := p.makeNew(ctx, queue); err != nil {
		return nil, err
	}
	for i := range files {
		if f := &files[i]; news[i] != nil {
			out[i].Attr, out[i].Err = p.madeAttr(news[i])
			if errors.Is(out[i].Err, vfs.ErrExist) {
				out[i].Attr, out[i].Err = p.giveContents(ctx, f.Parent, f.Name, f.Meta, bodies[i], origins[i])
			}
		}
	}
	return out, nil
}

// putSmall puts the chunks of files and returns the bodies; what is wrong with one file goes to out.
func (p *Pod) putSmall(ctx context.Context, files []SmallFile, out []PutResult) ([]dag.Body, error) {
	if err := p.cutters.acquire(ctx); err != nil {
		return nil, err
	}
	defer p.cutters.release()
	bodies := make([]dag.Body, len(files))
	chunks := make([]block.Block, 0, len(files))
	buf := sealBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // the pool has only these
	defer sealBuffers.Put(buf)
	*buf = (*buf)[:0]
	made, limited := make(map[vfs.NodeID]making), make(map[vfs.NodeID]bool)
	for _, id := range foldersOf(files) {
		quotas, err := p.quotasAt(id)
		if err != nil {
			return nil, err
		}
		made[id], limited[id] = p.makingAt(id), len(quotas) > 0
	}
	for i := range files {
		data, m := files[i].Data, made[files[i].Parent]
		if limited[files[i].Parent] {
			if out[i].Err = p.spendPut(ctx, files[i].Parent, files[i].Name, int64(len(data))); out[i].Err != nil {
				continue
			}
		}
		switch {
		case len(data) > SmallMax:
			out[i].Err = fmt.Errorf("pod: put %q: %d bytes, more than a small file has: %w", files[i].Name, len(data), vfs.ErrTooLarge)
		case len(data) <= dag.InlineMax:
			bodies[i] = dag.InlineBody(bytes.Clone(data))
		case isZero(data):
			bodies[i], out[i].Err = p.bodyOf(ctx, []streamChunk{{sum: block.Sum(block.Raw, data), entry: dag.Entry{Len: uint64(len(data))}}}, true, m)
		default:
			stored, sum, err := p.seal.Load().chunk(data, buf, m.raw)
			if err != nil {
				return nil, err
			}
			if m.raw {
				if err := p.putMade(ctx, stored, true); err != nil {
					return nil, err
				}
			} else {
				chunks = append(chunks, stored)
			}
			bodies[i], out[i].Err = p.bodyOf(ctx, []streamChunk{{sum: sum, entry: dag.Entry{Len: uint64(len(data)), ID: stored.ID}}}, true, m)
		}
	}
	return bodies, p.putBlocks(ctx, chunks)
}
