package pod

import (
	"context"
	"io"

	"github.com/wormhole-fs/wormhole/dag"
)

// holeWindow is how many bytes of a body are searched for data at a time: a thousand entries of the usual size.
const holeWindow = 1 << 30

// NextData is the first run of bytes at off or behind it that are no hole, as far as is known without reading them: a hole
// lies before it. io.EOF says that only a hole follows, up to the file's end.
func (f *file) NextData(ctx context.Context, off int64) (from, to int64, err error) {
	n := f.n
	n.mu.RLock()
	size, body := int64(n.attr.Size), n.body
	over := n.ext.runFrom(off) // the first that was written and not cut
	n.mu.RUnlock()
	from, to, err = f.p.nextData(ctx, body, min(off, size), size)
	if over.end > off && (err == io.EOF || err == nil && over.off < from) { //nolint:errorlint // nextData's own
		return over.off, over.end, nil
	}
	return from, to, err
}

// NextData is as file's.
func (f treeFile) NextData(ctx context.Context, off int64) (from, to int64, err error) {
	return f.p.nextData(ctx, f.body, off, int64(f.body.Size))
}

// nextData is NextData of a body that is cut at size, which may be more than it has.
func (p *Pod) nextData(ctx context.Context, body dag.Body, off, size int64) (from, to int64, err error) {
	size = min(size, int64(body.Size))
	if body.Inline != nil && off < size {
		return off, size, nil
	}
	for at := off; at < size; {
		placed, err := dag.Range(ctx, blocks{p}, body, uint64(at), uint64(min(holeWindow, size-at)))
		if err != nil {
			return 0, 0, err
		}
		for _, e := range placed {
			lo, hi := max(int64(e.Off), off), min(int64(e.Off+e.Len), size)
			at = max(at, hi)
			switch {
			case e.IsHole() && to > 0:
				return from, to, nil
			case e.IsHole():
			case to == 0:
				from, to = lo, hi
			default:
				to = hi
			}
		}
		if to > 0 {
			return from, to, nil
		}
		if len(placed) == 0 {
			break
		}
	}
	return 0, 0, io.EOF
}
