package mountfs

import (
	"errors"
	"fmt"
	"os"

	"github.com/jacobsa/fuse"
	"golang.org/x/sys/unix"
)

// connect makes the mount and serves it: by mount(2), or, for who may not, by the library with fusermount.
//
// The library can call mount(2) too, but opens the device so that each child process inherits it. The
// mount of a daemon that was killed would then live as long as any child, and if that child waits for an
// answer of the mount, both stay for ever.
func connect(dir string, s fuse.Server, c *fuse.MountConfig) (*fuse.MountedFileSystem, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) {
		return fuse.Mount(dir, s, c)
	}
	if err != nil {
		return nil, fmt.Errorf("/dev/fuse: %w", err)
	}
	flags, data := mountFlags(c)
	data = fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,%s", fd, os.Getuid(), os.Getgid(), data)
	err = unix.Mount(c.FSName, dir, "fuse."+c.Subtype, flags, data)
	if err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.EPERM) {
			return fuse.Mount(dir, s, c)
		}
		return nil, fmt.Errorf("mount(2): %w", err)
	}
	return fuse.Mount(fmt.Sprint("/dev/fd/", fd), s, c) // which owns the descriptor now
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
