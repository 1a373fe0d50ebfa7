//go:build !linux

package server

import "os"

func adviseSequential(*os.File, int64) {}

// beginWriting does nothing here.
func beginWriting(*os.File, int64, int64) {}

// forgetWritten does nothing here.
func forgetWritten(*os.File, int64, int64) {}

// memoryBytes is not known here.
func memoryBytes() int64 { return 0 }
