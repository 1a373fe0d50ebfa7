//go:build linux || darwin || freebsd

package server

import (
	"fmt"
	"net"
)

// peerOption asks the kernel for an option of a unix socket, by get; known is false for what is no such socket.
func peerOption[T any](c net.Conn, get func(fd int) (*T, error)) (got *T, known bool, err error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, false, nil // a test's
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, false, fmt.Errorf("api: peer: %w", err)
	}
	var gerr error
	err = raw.Control(func(fd uintptr) { got, gerr = get(int(fd)) })
	if err == nil {
		err = gerr
	}
	if err != nil {
		return nil, false, fmt.Errorf("api: peer: %w", err)
	}
	return got, true, nil
}
