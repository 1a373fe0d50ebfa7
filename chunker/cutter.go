package chunker

import (
	"fmt"
	"io"
	"math/bits"
)

// Cutter cuts by parameters of its own. It is immutable and safe for concurrent use; the zero value cuts nothing.
type Cutter struct {
	t      *Table
	params Params

	before, after uint64 // the limits of the hash below and above the mean
}

// Gear is the parameters of content-defined chunks of a mean size, a power of two from 64 KiB to AvgSize.
func Gear(avg uint32) Params {
	return Params{Algorithm: AlgorithmGear2, Min: avg / 4, Avg: avg, Max: 4 * avg}
}

// Fixed is the parameters of chunks of one size in bytes, from FixedMin to MaxSize.
func Fixed(size uint32) Params {
	return Params{Algorithm: AlgorithmFixed, Min: size, Avg: size, Max: size}
}

// With cuts by some parameters. Error: ErrParams, for those that ParseParams refuses.
func (t *Table) With(p Params) (Cutter, error) {
	if !p.known() {
		return Cutter{}, fmt.Errorf("%w: algorithm %d, sizes %d, %d, %d", ErrParams, p.Algorithm, p.Min, p.Avg, p.Max)
	}
	n := bits.Len32(p.Avg) - 1
	return Cutter{t: t, params: p, before: 1 << (64 - n - 2), after: 1 << (64 - n + 2)}, nil
}

// Default cuts as Cut does.
func (t *Table) Default() Cutter {
	return Cutter{t: t, params: DefaultParams(), before: limitBeforeAvg, after: limitAfterAvg}
}

// Params are those that it cuts by.
func (c Cutter) Params() Params { return c.params }

// IsDefault says whether it cuts as Cut does.
func (c Cutter) IsDefault() bool { return c.params == DefaultParams() }

// ChunksMax is the most chunks that n bytes are cut into, wherever they begin.
func (c Cutter) ChunksMax(n int) int { return n/int(c.params.Min) + 2 }

// Cut is the length of the first chunk of b in bytes, where b stands at off in its file; 0 if b is empty. b must hold at least MaxSize bytes unless
// the stream ends with it. It allocates nothing.
func (c Cutter) Cut(b []byte, off int64) int {
	if c.params.Algorithm == AlgorithmFixed {
		size := int64(c.params.Max)
		return int(min(int64(len(b)), size-off%size))
	}
	return c.t.cut(b, int(c.params.Min), int(c.params.Avg), int(c.params.Max), c.before, c.after)
}

// SplitOver is Table.SplitOver by these parameters, for a stream that stands at off in its file.
func (c Cutter) SplitOver(r io.Reader, more func() []byte, off int64) *Splitter {
	return &Splitter{c: c, r: r, more: more, off: off}
}
