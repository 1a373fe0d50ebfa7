package server

import (
	"net"

	"golang.org/x/sys/unix"
)

// credOf is who is at the other end of a unix socket (SO_PEERCRED, unix(7)).
func credOf(c net.Conn) (cred peerCred, known bool, err error) {
	got, known, err := peerOption(c, func(fd int) (*unix.Ucred, error) { return unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if !known {
		return cred, false, err
	}
	return peerCred{uid: int(got.Uid), groups: []int{int(got.Gid)}}, true, nil
}
