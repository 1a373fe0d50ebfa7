package state

import (
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Ino is the number of an inode. Bit 63 = 0: member (18 bits) | incarnation (9) | counter (36).
// Bit 63 = 1: derived from a folder's place, or the number of a conflict copy in the view. The root is 1.
type Ino = vfs.NodeID

// RootIno is the number of the root folder.
const RootIno = vfs.RootID

// Dot names one change: the author and the number of the commit that carries it.
// The zero value is the dot of a change that has not been committed.
type Dot struct {
	Actor ident.Actor
	Seq   uint64 // from 1
}

// VV is a version vector: per actor the highest seq that was seen.
type VV map[ident.Actor]uint64

// HLC is a hybrid logical clock: milliseconds since 1970 UTC in the upper 48 bits, a counter in the lower 16.
type HLC uint64

// TS orders concurrent changes: by HLC, then actor. The zero value is before all others.
type TS struct {
	HLC   HLC
	Actor ident.Actor
}

// Reg is a register: the value with the later TS wins.
type Reg[T any] struct {
	Value T
	TS    TS
}

// Owner is the user and group that own an inode.
type Owner struct{ UID, GID uint32 }

// Inode is one version of a file, folder, link or other node, under its number: DESIGN section 5.
type Inode struct {
	Dot      Dot // beside the encoded version, not in it
	Kind     vfs.Kind
	Mode     Reg[uint32] // 07777
	Owner    Reg[Owner]
	Xattrs   []Xattr // sorted by name
	RDev     uint64
	Btime    int64     // ns since 1970
	Ext      []Ext     // sorted by field; fields unknown here are kept
	Links    []Link    // sorted by ID; folders have exactly one
	Contents []Content // sorted newest first (TS, then dot and k); [0] is shown; folders have none
	Seen     []Dot     // per actor the highest content dot observed, sorted by actor; nil iff equal to the listed contents
}

// Xattr is an extended attribute, or the memory that it was removed.
type Xattr struct {
	Name  string
	Value []byte
	Gone  bool
	TS    TS
}

// Ext is a field that was added to the format later.
type Ext struct {
	Field uint64
	TS    TS
	Value []byte
}

// ExtFolderMtime is the Ext field with a folder's mtime as set by utimes: 8 bytes big-endian, ns since 1970.
const ExtFolderMtime = 1

// ExtAtime is the Ext field with the time of access as set by utimes: 8 bytes big-endian, ns since 1970.
const ExtAtime = 2

// Link is a name of an inode. The place {Parent, Name, TS} and the death {Dead, DeadTS} are two registers,
// folded on their own.
type Link struct {
	ID         uint64 // 0 for the first link and for folders
	Parent     Ino
	Name       string
	TS         TS
	Dead       bool
	DeadTS     TS
	PrevParent Ino // where it was before the last rename; 0 if it never moved
	PrevName   string
	Over       *Over
}

// Over says that a link replaced another file: a save by rename.
type Over struct {
	Ino   Ino // the lineage
	Since TS
	TS    TS
}

// Content is what a file held, or a symlink's target, as of one change.
type Content struct {
	Dot     Dot
	K       uint32
	TS      TS
	Size    uint64 // bytes
	Mtime   int64  // ns since 1970
	MtimeTS TS
	Body    []byte // an encoded dag.Body; empty for a file of no bytes
}

// ContentName names one content of an inode for good.
type ContentName struct {
	Dot Dot
	K   uint32
}

// VerSet is the versions of one row: sorted by dot, one element in normal life.
type VerSet[T any] []Version[T]

// Version is one version in a VerSet.
type Version[T any] struct {
	Dot   Dot
	Value T
}

// Wish is what a path's owner asks for its bytes: DESIGN sections 5 and 6. An empty field is inherited.
type Wish struct {
	Policy     Reg[string] // "none", "replica:2", "rs:4+2" …
	Durability Reg[string] // "local", "quorum", "full"
	Homes      Reg[[]ident.Pod]
	Pins       []Pin // sorted by pod
	Ext        []Ext
}

// WishMoved is the Ext field of a wish whose homes nobody chose: it was moved to where it is read most. It holds as long as its stamp is that of Homes.
const WishMoved = 1

// Ext fields of a wish that hold the text of a rule for what is at and below it (pkg/pod says which texts there are); an empty text is inherited.
const (
	WishCompression = 2
	WishChunking    = 3
	WishRetention   = 4
	WishMinority    = 5
	WishQuota       = 6
)

// Rule is the text of an Ext field; "": it is inherited, or can't be read.
func (w *Wish) Rule(field uint64) string {
	for _, e := range w.Ext {
		if e.Field == field && len(e.Value) <= PolicyMax {
			return string(e.Value)
		}
	}
	return ""
}

// Moved says whether a wish's homes are where it is read most, and not a user's choice.
func (w *Wish) Moved() bool {
	return slices.ContainsFunc(w.Ext, func(e Ext) bool {
		return e.Field == WishMoved && e.TS == w.Homes.TS && len(e.Value) == 1 && e.Value[0] == 1
	})
}

// Pin is a promise to keep a whole copy on a pod, or the memory that it was taken back.
type Pin struct {
	Pod  ident.Pod
	Gone bool
	TS   TS
}
