//go:build unix && !linux

package client

import "golang.org/x/sys/unix"

// setTime sets the times of an open file, to the microsecond.
func setTime(fd int, mtime int64) error {
	t := unix.NsecToTimeval(mtime)
	return unix.Futimes(fd, []unix.Timeval{t, t})
}

// mknodAt makes no special files here.
func mknodAt(int, string, uint32, uint64) error { return unix.ENOTSUP }
