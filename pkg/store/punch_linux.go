package store

import "golang.org/x/sys/unix"

// punchHole gives the bytes from off to off+n of an open file back to the file system.
func punchHole(fd uintptr, off, n int64) error {
	return unix.Fallocate(int(fd), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}
