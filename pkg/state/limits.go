package state

import (
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Limits that users' operations keep to.
const (
	InodeOpMax  = 256 << 10 // bytes of an encoded inode
	LinksOpMax  = 65535     // names of an inode, dead ones included
	XattrsOpMax = 1024      // extended attributes, removed ones included
)

// Limits of encoded rows, commits and heads. A decoder refuses what is over them before it takes memory.
//
// Those of rows leave room for the fold of 64 versions made apart (a full mesh has 64 pods at most), each within the limits of
// operations: a version that observed them all can always be written.
const (
	InodeMax    = 64 * InodeOpMax // bytes of an encoded inode or wish
	LinksMax    = 64 * (LinksOpMax + 1)
	XattrsMax   = 64 * XattrsOpMax
	ContentsMax = 1 << 14                     // concurrent contents of an inode
	ExtMax      = 1 << 12                     // later fields of an inode or wish
	ExtValueMax = 64 << 10                    // bytes of a later field
	BodyMax     = 8 << 10                     // bytes of an encoded body; the longest is a symlink's, with its target of vfs.TargetMax
	VersionsMax = 1 << 16                     // versions in a VerSet, and dots that a row of a commit observed
	VVMax       = 1 << 16                     // actors in a version vector, deps of a commit
	PolicyMax   = 64                          // bytes of a policy's or durability's text
	HomesMax    = 1024                        // home pods of a wish
	PinsMax     = 1 << 16                     // pins of a wish, taken back ones included
	RowsMax     = 1 << 16                     // rows of a commit
	RowsBytes   = 32 << 20                    // bytes of a commit's encoded rows; a pod closes a commit long before
	HeaderMax   = 4 << 20                     // bytes of a commit's header, and of a head
	CommitMax   = RowsBytes + HeaderMax + 128 // bytes of an encoded commit
)

// FitsOp says whether an operation that adds a link or an attribute may write this inode, of so many encoded bytes. Other operations
// don't ask: what versions made apart say together may be over the limits of operations, and must stay open to change.
// Errors: vfs.ErrTooManyLinks, vfs.ErrNoSpace (too many or too large attributes).
func (n *Inode) FitsOp(encoded int) error {
	switch {
	case len(n.Links) > LinksOpMax || encoded > InodeOpMax && len(n.Links) > LinksOpMax/64:
		return fmt.Errorf("%d links in %d bytes: %w", len(n.Links), encoded, vfs.ErrTooManyLinks)
	case len(n.Xattrs) > XattrsOpMax || encoded > InodeOpMax:
		return fmt.Errorf("inode of %d bytes with %d attributes: %w", encoded, len(n.Xattrs), vfs.ErrNoSpace)
	}
	return nil
}
