package server

import (
	"os"

	"golang.org/x/sys/unix"
)

// adviseFrom is the size from which telling the kernel how a file is read is worth a call.
const adviseFrom = 1 << 20

// adviseSequential tells the kernel that a file is read from the start to the end.
func adviseSequential(f *os.File, size int64) {
	if size >= adviseFrom {
		_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_SEQUENTIAL) // Only advice.
	}
}

// beginWriting has the disk begin with bytes of a file that were written, and waits for nothing.
func beginWriting(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE) // Only earlier.
}

// forgetWritten takes those bytes of a file that are on disk out of the operating system's memory, and has the disk begin with the others (mm/fadvise.c).
func forgetWritten(f *os.File, off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED) // Only advice.
}

// memoryBytes is how much memory the machine has; 0: nobody knows.
func memoryBytes() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}
