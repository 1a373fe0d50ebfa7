package placement

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Groups is how many groups there are.
const Groups = 1 << groupBits

const groupBits = 12

// Group is a placement group: the first 12 bits of a block's Kademlia key, 0 to Groups-1.
type Group uint16

// GroupOf is the group of a block. Chunk and node of one hash are of one group.
func GroupOf(id block.ID) Group {
	sum := sha256.Sum256(id.Multihash())
	return Group(binary.BigEndian.Uint16(sum[:]) >> (16 - groupBits))
}

const domainRendezvous = "wormhole/rendezvous/1\x00"

// distance is L of the package's arithmetic: -log2 of a number in (0, 1) that group and pod determine, in fixed
// point with 32 bits after the point; 1 to 64<<32.
func distance(g Group, pod ident.Pod) uint64 {
	b := make([]byte, 0, len(domainRendezvous)+2+len(pod))
	b = append(b, domainRendezvous...)
	b = binary.BigEndian.AppendUint16(b, uint16(g))
	sum := blake3.Sum256(append(b, pod[:]...))
	return 64<<fractionBits - log2(binary.BigEndian.Uint64(sum[:])|1)
}

const fractionBits = 32

// log2 is the logarithm of x, which is not 0, rounded down to a multiple of 2^-32.
func log2(x uint64) uint64 {
	zeros := bits.LeadingZeros64(x)
	mantissa := x << zeros // in [1, 2), 63 bits after the point
	log := uint64(63 - zeros)
	for range fractionBits {
		log <<= 1
		hi, lo := bits.Mul64(mantissa, mantissa) // in [1, 4), 126 bits after the point
		if hi>>63 == 1 {
			log |= 1
			mantissa = hi
		} else {
			mantissa = hi<<1 | lo>>63
		}
	}
	return log
}
