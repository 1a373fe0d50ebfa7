package store

import (
	"fmt"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Fragments stand in segments and in the index under names that look like IDs, with a codec of their own: so all that is done with a block by
// its ID is done with a fragment. The hash of such a name is made of
//
//	0   16 bytes  the first half of the hash in the block's ID: the fragments of a block are found by it, and stand together in the index
//	16  16 bytes  the first half of BLAKE3-256("wormhole/fragment/1" ‖ the fragment's binary form)
//
// It is never sent, and none that comes from elsewhere is taken (block.FromBytes refuses the codec). Behind all blocks in the order of IDs come all
// fragments.
const codecFragment block.Codec = 0x7f

const (
	nameDomain = "wormhole/fragment/1"
	nameHalf   = block.HashLen / 2
)

// nameOf is the name of a fragment.
func nameOf(f block.Fragment) block.ID {
	of := f.ID.Hash()
	own := blake3.Sum256(f.Append([]byte(nameDomain)))
	copy(of[nameHalf:], own[:nameHalf])
	return block.FromHash(codecFragment, of)
}

// familyOf is what the names of all fragments of a block begin with, and zeros behind it. It names no fragment.
func familyOf(name block.ID) block.ID {
	h := name.Hash()
	clear(h[nameHalf:])
	return block.FromHash(codecFragment, h)
}

// beforeFragments is behind all blocks in the order of IDs, and before all fragments.
var beforeFragments = block.FromHash(codecFragment, [block.HashLen]byte{})

func isFragment(id block.ID) bool { return id.Codec() == codecFragment }

// readID reads an ID, or the name of a fragment, as the store wrote it. The error is block.ErrBadID.
func readID(b []byte) (block.ID, error) {
	if len(b) == block.IDLen && block.Codec(b[1]) == codecFragment {
		if id := block.FromHash(codecFragment, [block.HashLen]byte(b[4:])); string(id.Append(nil)) == string(b) {
			return id, nil
		}
		return block.ID{}, fmt.Errorf("name of a fragment: %x: %w", b, block.ErrBadID)
	}
	return block.FromBytes(b)
}
