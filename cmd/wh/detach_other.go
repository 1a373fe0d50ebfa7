//go:build !unix

package main

import (
	"os"
	"os/exec"
)

// background does nothing here: a process survives its starter.
func background(*exec.Cmd) {}

// private does nothing here.
func private() {}

// terminate ends a process.
func terminate(p *os.Process) error { return p.Kill() }
