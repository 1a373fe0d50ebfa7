package store

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// cachesAlways is set when the kernel, or a file system of this process, was found unable to read uncached.
var cachesAlways atomic.Bool

// readUncached reads b, as far as that goes, and leaves nothing of it in the page cache that was not there.
func readUncached(fd uintptr, b []byte, off int64) (n int) {
	for n < len(b) && !cachesAlways.Load() {
		m, err := unix.Preadv2(int(fd), [][]byte{b[n:]}, off+int64(n), unix.RWF_DONTCACHE)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
			cachesAlways.Store(true)
			return n
		case err != nil || m == 0:
			return n
		}
		n += m
	}
	return n
}

// forget takes bytes that are on disk out of the page cache. It is advice.
func forget(fd uintptr, off, n int64) { _ = unix.Fadvise(int(fd), off, n, unix.FADV_DONTNEED) }
