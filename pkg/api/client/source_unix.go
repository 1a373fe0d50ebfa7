//go:build unix

package client

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// hostNode is a node of the host that is to be added; file is open if it is a file or folder.
type hostNode struct {
	it    api.Item
	file  *os.File
	inode inode
	nlink uint64
	ctime int64 // ns since 1970; 0: not known here
}

// openFlags open what may have become something else meanwhile: a FIFO must not make us wait, nor a symlink lead
// elsewhere.
const openFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY

func ownIDs() (uid, gid uint32) { return uint32(os.Geteuid()), uint32(os.Getegid()) }

// openTop opens a top-level argument.
func openTop(path string) (hostNode, error) { return openAt(unix.AT_FDCWD, path, path, 0) }

// openIn opens an entry of a folder.
func openIn(dir *os.File, path string, e os.DirEntry) (hostNode, error) {
	return openAt(int(dir.Fd()), e.Name(), path, e.Type())
}

// openAt opens a name in a folder. A regular file, if the type says so, is opened without looking first.
func openAt(dir int, name, path string, kind os.FileMode) (hostNode, error) {
	var st unix.Stat_t
	regular := kind.IsRegular() && dir != unix.AT_FDCWD
	if !regular {
		err := retry(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
		if err != nil {
			return hostNode{}, &os.PathError{Op: "stat", Path: path, Err: err}
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG, unix.S_IFDIR:
		default:
			return special(dir, name, path, &st)
		}
	}
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(dir, name, openFlags, 0)
		return err
	})
	if err == unix.ELOOP && regular { //nolint:errorlint // a bare errno
		return openAt(dir, name, path, os.ModeIrregular) // It has become a symlink.
	}
	if err != nil {
		return hostNode{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	n := hostNode{file: os.NewFile(uintptr(fd), path)}
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		_ = n.file.Close()
		return hostNode{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	n.fill(&st)
	if k := vfs.Kind(n.it.Kind); k != vfs.KindFile && k != vfs.KindFolder {
		_ = n.file.Close()
		return hostNode{}, fmt.Errorf("%s: it became something else while it was read", path)
	}
	n.it.Xattrs, err = readXattrs(fd)
	if err != nil {
		_ = n.file.Close()
		return hostNode{}, &os.PathError{Op: "attributes of", Path: path, Err: err}
	}
	return n, nil
}

// special is a symlink or special file.
func special(dir int, name, path string, st *unix.Stat_t) (hostNode, error) {
	var n hostNode
	n.fill(st)
	if n.it.Kind == 0 {
		return n, fmt.Errorf("%s: a kind of file that is not known", path)
	}
	if vfs.Kind(n.it.Kind) != vfs.KindSymlink {
		return n, nil
	}
	buf := make([]byte, vfs.TargetMax+1)
	var size int
	err := retry(func() (err error) {
		size, err = unix.Readlinkat(dir, name, buf)
		return err
	})
	if err != nil {
		return n, &os.PathError{Op: "readlink", Path: path, Err: err}
	}
	n.it.Target = api.Text(buf[:size])
	return n, nil
}

// fill takes over what stat told.
func (n *hostNode) fill(st *unix.Stat_t) {
	n.inode = inode{dev: uint64(st.Dev), ino: st.Ino}                      //nolint:unconvert // other systems have other types
	n.nlink = uint64(st.Nlink)                                             //nolint:unconvert // as above
	n.it.Mode, n.it.UID, n.it.GID = uint32(st.Mode)&0o7777, st.Uid, st.Gid //nolint:unconvert // as above
	n.it.Mtime, n.ctime = st.Mtim.Nano(), st.Ctim.Nano()
	switch uint32(st.Mode) & unix.S_IFMT { //nolint:unconvert // as above
	case unix.S_IFREG:
		n.it.Kind, n.it.Size = uint8(vfs.KindFile), uint64(st.Size)
		n.it.Dev, n.it.Ino, n.it.Ctime = n.inode.dev, n.inode.ino, n.ctime
	case unix.S_IFDIR:
		n.it.Kind = uint8(vfs.KindFolder)
	case unix.S_IFLNK:
		n.it.Kind = uint8(vfs.KindSymlink)
	case unix.S_IFIFO:
		n.it.Kind = uint8(vfs.KindFIFO)
	case unix.S_IFSOCK:
		n.it.Kind = uint8(vfs.KindSocket)
	case unix.S_IFCHR:
		n.it.Kind, n.it.RDev = uint8(vfs.KindCharDev), uint64(st.Rdev) //nolint:unconvert // as above
	case unix.S_IFBLK:
		n.it.Kind, n.it.RDev = uint8(vfs.KindBlockDev), uint64(st.Rdev) //nolint:unconvert // as above
	}
}

// Device is the device that a path lies on, as AddOptions.Devices has it; false where there is nothing.
func Device(path string) (uint64, bool) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Stat(path, &st) }); err != nil {
		return 0, false
	}
	return uint64(st.Dev), true //nolint:unconvert // as above
}

// unchanged says whether a source is still as it was when it was read.
func unchanged(h hostFile) bool {
	var st unix.Stat_t
	if unix.Fstatat(unix.AT_FDCWD, h.path, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	var n hostNode
	n.fill(&st)
	return n.inode == h.inode && n.it.Size == h.size && n.it.Mtime == h.mtime && vfs.Kind(n.it.Kind) == h.kind &&
		(h.ctime == 0 || n.ctime == h.ctime)
}

// retry repeats what a signal has interrupted.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR { //nolint:errorlint // a bare errno
			return err
		}
	}
}

// copied says whether an extended attribute is kept: those of users, access lists, and file capabilities. Others
// are the host's own affair (security labels), or computed.
func copied(name string) bool {
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.wh.") ||
		strings.HasPrefix(name, "system.posix_acl_") || name == "security.capability"
}
