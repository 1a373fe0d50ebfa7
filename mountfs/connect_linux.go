package mountfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/jacobsa/fuse"
	"golang.org/x/sys/unix"
)

// connect makes the mount and serves it: by mount(2), or, for who may not, by the library with fusermount.
//
// The library can call mount(2) too, but opens the device so that each child process inherits it. The
// mount of a daemon that was killed would then live as long as any child, and if that child waits for an
// answer of the mount, both stay for ever.
//
// By its own descriptor it can have the kernel forget all names; the second value is nil where it can't.
func connect(dir string, s fuse.Server, c *fuse.MountConfig) (*fuse.MountedFileSystem, *kernelMemory, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) {
		return plainly(dir, s, c)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("/dev/fuse: %w", err)
	}
	flags, data := mountFlags(c)
	data = fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,%s", fd, os.Getuid(), os.Getgid(), data)
	err = unix.Mount(c.FSName, dir, "fuse."+c.Subtype, flags, data)
	if err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.EPERM) {
			return plainly(dir, s, c)
		}
		return nil, nil, fmt.Errorf("mount(2): %w", err)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) //nolint:gosec // a descriptor is small
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("/dev/fuse: %w", err), unix.Close(fd))
	}
	mfs, err := fuse.Mount(fmt.Sprint("/dev/fd/", fd), s, c) // which owns the descriptor now
	if err != nil {
		return nil, nil, errors.Join(err, unix.Close(own))
	}
	memory := &kernelMemory{fd: own}
	if err := memory.names(); err != nil { // a kernel before 6.16
		memory.close()
		return mfs, nil, nil //nolint:nilerr // it mounts as well without
	}
	return mfs, memory, nil
}

// plainly is connect by the library alone.
func plainly(dir string, s fuse.Server, c *fuse.MountConfig) (*fuse.MountedFileSystem, *kernelMemory, error) {
	mfs, err := fuse.Mount(dir, s, c)
	return mfs, nil, err
}

// kernelMemory has the kernel forget what it keeps of a mount, by notifications (Linux, include/uapi/linux/fuse.h) that the library doesn't know, or that
// would wait behind those that it sends.
type kernelMemory struct {
	mu sync.Mutex // guards fd
	fd int        // -1: closed
}

// Numbers of notifications.
const (
	notifyInvalInode = 2
	notifyIncEpoch   = 8 // protocol 7.44
)

// names makes every name be looked up again. The kernel takes no lock for it.
func (f *kernelMemory) names() error { return f.notify(notifyIncEpoch, nil) }

// attributes makes a node's attributes be asked for again; its pages stay. The kernel takes no lock for it that an operation may hold, so it may be called
// from within one.
func (f *kernelMemory) attributes(node uint64) error {
	var inode [24]byte // fuse_notify_inval_inode_out: the node, an offset of -1 for no pages, a length
	binary.NativeEndian.PutUint64(inode[0:], node)
	binary.NativeEndian.PutUint64(inode[8:], ^uint64(0))
	return f.notify(notifyInvalInode, inode[:])
}

func (f *kernelMemory) notify(number uint32, body []byte) error {
	msg := make([]byte, 16, 40)                                        // fuse_out_header: the length, the notification's number in the place of an error, no request
	binary.NativeEndian.PutUint32(msg[0:], uint32(len(msg)+len(body))) //nolint:gosec // small
	binary.NativeEndian.PutUint32(msg[4:], number)
	msg = append(msg, body...)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return unix.ENODEV
	}
	_, err := unix.Write(f.fd, msg)
	return err
}

func (f *kernelMemory) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd >= 0 {
		_ = unix.Close(f.fd) // nothing is written to a file
		f.fd = -1
	}
}

// mountFlags is the configuration in the words of mount(2).
func mountFlags(c *fuse.MountConfig) (flags uintptr, data string) {
	flags, data = unix.MS_NODEV|unix.MS_NOSUID, "default_permissions"
	if c.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	for option := range c.Options {
		switch option {
		case "noatime":
			flags |= unix.MS_NOATIME
		case "dev":
			flags &^= unix.MS_NODEV
		case "noexec":
			flags |= unix.MS_NOEXEC
		case "suid":
			flags &^= unix.MS_NOSUID
		default:
			data += "," + option
		}
	}
	return flags, data
}
