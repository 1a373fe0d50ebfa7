package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/dag"
)

const (
	foldWindow  = 1 << 20 // bytes: a window with too many entries is rewritten as one chunk, or as few as a rule lets
	foldEntries = 64      // entries in a window (DESIGN section 3)
)

// cutLocked turns written bytes into chunks and their entries. With all unset, the last bytes of the file are
// left where they are while they may still grow into a larger chunk. Errors: errCutting, and missing; nothing is lost by any.
func (p *Pod) cutLocked(ctx context.Context, h here, n *node, all bool) error {
	if n.cutting != nil {
		return errCutting
	}
	size := n.attr.Size
	if all && size <= dag.InlineMax {
		return p.inlineLocked(ctx, h, n)
	}
	p.uninlineLocked(n)
	m := p.makingAt(n.row)
	for {
		b := n.claimLocked(all, false)
		if len(b.runs) == 0 {
			break
		}
		err := p.putBatch(ctx, n.id, &b, m)
		if err == nil {
			err = p.placeLocked(ctx, h, n, &b, m)
		}
		n.ext.claimed = nil
		b.release()
		if err != nil {
			return err
		}
	}
	n.uncut = false
	if all && n.body.Size != size {
		body, err := h.resize(ctx, n.body, size)
		if err != nil {
			return err
		}
		n.setBody(body)
	}
	return nil
}

// setBody notes what was cut. A record of the journal can't say it any more.
func (n *node) setBody(body dag.Body) { n.body, n.fresh.beyond = body, true }

// placeLocked splices what was cut into the body, as far as it is still what was written last.
func (p *Pod) placeLocked(ctx context.Context, h here, n *node, b *batch, m making) error {
	for i := range b.runs {
		r := &b.runs[i]
		for _, s := range n.ext.claimed.within(r.off, r.off+r.cut) {
			off, length := uint64(s.off), uint64(s.end-s.off)
			body := n.body
			body.Params = m.params()
			body, err := h.splice(ctx, body, off, length, clip(r.entries, uint64(s.off-r.off), length))
			if err == nil {
				body, err = p.fold(ctx, h, body, off, length, m)
			}
			if err != nil {
				return fmt.Errorf("pod: file %d: place bytes written at %d: %w", n.id, s.off, err)
			}
			n.setBody(body)
			p.changeLocked(n, func(x *extents) { x.punch(s.off, s.end) })
		}
	}
	return nil
}

// changeLocked changes what was written and not cut.
func (p *Pod) changeLocked(n *node, f func(x *extents)) {
	before := n.ext.bytes
	f(&n.ext)
	p.dirtyBytes.Add(n.ext.bytes - before)
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
	for _, e := range n.ext.list {
		copy(data[e.off:], e.data)
	}
	p.changeLocked(n, (*extents).forget)
	n.setBody(dag.Body{})
	if len(data) > 0 {
		n.setBody(dag.InlineBody(data))
	}
	return nil
}

// uninlineLocked makes written bytes of an inline body's, under those that were written over them.
func (p *Pod) uninlineLocked(n *node) {
	if n.body.Inline == nil {
		return
	}
	under := slices.Clone(n.body.Inline)
	for _, e := range n.ext.overlay(0, int64(len(under))) {
		copy(under[e.off:], e.data)
	}
	p.changeLocked(n, func(x *extents) { x.write(0, under) })
	n.setBody(dag.Body{})
}

// fold rewrites the windows that a write of n bytes at off touched and that fell into too many entries, but for those whose bytes are not all
// here: they are left to a later write.
func (p *Pod) fold(ctx context.Context, h here, b dag.Body, off, n uint64, m making) (dag.Body, error) {
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
		entries, err := p.putWindow(ctx, data, int64(at), m)
		if err != nil {
			return dag.Body{}, err
		}
		if b, err = h.splice(ctx, b, at, length, entries); err != nil {
			return dag.Body{}, err
		}
	}
	return b, nil
}

// putWindow puts the bytes of a window as one chunk, or as those that a rule cuts.
func (p *Pod) putWindow(ctx context.Context, data []byte, at int64, m making) ([]dag.Entry, error) {
	var out []dag.Entry
	for len(data) > 0 {
		n := len(data)
		if !m.cut.IsDefault() {
			n = m.cut.Cut(data, at)
		}
		id, _, err := p.putChunk(ctx, data[:n], m)
		if err != nil {
			return nil, err
		}
		out = append(out, dag.Entry{Len: uint64(n), ID: id})
		data, at = data[n:], at+int64(n)
	}
	return out, nil
}
