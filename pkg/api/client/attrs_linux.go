package client

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// setTime sets the times of an open file: futimens(3), which is utimensat(2) without a path.
func setTime(fd int, mtime int64) error {
	ts := times(mtime)
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts[0])), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func mknodAt(dir int, name string, mode uint32, rdev uint64) error {
	return unix.Mknodat(dir, name, mode, int(rdev))
}
