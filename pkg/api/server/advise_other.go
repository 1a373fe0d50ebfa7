//go:build !linux

package server

import "os"

func adviseSequential(*os.File, int64) {}

// beginWriting does nothing here.
func beginWriting(*os.File, int64, int64) {}
