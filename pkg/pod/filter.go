package pod

import (
	"hash/maphash"
	"math/bits"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Of a filter with as many IDs as it is made for, one lookup in 1500 or so is wrong (Bloom 1970; the probes are made from two hashes as
// Kirsch and Mitzenmacher show, "Less Hashing, Same Performance", 2006).
const (
	filterBits   = 16 // bits for each ID
	filterProbes = 8
)

// A filter is a set of block IDs in two bytes each. It never denies what was added; it may affirm what was not. Each has
// a seed of its own: nobody can make blocks that are always affirmed, and the next filter errs elsewhere.
type filter struct {
	a, b maphash.Seed
	bits []uint64
	mask uint64
	n    int // added, repetitions counted
}

// newFilter makes a filter for n IDs or somewhat more.
func newFilter(n int) *filter {
	words := uint64(1) << bits.Len64(uint64(max(n, 64)*filterBits/64-1))
	return &filter{a: maphash.MakeSeed(), b: maphash.MakeSeed(), bits: make([]uint64, words), mask: words*64 - 1}
}

func (f *filter) add(id block.ID) {
	h, step := f.hash(id)
	for range filterProbes {
		f.bits[(h&f.mask)/64] |= 1 << (h % 64)
		h += step
	}
	f.n++
}

// full says whether more was added than the filter has bits for.
func (f *filter) full() bool { return f.n > len(f.bits)*64/filterBits }

func (f *filter) has(id block.ID) bool {
	h, step := f.hash(id)
	for range filterProbes {
		if f.bits[(h&f.mask)/64]&(1<<(h%64)) == 0 {
			return false
		}
		h += step
	}
	return true
}

func (f *filter) hash(id block.ID) (start, step uint64) {
	return maphash.Comparable(f.a, id), maphash.Comparable(f.b, id) | 1
}
