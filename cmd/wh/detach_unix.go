//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// background makes a command leave our session and folder, so that it survives the terminal.
func background(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Dir = "/"
}

// private makes all that this process writes readable for its user only: what lies in WH_HOME.
func private() { syscall.Umask(0o077) }

// terminate asks a process to stop.
func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
