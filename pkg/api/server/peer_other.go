//go:build !(linux || darwin || freebsd)

package server

import "net"

// credOf tells nothing here.
func credOf(net.Conn) (cred peerCred, known bool, err error) { return cred, false, nil }
