package server

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// credOf is who is at the other end of a unix socket (SO_PEERCRED, unix(7)).
func credOf(c net.Conn) (cred peerCred, known bool, err error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return cred, false, nil // a test's
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return cred, false, fmt.Errorf("api: peer: %w", err)
	}
	var got *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { got, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = cerr
	}
	if err != nil {
		return cred, false, fmt.Errorf("api: peer: %w", err)
	}
	return peerCred{uid: int(got.Uid), groups: []int{int(got.Gid)}}, true, nil
}
