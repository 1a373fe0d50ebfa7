//go:build darwin || freebsd

package server

import (
	"net"

	"golang.org/x/sys/unix"
)

const solLocal = 0 // SOL_LOCAL of sys/un.h

// credOf is who is at the other end of a unix socket (LOCAL_PEERCRED, unix(4)).
func credOf(c net.Conn) (cred peerCred, known bool, err error) {
	got, known, err := peerOption(c, func(fd int) (*unix.Xucred, error) { return unix.GetsockoptXucred(fd, solLocal, unix.LOCAL_PEERCRED) })
	if !known {
		return cred, false, err
	}
	cred.uid = int(got.Uid)
	for _, g := range got.Groups[:min(max(int(got.Ngroups), 0), len(got.Groups))] {
		cred.groups = append(cred.groups, int(g))
	}
	return cred, true, nil
}
