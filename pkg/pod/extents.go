package pod

import "slices"

// extent is a run of bytes that were written and not yet cut into chunks.
type extent struct {
	off  int64
	data []byte
}

func (e extent) end() int64 { return e.off + int64(len(e.data)) }

// extents are sorted by offset and neither overlap nor touch. They own their bytes.
type extents struct {
	list  []extent
	bytes int64
}

// write puts p at off, over what is there. p is copied.
func (x *extents) write(off int64, p []byte) {
	if len(p) == 0 {
		return
	}
	end := off + int64(len(p))
	// The extents [i, j) overlap or touch what is written.
	i, _ := slices.BinarySearchFunc(x.list, off, func(e extent, off int64) int {
		if e.end() < off {
			return -1
		}
		return 1
	})
	j := i
	for j < len(x.list) && x.list[j].off <= end {
		j++
	}
	if i == j {
		x.list = slices.Insert(x.list, i, extent{off: off, data: slices.Clone(p)})
		x.bytes += int64(len(p))
		return
	}
	first, last := x.list[i], x.list[j-1]
	if j == i+1 && off >= first.off {
		// The usual cases, an append and an overwrite in place, grow the one extent.
		if grow := end - first.end(); grow > 0 {
			first.data = append(first.data[:off-first.off], p...)
			x.bytes += grow
		} else {
			copy(first.data[off-first.off:], p)
		}
		x.list[i] = first
		return
	}
	from, to := min(off, first.off), max(end, last.end())
	data := make([]byte, to-from)
	for _, e := range x.list[i:j] {
		copy(data[e.off-from:], e.data)
		x.bytes -= int64(len(e.data))
	}
	copy(data[off-from:], p)
	x.bytes += int64(len(data))
	x.list = slices.Replace(x.list, i, j, extent{off: from, data: data})
}

// truncate forgets what lies at size and beyond.
func (x *extents) truncate(size int64) {
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
		x.list = x.list[:n-1]
	}
}

// punch forgets what lies in [off, end).
func (x *extents) punch(off, end int64) {
	var rest []extent
	x.bytes = 0
	for _, e := range x.list {
		if e.end() <= off || e.off >= end {
			rest = append(rest, e)
		} else {
			if e.off < off {
				rest = append(rest, extent{off: e.off, data: e.data[: off-e.off : off-e.off]})
			}
			if e.end() > end {
				rest = append(rest, extent{off: end, data: e.data[end-e.off:]})
			}
		}
	}
	for _, e := range rest {
		x.bytes += int64(len(e.data))
	}
	x.list = rest
}

// overlay is a copy of the extents that lie within n bytes from off, cut to them.
func (x *extents) overlay(off, n int64) []extent {
	var out []extent
	for _, e := range x.list {
		from, to := max(e.off, off), min(e.end(), off+n)
		if from < to {
			out = append(out, extent{off: from, data: slices.Clone(e.data[from-e.off : to-e.off])})
		}
	}
	return out
}

// run is the bytes [off, end), which were written; they are not copied.
func (x *extents) run(off, end int64) []byte {
	i, _ := slices.BinarySearchFunc(x.list, off, func(e extent, off int64) int {
		if e.end() <= off {
			return -1
		}
		return 1
	})
	return x.list[i].data[off-x.list[i].off : end-x.list[i].off]
}

// take hands over all extents and is empty then.
func (x *extents) take() []extent {
	list := x.list
	*x = extents{}
	return list
}
