package state

import "github.com/wormhole-fs/wormhole/pkg/vfs"

// Limits of encoded rows, commits and heads. A decoder refuses what is over them before it takes memory.
//
// Users' operations stop at the lower InodeOpMax, so that 64 versions made apart (the most pods of a full
// mesh), each within InodeOpMax, fold into one that is still within InodeMax: a version that observed them all can always be written.
const (
	InodeOpMax  = 256 << 10 // bytes of an encoded inode that an operation may make
	InodeMax    = 16 << 20  // bytes of an encoded inode or wish
	LinksMax    = 65535     // names of an inode, dead ones included
	ContentsMax = 4096      // concurrent contents of an inode
	XattrsMax   = 4096      // extended attributes, removed ones included
	ExtMax      = 256       // later fields of an inode or wish
	ExtValueMax = 64 << 10  // bytes of a later field
	BodyMax     = 8 << 10   // bytes of an encoded body; the longest is a symlink's, with its target of vfs.TargetMax
	VersionsMax = 4096      // versions in a VerSet
	VVMax       = 1 << 16   // actors in a version vector
	ObservedMax = VersionsMax
	PolicyMax   = 64      // bytes of a policy's or durability's text
	HomesMax    = 1024    // home pods of a wish
	PinsMax     = 1 << 16 // pins of a wish, taken back ones included
	RowsMax     = 1 << 16 // rows of a commit
	CommitMax   = 64 << 20
	HeaderMax   = 4 << 20     // bytes of a commit's signed header, and of a head
	CtrMax      = 1<<36 - 1   // the counter in an inode number
	SnapNameMax = vfs.NameMax // bytes of a snapshot's name
)
