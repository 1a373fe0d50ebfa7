// Package chunker cuts a stream of bytes into chunks at places that its content chooses, so that equal
// stretches of two files, or of two versions of one, give equal chunks wherever they stand (FastCDC: Xia
// and others, USENIX ATC 2016, with normalised chunking of level 2).
//
// # The rule (algorithm 1)
//
// A gear hash rolls over the bytes: h = h<<1 + table[byte], modulo 2^64, so that h depends on the last 64
// bytes only. With min = 256 KiB, avg = 1 MiB, max = 4 MiB and n the bytes that are left:
//
//	n <= min             the chunk is all of it
//	h starts at 0        64 bytes before min: the warm-up
//	min  <= i < avg      the chunk ends after byte i if the upper 22 bits of h (byte i included) are zero
//	avg  <= i < max      the same with 18 bits
//	else                 the chunk ends at max, or with the stream
//
// The table has 256 words, made from a key: a network's own key hides what the sizes of chunks would tell
// about their content. The zero key is for public networks.
//
// Cut looks at two places at once: because h forgets after 64 bytes, the second half of each stretch can
// be hashed beside the first, and the processor works on both. The cuts are those of the plain loop.
//
// Other parameters may be chosen for some files (With): smaller chunks by the same rule, with min and max a quarter and four times avg and
// the bits of h that count two more and two fewer than avg has; or, by algorithm 2, chunks that end at each multiple of one size in the file.
//
// Changing the algorithm, a parameter or the table ends deduplication against what was written before;
// therefore the parameters (Params) stand in each body.
//
// A Table is immutable and safe for concurrent use; a Splitter is used by one goroutine.
package chunker

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes of chunks in bytes.
const (
	MinSize = 256 << 10
	AvgSize = 1 << 20 // the mean on random data is 1157 KiB
	MaxSize = 4 << 20
)

// The algorithms.
const (
	AlgorithmGear2 = 1 // gear FastCDC with normalised chunking of level 2
	AlgorithmFixed = 2 // a chunk ends where its end in the file is a multiple of a size, which is min, avg and max
)

// FixedMin is the least size of chunks of AlgorithmFixed in bytes: of a smaller one each chunk would cost as much as it holds.
const FixedMin = 16 << 10

// paramsLen is the length of encoded Params in bytes.
const paramsLen = 13

// ErrParams says that bytes are no parameters that are known here.
var ErrParams = errors.New("chunker parameters are not known")

// Params says how chunks were cut. Encoded, 13 bytes, integers big-endian:
//
//	0  u8   algorithm
//	1  u32  min, in bytes
//	5  u32  avg
//	9  u32  max
type Params struct {
	Algorithm byte
	Min       uint32 // bytes
	Avg       uint32 // bytes
	Max       uint32 // bytes
}

// DefaultParams are those by which Cut and Split cut.
func DefaultParams() Params {
	return Params{Algorithm: AlgorithmGear2, Min: MinSize, Avg: AvgSize, Max: MaxSize}
}

// Append appends the encoded parameters to b.
func (p Params) Append(b []byte) []byte {
	b = append(b, p.Algorithm)
	b = binary.BigEndian.AppendUint32(b, p.Min)
	b = binary.BigEndian.AppendUint32(b, p.Avg)
	return binary.BigEndian.AppendUint32(b, p.Max)
}

// ParseParams reads what Append writes; b holds nothing else. The error is ErrParams, also for sizes that
// are not in order.
func ParseParams(b []byte) (Params, error) {
	if len(b) != paramsLen {
		return Params{}, fmt.Errorf("%w: %d bytes instead of %d", ErrParams, len(b), paramsLen)
	}
	p := Params{
		Algorithm: b[0],
		Min:       binary.BigEndian.Uint32(b[1:]),
		Avg:       binary.BigEndian.Uint32(b[5:]),
		Max:       binary.BigEndian.Uint32(b[9:]),
	}
	if !p.known() {
		return Params{}, fmt.Errorf("%w: algorithm %d, sizes %d, %d, %d", ErrParams, p.Algorithm, p.Min, p.Avg, p.Max)
	}
	return p, nil
}

func (p Params) known() bool {
	switch p.Algorithm {
	case AlgorithmGear2:
		return p.Min >= window && p.Min < p.Avg && p.Avg < p.Max && p.Max <= MaxSize
	case AlgorithmFixed:
		return p.Min == p.Avg && p.Avg == p.Max && p.Min >= FixedMin && p.Max <= MaxSize
	}
	return false
}
