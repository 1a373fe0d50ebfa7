package mountfs

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/jacobsa/fuse"
	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// errNoXattr says that there is no such extended attribute.
const errNoXattr = syscall.ENOATTR

// connect makes the mount and serves it.
func connect(dir string, s fuse.Server, c *fuse.MountConfig) (*fuse.MountedFileSystem, *kernelMemory, error) {
	mfs, err := fuse.Mount(dir, s, c)
	return mfs, nil, err
}

// kernelMemory would have the kernel forget what it keeps; there is none on this system.
type kernelMemory struct{}

func (*kernelMemory) names() error            { return nil }
func (*kernelMemory) attributes(uint64) error { return nil }
func (*kernelMemory) close()                  {}

// signals can't be seen on this system: a caller that a signal has come to counts as asked to end.
func signals(int) (dying, asked, seen bool) { return false, false, false }

// place is where something is mounted.
type place struct {
	dir    string
	source string
}

// readAhead is the system's affair.
func (place) readAhead() error { return nil }

// findPlace finds what is mounted on dir; an empty source if nothing.
func findPlace(dir string) place {
	found := place{dir: dir}
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return found
	}
	list := make([]unix.Statfs_t, n)
	if n, err = unix.Getfsstat(list, unix.MNT_NOWAIT); err != nil {
		return found
	}
	for i := range list[:min(n, len(list))] {
		if unix.ByteSliceToString(list[i].Mntonname[:]) == dir {
			found.source = unix.ByteSliceToString(list[i].Mntfromname[:])
		}
	}
	return found
}

// isMounted tells whether anything is mounted on dir, a full path.
func isMounted(dir string) bool { return findPlace(dir).source != "" }

// Stale tells whether dir is a mount whose daemon is gone. Error: ErrNoAnswer if it is there and stuck.
func Stale(dir string) (bool, error) { return stale(context.Background(), dir) }

// stale is Stale; it is not cut short when ctx ends.
func stale(ctx context.Context, dir string) (bool, error) {
	dir, err := fullPath(dir)
	if err != nil {
		return false, fmt.Errorf("mountfs: %w", err)
	}
	if !isMounted(dir) {
		return false, nil
	}
	switch err := answers(context.WithoutCancel(ctx), clock.Real{}, dir); {
	case isDead(err):
		return true, nil
	case errors.Is(err, ErrNoAnswer):
		return false, fmt.Errorf("mountfs: %s: %w", dir, err)
	}
	return false, nil
}

// Detach takes a mount away from dir by force, dead or alive.
func Detach(dir string) error { return detach(context.Background(), dir) }

// detach is Detach; its context is for other systems.
func detach(ctx context.Context, dir string) error {
	dir, err := fullPath(dir)
	if err != nil {
		return fmt.Errorf("mountfs: %w", err)
	}
	if !isMounted(dir) {
		return fmt.Errorf("mountfs: detach %s: %w", dir, ErrNoConnection)
	}
	return findPlace(dir).cutOff(ctx)
}

// Abort is Detach on this system.
func Abort(dir string) error { return Detach(dir) }

// unmount takes the mount away if nobody uses it.
func (p place) unmount(context.Context) error { return p.umount(0) }

// abort is nothing on this system: there are no copies of mounts.
func (p place) abort(context.Context) error { return nil }

// cutOff takes the mount away, used or not.
func (p place) cutOff(context.Context) error { return p.umount(unix.MNT_FORCE) }

func (p place) umount(flags int) error {
	if err := unix.Unmount(p.dir, flags); err != nil {
		return fmt.Errorf("mountfs: unmount %s: %w", p.dir, err)
	}
	return nil
}
