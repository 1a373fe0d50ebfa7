//go:build !linux

package main

import (
	"context"
	"errors"
)

var errLinux = errors.New("mount is measured on Linux only")

func (b *bench) mount(context.Context) error { return errLinux }

func serveNull(string) error { return errLinux }
