package testneed

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// DoAs asks the API at a unix socket as another user of the machine, and returns what it answers: the kernel tells the other end who connects, by the credentials of the thread
// that does (unix(7), credentials(7)). Only root can.
func DoAs(ctx context.Context, uid, gid int, socket, name, body string) (string, error) {
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return dialAs(uid, gid, socket) },
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://api/v1/"+name, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func dialAs(uid, gid int, socket string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, since it is another user's
		conn, err = connectAs(uintptr(uid), uintptr(gid), socket)
	}()
	<-done
	return conn, err
}

// connectAs changes who this thread is, and no other, for which syscall.Setresuid is too much.
func connectAs(uid, gid uintptr, socket string) (net.Conn, error) {
	for _, call := range [][4]uintptr{{syscall.SYS_SETGROUPS}, {syscall.SYS_SETRESGID, gid, gid, gid}, {syscall.SYS_SETRESUID, uid, uid, uid}} {
		if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return nil, fmt.Errorf("become user %d, group %d: %w", uid, gid, errno)
		}
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), socket)
	defer func() { _ = f.Close() }() // net.FileConn has a descriptor of its own
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket}); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	return net.FileConn(f)
}
