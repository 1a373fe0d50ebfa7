//go:build unix

package client

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// asRoot says whether owners can be restored.
var asRoot = os.Geteuid() == 0

// ownerIsSet says whether what is made of an item is its owner's.
func ownerIsSet(it api.Item) bool {
	return asRoot || it.UID == uint32(os.Geteuid()) && it.GID == uint32(os.Getegid())
}

// createIn makes a new file in an open folder. Of what os.Root.OpenFile does for that only the one system call is needed: name
// has no other folder in it, and nothing that exists is opened.
func createIn(d *destFolder, name string, mode uint32) (*os.File, error) {
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	for {
		fd, err := unix.Openat(int(d.self.Fd()), name, flags, mode)
		if err == nil {
			return os.NewFile(uintptr(fd), name), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, &os.PathError{Op: "create", Path: name, Err: err}
		}
	}
}

// setAttrs gives an open file or folder its owner, if we are root, its attributes, its mode, and last its time. What it has already, as a new
// file often does, is not set again: to read it costs less.
func setAttrs(f *os.File, it api.Item) error {
	fd := int(f.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	mode := it.Mode & 0o7777
	changed := len(it.Xattrs) > 0 // a change of the owner or of an access list may change the mode
	if asRoot {
		if st.Uid != it.UID || st.Gid != it.GID {
			changed = true
			if err := unix.Fchown(fd, int(it.UID), int(it.GID)); err != nil {
				return &os.PathError{Op: "chown", Path: f.Name(), Err: err}
			}
		}
	} else if !ownerIsSet(it) {
		mode &^= setID
	}
	if err := writeXattrs(fd, it.Xattrs); err != nil {
		return &os.PathError{Op: "set attributes of", Path: f.Name(), Err: err}
	}
	if changed || uint32(st.Mode)&0o7777 != mode { //nolint:unconvert // 16 bits on macOS
		if err := unix.Fchmod(fd, mode); err != nil {
			return &os.PathError{Op: "chmod", Path: f.Name(), Err: err}
		}
	}
	if err := setTime(fd, it.Mtime); err != nil {
		return &os.PathError{Op: "set time of", Path: f.Name(), Err: err}
	}
	return nil
}

// times are the access and change times of what has this mtime.
func times(mtime int64) []unix.Timespec {
	t := unix.NsecToTimespec(mtime)
	return []unix.Timespec{t, t}
}

// at calls f with the folder's descriptor.
func (d *destFolder) at(op, name string, f func(dir int) error) error {
	if err := f(int(d.self.Fd())); err != nil {
		return &os.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// setLinkAttrs gives a symlink or special file its owner, mode and time, and follows nothing.
func (d *destFolder) setLinkAttrs(name string, it api.Item) error {
	return d.at("set attributes of", name, func(dir int) error {
		if asRoot {
			err := unix.Fchownat(dir, name, int(it.UID), int(it.GID), unix.AT_SYMLINK_NOFOLLOW)
			if err != nil {
				return err
			}
		}
		return unix.UtimesNanoAt(dir, name, times(it.Mtime), unix.AT_SYMLINK_NOFOLLOW)
	})
}

// kindBits are the kinds as mknod(2) has them.
var kindBits = map[vfs.Kind]uint32{
	vfs.KindFIFO: unix.S_IFIFO, vfs.KindSocket: unix.S_IFSOCK, vfs.KindCharDev: unix.S_IFCHR, vfs.KindBlockDev: unix.S_IFBLK,
}

// mknod makes a special file; devices need root.
func (d *destFolder) mknod(name string, it api.Item) error {
	return d.at("mknod", name, func(dir int) error {
		if err := mknodAt(dir, name, kindBits[vfs.Kind(it.Kind)]|0o600, it.RDev); err != nil {
			return err
		}
		return unix.Fchmodat(dir, name, it.Mode&0o777, 0) // Ours since just now, in a folder that is open.
	})
}

// lockFolder locks a folder until the file that it returns is closed. Error: unix.EWOULDBLOCK.
func lockFolder(root *os.Root) (*os.File, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENOLCK) {
		_ = f.Close() // Only a handle.
		return nil, err
	}
	return f, nil
}

// alive says whether there is a process, ours or another's.
func alive(pid int) bool { return !errors.Is(unix.Kill(pid, 0), unix.ESRCH) }
