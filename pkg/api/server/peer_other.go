//go:build !linux

package server

import "net"

// checkPeer lets everybody in who can open the socket: its mode, or that of its folder, is what guards it here.
func checkPeer(net.Conn) error { return nil }
