//go:build !linux

package main

import "errors"

func checkFUSE() []finding {
	return []finding{odd("fuse", "wh add and wh get work everywhere", "mounts are for Linux")}
}

func checkClock() []finding { return nil }

func checkLimits() []finding { return nil }

var errUnknownSpace = errors.New("not known on this system")

func diskSpace(string) (free, total int64, err error) { return 0, 0, errUnknownSpace }

func kernel() string { return "" }
