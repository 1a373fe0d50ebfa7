package pod

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/wormhole-fs/wormhole/chunker"
	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
)

const (
	foldWindow  = 1 << 20 // bytes: a window with too many entries is rewritten as one chunk
	foldEntries = 64      // entries in a window (DESIGN section 3)
)

// cutLocked turns written bytes into chunks and their entries. With all unset, the last bytes of the file are
// left where they are while they may still grow into a larger chunk. Error: missing, and nothing is lost.
func (p *Pod) cutLocked(ctx context.Context, h here, n *node, all bool) error {
	size := n.attr.Size
	if all && size <= dag.InlineMax {
		return p.inlineLocked(ctx, h, n)
	}
	if err := p.uninlineLocked(n); err != nil {
		return err
	}
	taken := n.ext.take()
	for i, e := range taken {
		last := i == len(taken)-1
		rest, err := p.cutExtent(ctx, h, n, e, all || !last || e.end() < int64(size))
		if err != nil {
			// What is not in the body yet stays written, so that nothing is lost and a later try may work.
			for _, e := range append([]extent{rest}, taken[i+1:]...) {
				n.ext.write(e.off, e.data)
			}
			p.dirtyBytes.Add(n.ext.bytes - sum(taken[i:]))
			return err
		}
		n.ext.write(rest.off, rest.data)
		p.dirtyBytes.Add(int64(len(rest.data)) - int64(len(e.data)))
	}
	if all && n.body.Size != size {
		body, err := h.resize(ctx, n.body, size)
		if err != nil {
			return err
		}
		n.setBody(body)
	}
	return nil
}

func sum(list []extent) (n int64) {
	for _, e := range list {
		n += int64(len(e.data))
	}
	return n
}

// setBody notes what was cut. A record of the journal can't say it any more.
func (n *node) setBody(body dag.Body) { n.body, n.fresh.beyond = body, true }

// cutExtent puts the chunks of an extent and splices them into the body. With all unset it may leave a rest
// that is shorter than the largest chunk. On an error the rest is the whole extent.
func (p *Pod) cutExtent(ctx context.Context, h here, n *node, e extent, all bool) (rest extent, err error) {
	var entries []dag.Entry
	data := e.data
	for len(data) > 0 && (all || len(data) >= chunker.MaxSize) {
		k := p.table.Cut(data)
		id, _, err := p.putChunk(ctx, data[:k])
		if err != nil {
			return e, fmt.Errorf("pod: file %d: put %d bytes written at %d: %w", n.id, k, e.end()-int64(len(data)), err)
		}
		entries = append(entries, dag.Entry{Len: uint64(k), ID: id})
		data = data[k:]
	}
	done := uint64(len(e.data) - len(data))
	if done == 0 {
		return e, nil
	}
	body, err := h.splice(ctx, n.body, uint64(e.off), done, entries)
	if err == nil {
		body, err = p.fold(ctx, h, body, uint64(e.off), done)
	}
	if err != nil {
		return e, fmt.Errorf("pod: file %d: place bytes written at %d: %w", n.id, e.off, err)
	}
	n.setBody(body)
	return extent{off: e.off + int64(done), data: data}, nil
}

// splice replaces n bytes at off; a body that ends before off is extended by a hole.
func (h here) splice(ctx context.Context, b dag.Body, off, n uint64, entries []dag.Entry) (dag.Body, error) {
	if b.Size < off+n {
		var err error
		if b, err = h.resize(ctx, b, off+n); err != nil {
			return dag.Body{}, err
		}
	}
	return dag.Splice(ctx, h, b, off, n, entries, b.Size)
}

// resize cuts a body, or extends it by a hole.
func (h here) resize(ctx context.Context, b dag.Body, size uint64) (dag.Body, error) {
	switch {
	case size == b.Size:
		return b, nil
	case size == 0:
		return dag.Body{}, nil
	case b.Inline != nil && size < b.Size:
		return dag.InlineBody(b.Inline[:size]), nil
	}
	b, err := dag.Splice(ctx, h, b, 0, 0, nil, size)
	if err != nil {
		return dag.Body{}, fmt.Errorf("pod: make a body %d bytes long: %w", size, err)
	}
	return b, nil
}

// inlineLocked makes the body of a file that is small enough to stand in its row.
func (p *Pod) inlineLocked(ctx context.Context, h here, n *node) error {
	data := make([]byte, n.attr.Size)
	if err := readBody(ctx, h, n.body, data, 0); err != nil {
		return err
	}
	for _, e := range n.ext.take() {
		copy(data[e.off:], e.data)
		p.dirtyBytes.Add(-int64(len(e.data)))
	}
	n.setBody(dag.Body{})
	if len(data) > 0 {
		n.setBody(dag.InlineBody(data))
	}
	return nil
}

// uninlineLocked makes written bytes of an inline body's, under those that were written over them.
func (p *Pod) uninlineLocked(n *node) error {
	if n.body.Inline == nil {
		return nil
	}
	var under extents
	under.write(0, n.body.Inline)
	for _, e := range n.ext.take() {
		p.dirtyBytes.Add(-int64(len(e.data)))
		under.write(e.off, e.data)
	}
	n.ext = under
	n.setBody(dag.Body{})
	p.dirtyBytes.Add(under.bytes)
	return nil
}

// fold rewrites the windows that a write of n bytes at off touched and that fell into too many entries, but for those whose bytes are not all
// here: they are left to a later write.
func (p *Pod) fold(ctx context.Context, h here, b dag.Body, off, n uint64) (dag.Body, error) {
	for at := off / foldWindow * foldWindow; at < off+n; at += foldWindow {
		length := min(foldWindow, b.Size-at)
		placed, err := dag.Range(ctx, h, b, at, length)
		if err != nil {
			return dag.Body{}, err
		}
		if len(placed) <= foldEntries {
			continue
		}
		data := make([]byte, length)
		err = readBody(ctx, h, b, data, at)
		if _, isMissing := errors.AsType[missing](err); isMissing {
			continue
		}
		if err != nil {
			return dag.Body{}, err
		}
		id, _, err := p.putChunk(ctx, data)
		if err != nil {
			return dag.Body{}, err
		}
		if b, err = h.splice(ctx, b, at, length, []dag.Entry{{Len: length, ID: id}}); err != nil {
			return dag.Body{}, err
		}
	}
	return b, nil
}

// placedKept is how many entries the memory for them is kept for, at most.
const placedKept = 1024

// placedBuffers are for the entries that a read overlaps.
var placedBuffers = sync.Pool{New: func() any { return new([]dag.Placed) }}

// keepPlaced has memory that grew used again.
func keepPlaced(buf *[]dag.Placed, placed []dag.Placed) {
	if len(placed) <= placedKept {
		*buf = placed
	}
}

// readBody fills data with a body's bytes at off; holes, and what lies behind the body, are zero.
func (p *Pod) readBody(ctx context.Context, b dag.Body, data []byte, off uint64) error {
	return readBody(ctx, blocks{p}, b, data, off)
}

func readBody(ctx context.Context, get block.Getter, b dag.Body, data []byte, off uint64) error {
	clear(data)
	if b.Inline != nil {
		if off < uint64(len(b.Inline)) {
			copy(data, b.Inline[off:])
		}
		return nil
	}
	if off >= b.Size {
		return nil
	}
	data = data[:min(uint64(len(data)), b.Size-off)]
	buf := placedBuffers.Get().(*[]dag.Placed) //nolint:errcheck,forcetypeassert // the pool has only these
	defer placedBuffers.Put(buf)
	placed, err := dag.AppendRange(ctx, get, (*buf)[:0], b, off, uint64(len(data)))
	if err != nil {
		return err
	}
	keepPlaced(buf, placed)
	for _, e := range placed {
		if e.ID.IsZero() {
			continue
		}
		chunk, err := get.Get(ctx, e.ID)
		if err != nil {
			return err
		}
		if uint64(e.Skip)+e.Len > uint64(len(chunk)) {
			return fmt.Errorf("pod: bytes %d to %d of chunk %s of %d bytes: %w", e.Skip, uint64(e.Skip)+e.Len, e.ID, len(chunk), block.ErrCorrupt)
		}
		part := chunk[e.Skip:][:e.Len]
		if e.Off < off {
			copy(data, part[off-e.Off:])
		} else {
			copy(data[e.Off-off:], part)
		}
	}
	return nil
}
