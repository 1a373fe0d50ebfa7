//go:build unix

package pod

import (
	"os"
	"syscall"
)

// fileNumber is the number that the file system gave to a file; 0: not known.
func fileNumber(info os.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}
