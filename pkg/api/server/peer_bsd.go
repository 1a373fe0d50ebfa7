//go:build darwin || freebsd

package server

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

const solLocal = 0 // SOL_LOCAL of sys/un.h

// credOf is who is at the other end of a unix socket (LOCAL_PEERCRED, unix(4)).
func credOf(c net.Conn) (cred peerCred, known bool, err error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return cred, false, nil // a test's
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return cred, false, fmt.Errorf("api: peer: %w", err)
	}
	var got *unix.Xucred
	var cerr error
	err = raw.Control(func(fd uintptr) { got, cerr = unix.GetsockoptXucred(int(fd), solLocal, unix.LOCAL_PEERCRED) })
	if err == nil {
		err = cerr
	}
	if err != nil {
		return cred, false, fmt.Errorf("api: peer: %w", err)
	}
	cred.uid = int(got.Uid)
	for _, g := range got.Groups[:min(max(int(got.Ngroups), 0), len(got.Groups))] {
		cred.groups = append(cred.groups, int(g))
	}
	return cred, true, nil
}
