//go:build !linux

package server

import "os"

func adviseSequential(*os.File, int64) {}
