//go:build !unix

package pod

import "os"

// fileNumber is the number that the file system gave to a file; 0: not known.
func fileNumber(os.FileInfo) uint64 { return 0 }
