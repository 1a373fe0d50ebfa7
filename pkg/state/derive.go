package state

import (
	"encoding/binary"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// derivedBit is set in numbers that are computed and not counted.
const derivedBit Ino = 1 << 63

// numberBits is the width of what a member counts in an inode number.
const numberBits = lotBits + lotNumberBits

// copyContext separates the numbers of conflict copies from every other use of BLAKE3.
const copyContext = "wormhole/copy/1"

// InoOf is a number of an actor's member: member 18 | lot 31 | number 14 bits, the two latter in n. Link ids are made by it too. It doesn't name the
// incarnation: that a number is given once rests on the lot, which is drawn by chance.
func InoOf(a ident.Actor, n uint64) Ino {
	return Ino(uint64(a.Member)<<numberBits | n&(1<<numberBits-1))
}

// IsDerived says whether a number was computed: a folder's, or a conflict copy's in the view.
func IsDerived(n Ino) bool { return n&derivedBit != 0 }

// DeriveFolderIno is the number of the n-th folder (from 0) made at a place: 2^63 | the first 63 bits of BLAKE3,
// keyed by the network id, over parent u64, n u64 (big-endian) and name. mkdir takes the smallest n for which no row
// exists or the row is a dead folder at this very place: so two pods that make the same folder apart have one folder.
func DeriveFolderIno(net ident.Network, parent Ino, name string, n uint64) Ino {
	h, err := blake3.NewKeyed(net[:])
	if err != nil {
		panic(err) // the key has 32 bytes, which is what NewKeyed asks for
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 16+len(name)), uint64(parent))
	b = binary.BigEndian.AppendUint64(b, n)
	_, _ = h.Write(append(b, name...)) // a hash never fails to take bytes
	return derived(h)
}

// CopyIno is the number in the view of a content that is shown as a conflict copy: 2^63 | the first 63 bits of BLAKE3 in
// key derivation mode over ino u64, actor u64, seq u64, k u32 (big-endian).
func CopyIno(ino Ino, name ContentName) Ino {
	h := blake3.NewDeriveKey(copyContext)
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 28), uint64(ino))
	b = binary.BigEndian.AppendUint64(b, name.Dot.Actor.Uint())
	b = binary.BigEndian.AppendUint64(b, name.Dot.Seq)
	_, _ = h.Write(binary.BigEndian.AppendUint32(b, name.K))
	return derived(h)
}

func derived(h *blake3.Hasher) Ino {
	var sum [32]byte
	return derivedBit | Ino(binary.BigEndian.Uint64(h.Sum(sum[:0]))>>1)
}
