// Package bloom keeps sets of block IDs in a few bits each, for questions whose answer is mostly no.
//
// Its type is Filter. It never denies what was added; it may affirm what was not. It is a blocked Bloom filter (Putze, Sanders, Singler,
// "Cache-, Hash- and Space-Efficient Bloom Filters", 2007): all bits of an ID stand in one line of 64 bytes, so that a question
// costs one access to memory. The hash of an ID is in the ID, a seed is mixed in.
package bloom

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

const (
	probes    = 7 // bits set for each ID; their numbers take 9 bits each of one word
	lineWords = 8
	lineBits  = 64 * lineWords
)

// Filter is a set of block IDs. Its methods may be called at the same time as Has and Len only by Has and Len.
type Filter struct {
	seed  [4]uint64
	lines [][lineWords]uint64
	n     int
}

// New makes a filter for n IDs, at least one line of 64 bytes. It may hold more, and errs more often then. With 10 bits for each of
// n IDs one lookup of another in 100 is wrong, with 16 one in 900.
//
// Each filter has a seed of its own: nobody can make blocks that are always affirmed, and the next filter errs elsewhere.
func New(n, bitsEach int) *Filter {
	f := &Filter{lines: make([][lineWords]uint64, max(1, (n*bitsEach+lineBits-1)/lineBits))}
	for i := range f.seed {
		f.seed[i] = rand.Uint64()
	}
	return f
}

// Add adds an ID.
func (f *Filter) Add(id block.ID) {
	line, probe := f.hash(id)
	for range probes {
		line[probe/64%lineWords] |= 1 << (probe % 64)
		probe >>= 9
	}
	f.n++
}

// Has is true for an ID that was added, and for a few others.
func (f *Filter) Has(id block.ID) bool {
	line, probe := f.hash(id)
	for range probes {
		if line[probe/64%lineWords]&(1<<(probe%64)) == 0 {
			return false
		}
		probe >>= 9
	}
	return true
}

// Len is how often Add was called.
func (f *Filter) Len() int { return f.n }

// hash is the line of an ID, and the numbers of its bits there.
func (f *Filter) hash(id block.ID) (line *[lineWords]uint64, probe uint64) {
	h := id.Hash()
	at := mix(binary.LittleEndian.Uint64(h[:])^f.seed[0], binary.LittleEndian.Uint64(h[8:])^f.seed[1])
	i, _ := bits.Mul64(at, uint64(len(f.lines)))
	return &f.lines[i], mix(binary.LittleEndian.Uint64(h[16:])^f.seed[2], binary.LittleEndian.Uint64(h[24:])^f.seed[3])
}

// mix makes one word of two, each bit of which depends on both.
func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}
