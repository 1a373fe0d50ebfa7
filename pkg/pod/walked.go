package pod

import (
	"encoding/binary"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Of the bodies that a collection has walked it remembers so many at the most: 16 MiB.
const (
	walkedWays = 4
	walkedMax  = 1 << 20
)

// walked is a block whose own links were marked: the first half of its hash. What else has that half can't be found, by accident or on purpose
// (2^128 tries for one given, 2^64 for any two, which then only lose each other).
type walked [16]byte

func walkedID(id block.ID) walked {
	var w walked
	b := id.Bytes()
	copy(w[:], b[len(b)-32:])
	return w
}

// walkedBodies remembers bodies, the newest of those that fall into one place. What it forgot is only walked once more.
type walkedBodies [][walkedWays]walked

// newWalkedBodies has room for n bodies or so, at most for walkedMax.
func newWalkedBodies(n int) walkedBodies {
	places := 16
	for places*walkedWays < min(n, walkedMax) {
		places *= 2
	}
	return make(walkedBodies, places)
}

func (s walkedBodies) place(w walked) *[walkedWays]walked {
	return &s[binary.BigEndian.Uint64(w[:])%uint64(len(s))]
}

func (s walkedBodies) add(w walked) {
	p := s.place(w)
	copy(p[1:], p[:walkedWays-1])
	p[0] = w
}

func (s walkedBodies) has(w walked) bool {
	for _, other := range s.place(w) {
		if other == w {
			return true
		}
	}
	return false
}
