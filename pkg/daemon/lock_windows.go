package daemon

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockByte is the byte that is locked: beyond the process id, which others read.
const lockByte = 1 << 20

// flock locks a byte of a file, without waiting.
func flock(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{Offset: lockByte})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}
