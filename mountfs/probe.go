//go:build linux || darwin

package mountfs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"

	"github.com/jacobsa/fuse/fuseops"
	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// The probe is a file that exists only for the daemon, to make the kernel learn that there is no poll(2)
// here. Go adds each file that it opens to its poller by a call that keeps a processor, and the kernel
// asks the daemon; when the daemon is the one who opens, and the garbage collector waits for that processor,
// both wait for ever. Once it has heard ENOSYS the kernel does not ask again.
const (
	probeName   = ".wormhole-poll-probe"
	probeNode   = fuseops.InodeID(math.MaxInt64) // an inode number that no actor gives out
	probeHandle = fuseops.HandleID(1)
)

func probeEntry() fuseops.ChildInodeEntry {
	return fuseops.ChildInodeEntry{Child: probeNode, Attributes: fuseops.InodeAttributes{Nlink: 1, Mode: 0o444}}
}

// pollProbe opens the probe and polls it, by calls that let go of the processor.
func pollProbe(dir string) error {
	fd, err := unix.Open(dir+"/"+probeName, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mountfs: poll probe: %w", err)
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) //nolint:gosec // a descriptor is small
	return errors.Join(err, unix.Close(fd))
}

// answers asks statfs(2), which no cache answers, whether a mount is alive. Errors: ErrNoAnswer after
// answerTime, and the call's own: ENOTCONN of a dead one. A call that never returns leaves its goroutine.
func answers(ctx context.Context, c clock.Clock, dir string) error {
	return within(ctx, c, func() error {
		var st unix.Statfs_t
		return unix.Statfs(dir, &st)
	})
}

// within does what may hang in the kernel, and waits for it no longer than answerTime.
func within(ctx context.Context, c clock.Clock, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	timer := c.NewTimer(answerTime)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return ErrNoAnswer
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isDead tells whether the error of a call says that nobody serves the mount.
func isDead(err error) bool {
	return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.ENXIO)
}
