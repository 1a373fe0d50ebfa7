// Package vfs is the file system that every surface shows: the FUSE mount, WebDAV, the CLI. It is the
// interface between surfaces and the engine, with POSIX semantics and no word of how bytes are stored.
//
// Nodes are known by number (NodeID). An FS and the Files it opens are safe for concurrent use.
// Sub-packages: memfs, a reference in memory, and vfstest, the suite that every FS must pass.
package vfs

import (
	"context"
	"errors"
	"fmt"
)

// Errors that an FS returns, wrapped; a surface maps each to its own (errno, HTTP status).
var (
	ErrNotExist     = errors.New("no such file or folder")
	ErrExist        = errors.New("file exists")
	ErrNotDir       = errors.New("not a folder")
	ErrIsDir        = errors.New("is a folder")
	ErrNotEmpty     = errors.New("folder is not empty")
	ErrInvalid      = errors.New("invalid argument")
	ErrNameTooLong  = errors.New("name is too long")
	ErrBadName      = errors.New("name is not allowed")     // empty, ".", "..", with a slash or NUL
	ErrNotPermitted = errors.New("operation not permitted") // a hard link to a folder
	ErrNoXattr      = errors.New("no such extended attribute")
	ErrReadOnly     = errors.New("read-only")
	ErrNoSpace      = errors.New("no space left")
	ErrQuota        = errors.New("over the quota")
	ErrTooLarge     = errors.New("file is too large")
	ErrNotSupported = errors.New("not supported")
	ErrTooManyLinks = errors.New("too many links")
	ErrClosed       = errors.New("file system is closed")
)

// Limits.
const (
	NameMax      = 255       // bytes of a name
	TargetMax    = 4095      // bytes of a symlink's target (Linux PATH_MAX less its NUL)
	XattrNameMax = 255       // bytes of an attribute's name (Linux XATTR_NAME_MAX)
	XattrMax     = 64 << 10  // bytes of an attribute's value (Linux XATTR_SIZE_MAX)
	FileMax      = 1<<60 - 1 // bytes of a file
)

// NodeID is the number of a file, folder or link: its inode number.
type NodeID uint64

// RootID is the number of the root folder.
const RootID NodeID = 1

// Kind is the kind of a node.
type Kind uint8

// The kinds of nodes. Their numbers are part of stored formats.
const (
	KindFile     Kind = 1
	KindFolder   Kind = 2
	KindSymlink  Kind = 3
	KindFIFO     Kind = 4
	KindSocket   Kind = 5
	KindCharDev  Kind = 6
	KindBlockDev Kind = 7
)

// Times are nanoseconds since 1970 UTC, negative before: a Time's UnixNano.

// Attr is what stat tells.
type Attr struct {
	ID     NodeID
	Kind   Kind
	Mode   uint32 // permission, set-id and sticky bits: 07777
	UID    uint32
	GID    uint32
	RDev   uint64 // of devices
	NLink  uint32 // a folder's is 2 and one for each folder in it, or 1 where that is not counted
	Size   uint64 // bytes; of a symlink, its target's length
	Blocks uint64 // 512-byte units: what is not holes
	Atime  int64  // as it was set last, or Btime: reading changes nothing (noatime)
	Mtime  int64
	Ctime  int64
	Btime  int64
}

// DirEntry is an entry of a folder.
type DirEntry struct {
	Name string
	Attr Attr
}

// NewNode says what Create is to make.
type NewNode struct {
	Kind   Kind
	Mode   uint32 // 07777
	UID    uint32
	GID    uint32
	RDev   uint64 // of devices
	Target string // of a symlink, 1 to TargetMax bytes
}

// SetAttr says what to set; nil leaves a field as it is.
type SetAttr struct {
	Mode  *uint32
	UID   *uint32
	GID   *uint32
	Size  *uint64 // truncates or extends, with a hole, a file
	Atime *int64
	Mtime *int64
}

// RenameFlag changes what Rename does.
type RenameFlag uint32

// Flags of Rename (renameat2(2)).
const (
	RenameNoReplace RenameFlag = 1 << iota // ErrExist if the new name is taken
	RenameExchange                         // swap the two
)

// XattrFlag changes what SetXattr does.
type XattrFlag uint32

// Flags of SetXattr (setxattr(2)).
const (
	XattrCreate  XattrFlag = 1 << iota // ErrExist if it is there
	XattrReplace                       // ErrNoXattr if it is not
)

// StatFS is what statfs tells, in bytes and nodes.
type StatFS struct {
	Total uint64
	Free  uint64
	Files uint64
}

// FS is a file system. All methods can return ErrNotExist for a NodeID that is gone, ErrReadOnly,
// ErrClosed, and the context's error.
type FS interface {
	// Lookup finds a name in a folder. Errors: ErrNotExist, ErrNotDir.
	Lookup(ctx context.Context, parent NodeID, name string) (Attr, error)
	// GetAttr tells a node's attributes. It works for an unlinked file while it is open.
	GetAttr(ctx context.Context, id NodeID) (Attr, error)
	// SetAttr sets attributes, all or none, and returns the new ones. Errors: ErrIsDir (size of a folder), ErrInvalid.
	SetAttr(ctx context.Context, id NodeID, set SetAttr) (Attr, error)
	// ReadDir returns at most limit entries, sorted by the bytes of their names, whose names are
	// greater than after; none is the end. "." and ".." are not among them.
	ReadDir(ctx context.Context, id NodeID, after string, limit int) ([]DirEntry, error)
	// Parent is the folder that a folder is in; the root's is the root.
	Parent(ctx context.Context, id NodeID) (NodeID, error)
	// Create makes a node of any kind. Errors: ErrExist, ErrNotDir, ErrBadName, ErrNameTooLong, ErrInvalid.
	Create(ctx context.Context, parent NodeID, name string, n NewNode) (Attr, error)
	// Link gives a file (anything but a folder) one more name. Errors: ErrExist, ErrNotPermitted.
	Link(ctx context.Context, id, parent NodeID, name string) (Attr, error)
	// Rename moves an entry; an existing one at the new place is replaced in one step.
	// Errors: as rename(2): ErrNotEmpty, ErrIsDir, ErrNotDir, ErrInvalid (a folder into itself), ErrExist.
	Rename(ctx context.Context, parent NodeID, name string, newParent NodeID, newName string, f RenameFlag) error
	// Remove removes a name: with folder set an empty folder (rmdir), else anything but a folder (unlink).
	// An open file lives until it is closed. Errors: ErrNotEmpty, ErrNotDir, ErrIsDir.
	Remove(ctx context.Context, parent NodeID, name string, folder bool) error
	// ReadLink is a symlink's target. Error: ErrInvalid for anything else.
	ReadLink(ctx context.Context, id NodeID) (string, error)

	// GetXattr is the value of an extended attribute. Error: ErrNoXattr.
	GetXattr(ctx context.Context, id NodeID, name string) ([]byte, error)
	// SetXattr sets one.
	SetXattr(ctx context.Context, id NodeID, name string, value []byte, f XattrFlag) error
	// ListXattr lists names, sorted.
	ListXattr(ctx context.Context, id NodeID) ([]string, error)
	// RemoveXattr removes one. Error: ErrNoXattr.
	RemoveXattr(ctx context.Context, id NodeID, name string) error

	// Open opens a file (KindFile). Any number may be open at once; all see one content.
	// Error: ErrIsDir, ErrInvalid (neither file nor folder).
	Open(ctx context.Context, id NodeID) (File, error)
	// StatFS tells sizes.
	StatFS(ctx context.Context) (StatFS, error)
	// SyncFS makes all that was done durable here.
	SyncFS(ctx context.Context) error
}

// File is an open file.
type File interface {
	// ReadAt reads at an offset; fewer bytes than asked for come with io.EOF at the end of the file only.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// WriteAt writes all of p at an offset, beyond the end with a hole before it. p is not kept or changed.
	WriteAt(ctx context.Context, p []byte, off int64) (int, error)
	// Sync makes what was written, and the file's names and attributes, durable here: it survives loss of power after the return.
	Sync(ctx context.Context) error
	// Flush is called at each close of a descriptor: what was written becomes visible to other pods,
	// and durable here shortly after.
	Flush(ctx context.Context) error
	// Close ends the use of the File, after a Flush of its own.
	Close(ctx context.Context) error
}

// AllocFlag changes what Allocate does.
type AllocFlag uint32

// Flags of Allocate (fallocate(2)).
const (
	AllocKeepSize AllocFlag = 1 << iota // the file does not grow
	AllocPunch                          // make a hole; goes with AllocKeepSize only
	AllocZero                           // make the range zeros
)

// Allocator is a File whose ranges can be given room in advance, or made holes.
type Allocator interface {
	// Allocate deals with n bytes at off, which it makes the file long enough for. Without a flag it makes sure that there is room for what the
	// file grows by now; that nobody else takes it is not promised. Errors: ErrInvalid (n is none, flags that don't go together), ErrTooLarge, ErrNoSpace.
	Allocate(ctx context.Context, off, n int64, f AllocFlag) error
}

// CheckAllocate tells whether arguments of Allocate make sense. Errors: ErrInvalid, ErrTooLarge.
func CheckAllocate(off, n int64, f AllocFlag) error {
	switch {
	case off < 0 || n <= 0 || f&^(AllocKeepSize|AllocPunch|AllocZero) != 0, f&AllocPunch != 0 && f != AllocPunch|AllocKeepSize:
		return fmt.Errorf("allocate %d bytes at %d, flags %d: %w", n, off, f, ErrInvalid)
	case off > FileMax-n:
		return fmt.Errorf("allocate %d bytes at %d: %w", n, off, ErrTooLarge)
	}
	return nil
}

// Keeper is an FS that can open a file for reading as it is now.
type Keeper interface {
	// OpenAsIs is Open of a file whose reads show what it holds now, whatever is done to it afterwards. It can't be written: ErrReadOnly.
	OpenAsIs(ctx context.Context, id NodeID) (File, error)
}

// Change tells that something that a surface may have cached is no longer so.
type Change struct {
	Node   NodeID // its attributes and contents, if not 0
	Parent NodeID // the entry Name of this folder, if not 0: made, gone or another
	Name   string
}

// NameReader is an FS that lists the names in a folder for less than it costs to read all the entries.
type NameReader interface {
	// ReadNames is FS.ReadDir of the names alone.
	ReadNames(ctx context.Context, id NodeID, after string, limit int) ([]string, error)
}

// SharedReader is a File that gives bytes which lie in memory as they are, for who would only copy them on.
type SharedReader interface {
	// ReadShared returns the bytes at off that lie together, one at least. They are shared: they must not be changed, and nobody changes them until they are given back.
	// Errors: io.EOF, behind the end; ErrNotSupported: these have to be read by File.ReadAt.
	ReadShared(ctx context.Context, off int64) ([]byte, Lent, error)
}

// Lent are bytes that whoever has them gives back, once, when they are not looked at any more. If that is left out, their memory is not used again, and no more is lost.
type Lent interface{ GiveBack() }

// Watcher is an FS that tells of changes made elsewhere (by other pods or other surfaces).
type Watcher interface {
	// Watch calls f with changes, in order, until ctx ends. f may wait: changes are then merged, or, past
	// a limit, replaced by an empty slice, which means that anything may have changed. With that it begins: changes of before are not told, all
	// later ones are.
	Watch(ctx context.Context, f func([]Change)) error
	// Watched says whether Watch tells of a node and of the names in it.
	Watched(id NodeID) bool
	// Untold says whether a node may be seen here with a change that was made elsewhere and that f has not been called with, or has not returned from.
	Untold(id NodeID) bool
}
