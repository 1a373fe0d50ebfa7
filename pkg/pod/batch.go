package pod

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/chunker"
	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// batchBytes is how many bytes of a file are cut at a time: two chunks of the largest size.
const batchBytes = 2 * chunker.MaxSize

// batch is runs of a file's written bytes that are made chunks.
type batch struct {
	runs []batchRun
	buf  *[]byte // has the bytes that were copied; nil: none
}

// batchRun is a run of bytes, and what was cut of it.
type batchRun struct {
	off  int64
	data []byte
	all  bool // nothing follows that could make its last chunk a larger one

	entries []dag.Entry // of the first bytes
	cut     int64       // how many
}

// batchBuffers are for the bytes of batches.
var batchBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, batchBytes)
	return &b
}}

// claimLocked is the next bytes to be cut; all and none are as cutLocked's. They stay where they are until they are placed. Unless they are copied
// they may be used only as long as the lock is held.
func (n *node) claimLocked(all, copied bool) (b batch) {
	left := int64(batchBytes)
	for _, s := range n.ext.runs() {
		end := min(s.end, s.off+left)
		r := batchRun{off: s.off, all: end == s.end && (all || s.end < int64(n.attr.Size))}
		if !r.all && end-s.off < chunker.MaxSize {
			continue // it grows still, or there is no room for it
		}
		r.data = b.take(&n.ext, s.off, end, copied)
		b.runs = append(b.runs, r)
		n.ext.claimed = append(n.ext.claimed, span{s.off, end})
		if left -= end - s.off; left == 0 {
			break
		}
	}
	return b
}

// take is the bytes [off, end) of x.
func (b *batch) take(x *extents, off, end int64, copied bool) []byte {
	if e := x.list[x.find(off+1)]; !copied && end <= e.end() {
		return e.data[off-e.off : end-e.off]
	}
	if b.buf == nil {
		b.buf = batchBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // the pool has only these
		*b.buf = (*b.buf)[:0]
	}
	at := len(*b.buf)
	*b.buf = x.append(*b.buf, off, end)
	return (*b.buf)[at:]
}

// release has the memory used again.
func (b *batch) release() {
	if b.buf != nil {
		batchBuffers.Put(b.buf)
	}
	*b = batch{}
}

// putBatch cuts a batch of a file and puts the chunks, several at once.
func (p *Pod) putBatch(ctx context.Context, id vfs.NodeID, b *batch, m making) error {
	var group errgroup.Group
	group.SetLimit(putWorkers)
	var last func() error // the last one is put here
	for i := range b.runs {
		r := &b.runs[i]
		r.entries = make([]dag.Entry, 0, m.cut.ChunksMax(len(r.data))) // never more: chunks are put into their entries
		for rest := r.data; len(rest) > 0 && (r.all || len(rest) >= chunker.MaxSize); {
			at := r.off + r.cut
			chunk := rest[:m.cut.Cut(rest, at)]
			rest = rest[len(chunk):]
			r.entries = append(r.entries, dag.Entry{Len: uint64(len(chunk))})
			r.cut += int64(len(chunk))
			entry := &r.entries[len(r.entries)-1]
			if last != nil {
				group.Go(last)
			}
			last = func() (err error) {
				if entry.ID, _, err = p.putChunk(ctx, chunk, m); err != nil {
					return fmt.Errorf("pod: file %d: put %d bytes written at %d: %w", id, len(chunk), at, err)
				}
				return nil
			}
		}
	}
	err := last()
	if other := group.Wait(); err == nil {
		err = other
	}
	return err
}

// clip is the entries of n bytes from off on.
func clip(entries []dag.Entry, off, n uint64) []dag.Entry {
	var out []dag.Entry
	at := uint64(0)
	for _, e := range entries {
		from, to := max(at, off), min(at+e.Len, off+n)
		if from < to {
			out = append(out, dag.Entry{Len: to - from, ID: e.ID, Skip: e.Skip + uint32(from-at)})
		}
		at += e.Len
	}
	return out
}
