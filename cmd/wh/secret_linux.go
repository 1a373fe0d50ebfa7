package main

import "golang.org/x/sys/unix"

// Requests of a terminal's state.
const (
	ioctlGetTermios = unix.TCGETS
	ioctlSetTermios = unix.TCSETS
)
