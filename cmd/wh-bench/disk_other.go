//go:build !unix

package main

import (
	"errors"
	"time"
)

// allocated is how many bytes the files of a folder take, holes counted.
func allocated(dir string) (int64, error) {
	_, n, err := measure(dir)
	return n, err
}

// cpuTime is not counted here.
func cpuTime() time.Duration { return 0 }

// dropCaches is for Linux.
func dropCaches() error { return errors.ErrUnsupported }
