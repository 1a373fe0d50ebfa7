//go:build linux || darwin

package mountfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/jacobsa/fuse"
	"github.com/jacobsa/fuse/fuseops"
	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// blockSize is the unit in which statfs(2) counts bytes.
const blockSize = 4096

// tell fills in the answer to an operation that finds or makes a node in a folder; asked is s.told before it began.
func (s *server) tell(e *fuseops.ChildInodeEntry, parent fuseops.InodeID, a vfs.Attr, asked uint64) {
	s.known.told(a)
	until := s.expiration(asked, vfs.NodeID(parent))
	*e = fuseops.ChildInodeEntry{Child: fuseops.InodeID(a.ID), Attributes: attributes(a), AttributesExpiration: until, EntryExpiration: until}
}

// lookup finds a name. That there is none is cached too: number 0 with an expiration.
func (s *server) lookup(ctx context.Context, op *fuseops.LookUpInodeOp) error {
	if op.Parent == fuseops.RootInodeID && op.Name == probeName {
		op.Entry = probeEntry()
		return nil
	}
	asked := s.told.Load()
	a, err := s.fs.Lookup(ctx, vfs.NodeID(op.Parent), op.Name)
	if until := s.expiration(asked, vfs.NodeID(op.Parent)); errors.Is(err, vfs.ErrNotExist) && !until.IsZero() {
		op.Entry = fuseops.ChildInodeEntry{EntryExpiration: until}
		return nil
	}
	if err != nil {
		return err
	}
	s.tell(&op.Entry, op.Parent, a, asked)
	s.named(a.ID, vfs.NodeID(op.Parent), op.Name)
	return nil
}

func (s *server) getAttr(ctx context.Context, op *fuseops.GetInodeAttributesOp) error {
	if op.Inode == probeNode {
		op.Attributes = probeEntry().Attributes
		return nil
	}
	asked := s.told.Load()
	a, err := s.fs.GetAttr(ctx, vfs.NodeID(op.Inode))
	if err != nil {
		return err
	}
	s.known.show(a)
	op.Attributes, op.AttributesExpiration = attributes(a), s.expiration(asked, a.ID)
	return nil
}

// setAttr sets what the kernel wants set.
func (s *server) setAttr(ctx context.Context, op *fuseops.SetInodeAttributesOp) error {
	set := vfs.SetAttr{UID: op.Uid, GID: op.Gid, Size: op.Size, Atime: unixNano(op.Atime), Mtime: unixNano(op.Mtime)}
	if op.Mode != nil {
		mode := unixMode(*op.Mode)
		set.Mode = &mode
	}
	asked := s.told.Load()
	a, err := s.setOrGet(ctx, vfs.NodeID(op.Inode), set)
	if err != nil {
		return err
	}
	s.known.show(a)
	op.Attributes, op.AttributesExpiration = attributes(a), s.expiration(asked, a.ID)
	return nil
}

func (s *server) setOrGet(ctx context.Context, id vfs.NodeID, set vfs.SetAttr) (vfs.Attr, error) {
	if set == (vfs.SetAttr{}) {
		return s.fs.GetAttr(ctx, id)
	}
	return s.fs.SetAttr(ctx, id, set)
}

// make makes a node that belongs to the caller.
func (s *server) make(ctx context.Context, parent fuseops.InodeID, name string, n vfs.NewNode, e *fuseops.ChildInodeEntry) error {
	n, err := s.owned(ctx, vfs.NodeID(parent), n)
	if err != nil {
		return err
	}
	asked := s.told.Load()
	a, err := s.fs.Create(ctx, vfs.NodeID(parent), name, n)
	if err != nil {
		return err
	}
	s.tell(e, parent, a, asked)
	s.named(a.ID, vfs.NodeID(parent), name)
	return nil
}

// owned is n with its owner: the caller, or, in a folder with the set-group-id bit, the folder's group,
// and a folder made there gets that bit too (inode_init_owner in Linux, which FUSE does not call).
func (s *server) owned(ctx context.Context, parent vfs.NodeID, n vfs.NewNode) (vfs.NewNode, error) {
	uid, gid, _, err := s.caller.GetFuseContext(ctx)
	if err != nil {
		return n, fmt.Errorf("mountfs: caller: %w", err)
	}
	n.UID, n.GID = uid, gid
	a, err := s.fs.GetAttr(ctx, parent)
	if err != nil {
		return n, err
	}
	if a.Mode&0o2000 != 0 {
		n.GID = a.GID
		if n.Kind == vfs.KindFolder {
			n.Mode |= 0o2000
		}
	}
	return n, nil
}

func (s *server) link(ctx context.Context, op *fuseops.CreateLinkOp) error {
	asked := s.told.Load()
	a, err := s.fs.Link(ctx, vfs.NodeID(op.Target), vfs.NodeID(op.Parent), op.Name)
	if err != nil {
		return err
	}
	s.tell(&op.Entry, op.Parent, a, asked)
	s.named(a.ID, vfs.NodeID(op.Parent), op.Name)
	return nil
}

// rename moves a name.
func (s *server) rename(ctx context.Context, op *fuseops.RenameOp) error {
	parent, name := vfs.NodeID(op.NewParent), op.NewName
	if err := s.fs.Rename(ctx, vfs.NodeID(op.OldParent), op.OldName, parent, name, 0); err != nil {
		return err
	}
	if s.writeback {
		if a, err := s.fs.Lookup(ctx, parent, name); err == nil {
			s.named(a.ID, parent, name)
		}
	}
	return nil
}

// createFile makes a file and opens it. If the file came into being elsewhere meanwhile, and the caller
// does not insist on a new one, it is opened.
func (s *server) createFile(ctx context.Context, op *fuseops.CreateFileOp) error {
	if s.keeper != nil {
		return fuse.ENOSYS // the kernel makes and opens it in two steps from now on: only an open can do without pages
	}
	parent, flags := vfs.NodeID(op.Parent), int(op.OpenFlags)
	n, err := s.owned(ctx, parent, vfs.NewNode{Kind: vfs.KindFile, Mode: unixMode(op.Mode)})
	if err != nil {
		return err
	}
	asked := s.told.Load()
	a, err := s.fs.Create(ctx, parent, op.Name, n)
	if errors.Is(err, vfs.ErrExist) && flags&os.O_EXCL == 0 {
		if a, err = s.fs.Lookup(ctx, parent, op.Name); err == nil && a.Kind != vfs.KindFile {
			return syscall.ESTALE // the kernel looks again, and finds what it is
		}
	} else {
		flags &^= os.O_TRUNC
	}
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // the file is made: an interrupt now would be a lie
	f, a, err := s.open(ctx, a, flags)
	if err != nil {
		return err
	}
	op.Handle = s.handles.add(f)
	s.tell(&op.Entry, op.Parent, a, asked)
	s.named(a.ID, parent, op.Name)
	s.known.opened(a, true) // its pages begin with this open
	return nil
}

// Attributes that have a meaning for kernels. ls asks for both of each file, unless it was told once that there are none of the kind.
const (
	xattrACL   = "system.posix_acl_" // access lists; who could set one would believe that it is obeyed
	xattrLabel = "security.selinux"  // kept, and not obeyed either
)

// getXattr is the value of an attribute, or its length if there is no room.
func (s *server) getXattr(ctx context.Context, op *fuseops.GetXattrOp) error {
	if strings.HasPrefix(op.Name, xattrACL) {
		return vfs.ErrNotSupported
	}
	value, err := s.fs.GetXattr(ctx, vfs.NodeID(op.Inode), op.Name)
	if op.Name == xattrLabel && errors.Is(err, vfs.ErrNoXattr) {
		return vfs.ErrNotSupported
	}
	if err != nil {
		return err
	}
	op.BytesRead = len(value)
	return fill(op.Dst, value)
}

// listXattr is the names of attributes, each with a NUL behind it.
func (s *server) listXattr(ctx context.Context, op *fuseops.ListXattrOp) error {
	names, err := s.fs.ListXattr(ctx, vfs.NodeID(op.Inode))
	if err != nil {
		return err
	}
	var list []byte
	for _, name := range names {
		list = append(append(list, name...), 0)
	}
	op.BytesRead = len(list)
	return fill(op.Dst, list)
}

func (s *server) setXattr(ctx context.Context, op *fuseops.SetXattrOp) error {
	if strings.HasPrefix(op.Name, xattrACL) {
		return vfs.ErrNotSupported
	}
	var flags vfs.XattrFlag
	if op.Flags&unix.XATTR_CREATE != 0 {
		flags |= vfs.XattrCreate
	}
	if op.Flags&unix.XATTR_REPLACE != 0 {
		flags |= vfs.XattrReplace
	}
	return s.fs.SetXattr(ctx, vfs.NodeID(op.Inode), op.Name, op.Value, flags)
}

// fill copies all of p, unless the kernel has room for none of it and asks only how much it is.
func fill(dst, p []byte) error {
	if len(dst) > 0 && copy(dst, p) < len(p) {
		return syscall.ERANGE
	}
	return nil
}

func (s *server) statFS(ctx context.Context, op *fuseops.StatFSOp) error {
	st, err := s.fs.StatFS(ctx)
	if err != nil {
		return err
	}
	op.BlockSize, op.IoSize = blockSize, blockSize
	op.Blocks, op.BlocksFree = st.Total/blockSize, st.Free/blockSize
	op.BlocksAvailable = op.BlocksFree
	op.InodesFree = 1 << 36 // numbers don't run out; programs want to see some
	op.Inodes = st.Files + op.InodesFree
	return nil
}
