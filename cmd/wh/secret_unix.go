//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// secretMax is the longest secret that is typed, in bytes.
const secretMax = 4 << 10

// askSecret asks for a line on the terminal, which does not show it.
func askSecret(prompt string) (secret []byte, err error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("there is no terminal to ask on: %w", err)
	}
	defer func() { _ = tty.Close() }() // Nothing was stored by it.
	fd := int(tty.Fd())
	old, err := unix.IoctlGetTermios(fd, ioctlGetTermios)
	if err != nil {
		return nil, fmt.Errorf("there is no terminal to ask on: %w", err)
	}
	quiet := *old
	quiet.Lflag &^= unix.ECHO
	quiet.Lflag |= unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(fd, ioctlSetTermios, &quiet); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	defer func() { err = errors.Join(err, unix.IoctlSetTermios(fd, ioctlSetTermios, old)) }()
	if _, err := tty.WriteString(prompt); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	line, err := bufio.NewReaderSize(tty, secretMax).ReadSlice('\n')
	_, _ = tty.WriteString("\n") // The user's return was not shown.
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return bytes.TrimRight(line, "\r\n"), nil
}
