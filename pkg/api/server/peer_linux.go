package server

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// checkPeer says whether the process at the other end may use the API (SO_PEERCRED, unix(7)).
func checkPeer(c net.Conn) error {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil // A test's.
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return fmt.Errorf("api: peer: %w", err)
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("api: peer: %w", err)
	}
	return checkUID(int(cred.Uid), os.Geteuid())
}

// checkUID says whether a user may use the API of a daemon that runs as own.
func checkUID(uid, own int) error {
	if uid != own && uid != 0 {
		return fmt.Errorf("api: user %d: %w", uid, api.ErrNotOwner)
	}
	return nil
}
