package pod

import "slices"

// span is a run of bytes of a file: [off, end).
type span struct{ off, end int64 }

// spans are sorted and neither overlap nor touch.
type spans []span

// add is s and [off, end).
func (s spans) add(off, end int64) spans {
	if off >= end {
		return s
	}
	// The spans [i, j) overlap or touch the new one.
	i, _ := slices.BinarySearchFunc(s, off, func(e span, off int64) int {
		if e.end < off {
			return -1
		}
		return 1
	})
	j := i
	for j < len(s) && s[j].off <= end {
		off, end = min(off, s[j].off), max(end, s[j].end)
		j++
	}
	return slices.Replace(s, i, j, span{off, end})
}

// cut is what of s lies before size.
func (s spans) cut(size int64) spans {
	for len(s) > 0 && s[len(s)-1].off >= size {
		s = s[:len(s)-1]
	}
	if n := len(s); n > 0 {
		s[n-1].end = min(s[n-1].end, size)
	}
	return s
}

// without is s less [off, end).
func (s spans) without(off, end int64) spans {
	if off >= end || len(s) == 0 {
		return s
	}
	// The spans [i, j) overlap the range.
	i, _ := slices.BinarySearchFunc(s, off, func(e span, off int64) int {
		if e.end <= off {
			return -1
		}
		return 1
	})
	j := i
	var rest spans // of those that reach out of the range
	for ; j < len(s) && s[j].off < end; j++ {
		if s[j].off < off {
			rest = append(rest, span{s[j].off, off})
		}
		if s[j].end > end {
			rest = append(rest, span{end, s[j].end})
		}
	}
	return slices.Replace(s, i, j, rest...)
}

// within is what of s lies in [off, end), in memory of its own.
func (s spans) within(off, end int64) (in spans) {
	for _, e := range s {
		if from, to := max(e.off, off), min(e.end, end); from < to {
			in = append(in, span{from, to})
		}
	}
	return in
}

// bytes is how many bytes s covers.
func (s spans) bytes() (n int64) {
	for _, e := range s {
		n += e.end - e.off
	}
	return n
}
