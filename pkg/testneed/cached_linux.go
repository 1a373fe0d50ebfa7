package testneed

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// CachedBytes is how much of a file the kernel has in memory. The test is skipped on kernels before 6.5, which can't say (cachestat(2)), and for files that are nowhere else (tmpfs).
func CachedBytes(t *testing.T, fd uintptr) int64 {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(fd), &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type == unix.TMPFS_MAGIC {
		Missing(t, "a disk: the folder for temporary files is in memory")
	}
	var got unix.Cachestat_t
	if err := unix.Cachestat(uint(fd), &unix.CachestatRange{Len: 1 << 40}, &got, 0); err != nil {
		Missing(t, "cachestat(2): %v", err)
	}
	return int64(got.Cache) * int64(os.Getpagesize())
}
