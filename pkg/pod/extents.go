package pod

import (
	"slices"
	"sync"
)

const (
	// pieceBytes is what one extent holds at most, so that a file which is written front to back is never copied to grow.
	pieceBytes = 256 << 10
	// smallBytes is what grows by doubling; beyond it memory for a whole piece is taken.
	smallBytes = 128 << 10
	// joinBytes: extents that touch and have no more together are made one.
	joinBytes = 8 << 10
)

// extent is a run of bytes that were written and not yet cut into chunks.
type extent struct {
	off  int64
	data []byte
}

func (e extent) end() int64 { return e.off + int64(len(e.data)) }

// extents are sorted by offset and don't overlap; one has pieceBytes at most. They own their bytes.
type extents struct {
	list  []extent
	bytes int64
	// claimed are the bytes that are being cut from a copy, as far as they are still those of the copy.
	claimed spans
}

// pieces are for the bytes of extents. Who lends them doesn't know what is in them.
var pieces = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

// write puts p at off, over what is there. p is copied.
func (x *extents) write(off int64, p []byte) {
	x.claimed = x.claimed.without(off, off+int64(len(p)))
	for i := x.find(off); len(p) > 0; {
		next := off + int64(len(p))
		if i == len(x.list) || x.list[i].off > off {
			x.list = slices.Insert(x.list, i, x.begin(i, off))
		}
		e := &x.list[i]
		next = min(next, e.off+pieceBytes)
		if i+1 < len(x.list) {
			next = min(next, x.list[i+1].off)
		}
		if next > off {
			x.bytes += e.put(off, p[:next-off])
			p, off = p[next-off:], next
		}
		if !x.join(i) {
			i++
		}
	}
}

// begin is an extent to be, the i-th, at off. One that goes on with a whole piece gets one, too.
func (x *extents) begin(i int, off int64) extent {
	e := extent{off: off}
	if i > 0 && x.list[i-1].end() == off {
		e.data = newPiece()[:0]
	}
	return e
}

// find is the first extent that ends at off or behind it.
func (x *extents) find(off int64) int {
	i, _ := slices.BinarySearchFunc(x.list, off, func(e extent, off int64) int {
		if e.end() < off {
			return -1
		}
		return 1
	})
	return i
}

// put puts p at off, which lies within the extent or at its end, and returns by how much the extent grew.
func (e *extent) put(off int64, p []byte) int64 {
	at, had := int(off-e.off), len(e.data)
	if n := at + len(p); n > had {
		e.data = grown(e.data, n)
	}
	copy(e.data[at:], p)
	return int64(len(e.data) - had)
}

// grown is data, n bytes long.
func grown(data []byte, n int) []byte {
	switch {
	case n <= cap(data):
		return data[:n]
	case n <= smallBytes:
		return slices.Grow(data, n-len(data))[:n]
	}
	larger := newPiece()[:n]
	copy(larger, data)
	return larger
}

func newPiece() []byte {
	p := pieces.Get().(*[pieceBytes]byte) //nolint:errcheck,forcetypeassert // the pool has only these
	return p[:]
}

// join makes one of an extent and the next, if they touch and are small, and says so.
func (x *extents) join(i int) bool {
	if i+1 >= len(x.list) {
		return false
	}
	e, next := &x.list[i], x.list[i+1]
	if e.end() != next.off || len(e.data)+len(next.data) > joinBytes {
		return false
	}
	e.put(next.off, next.data)
	next.free()
	x.list = slices.Delete(x.list, i+1, i+2)
	return true
}

// free has the memory of an extent that is gone used again. Only memory that is a whole piece has its size.
func (e extent) free() {
	if cap(e.data) == pieceBytes {
		pieces.Put((*[pieceBytes]byte)(e.data[:pieceBytes]))
	}
}

// truncate forgets what lies at size and beyond.
func (x *extents) truncate(size int64) {
	x.claimed = x.claimed.cut(size)
	for n := len(x.list); n > 0; n = len(x.list) {
		last := &x.list[n-1]
		if last.end() <= size {
			return
		}
		if last.off < size {
			x.bytes -= last.end() - size
			last.data = last.data[:size-last.off]
			return
		}
		x.bytes -= int64(len(last.data))
		last.free()
		x.list = x.list[:n-1]
	}
}

// punch forgets what lies in [off, end).
func (x *extents) punch(off, end int64) {
	x.claimed = x.claimed.without(off, end)
	i := x.find(off + 1)
	j := i
	var rest []extent // of those that reach out of the range
	for ; j < len(x.list) && x.list[j].off < end; j++ {
		e := x.list[j]
		x.bytes -= min(e.end(), end) - max(e.off, off)
		if e.off < off {
			rest = append(rest, extent{off: e.off, data: e.data[: off-e.off : off-e.off]})
		}
		if e.end() > end {
			rest = append(rest, extent{off: end, data: e.data[end-e.off:]})
		}
		if off <= e.off && e.end() <= end {
			e.free()
		}
	}
	x.list = slices.Replace(x.list, i, j, rest...)
}

// forget forgets all.
func (x *extents) forget() {
	for _, e := range x.list {
		e.free()
	}
	*x = extents{}
}

// overlay is a copy of the extents that lie within n bytes from off, cut to them.
func (x *extents) overlay(off, n int64) []extent {
	var out []extent
	for i := x.find(off + 1); i < len(x.list) && x.list[i].off < off+n; i++ {
		e := x.list[i]
		from, to := max(e.off, off), min(e.end(), off+n)
		out = append(out, extent{off: from, data: slices.Clone(e.data[from-e.off : to-e.off])})
	}
	return out
}

// run is the bytes [off, end), which were written; they are not copied where they lie in one piece.
func (x *extents) run(off, end int64) []byte {
	if e := x.list[x.find(off+1)]; end <= e.end() {
		return e.data[off-e.off : end-e.off]
	}
	return x.append(make([]byte, 0, end-off), off, end)
}

// append appends the bytes [off, end), which were written, to b.
func (x *extents) append(b []byte, off, end int64) []byte {
	for i := x.find(off + 1); off < end; i++ {
		e := x.list[i]
		b = append(b, e.data[off-e.off:min(end, e.end())-e.off]...)
		off = e.end()
	}
	return b
}

// runFrom is the run of extents that touch each other which has byte off or begins behind it; none: off and end are 0.
func (x *extents) runFrom(off int64) (r span) {
	for i := x.find(off + 1); i < len(x.list); i++ {
		e := x.list[i]
		if r.end > 0 && e.off > r.end {
			break
		}
		if r.end == 0 {
			r.off = max(e.off, off)
		}
		r.end = e.end()
	}
	return r
}

// runs are the runs of extents that touch each other.
func (x *extents) runs() (all spans) {
	for _, e := range x.list {
		all = all.add(e.off, e.end())
	}
	return all
}
