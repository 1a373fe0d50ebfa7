//go:build unix

package api

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// CanPassFiles says whether descriptors can travel over a connection here.
const CanPassFiles = true

// fdsMax is the most descriptors that wait to be taken: what all batches under way may carry.
const fdsMax = (Window + 1) * BatchFDs

// oobSize is the room for the descriptors of one message: SCM_MAX_FD of Linux is 253.
var oobSize = unix.CmsgSpace(253 * 4)

// read reads some bytes, and the descriptors that come with them.
func (r *fdReader) read(p []byte) (int, error) {
	u, ok := r.c.(*net.UnixConn)
	if !ok {
		return r.c.Read(p)
	}
	n, oobn, flags, _, err := u.ReadMsgUnix(p, r.oob)
	n = max(n, 0)
	if oobn > 0 {
		if ferr := r.addFDs(r.oob[:oobn]); ferr != nil {
			return n, ferr
		}
	}
	if err != nil {
		return n, err
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return n, fmt.Errorf("api: descriptors were lost on the way (too many open files?): %w", ErrProtocol)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// addFDs takes over the descriptors of control messages.
func (r *fdReader) addFDs(oob []byte) error {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("api: %w: %w", ErrProtocol, err)
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // Something else than descriptors.
		}
		for _, fd := range fds {
			// net sets close-on-exec (MSG_CMSG_CLOEXEC).
			r.files = append(r.files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	if len(r.files) > fdsMax {
		return fmt.Errorf("api: more than %d descriptors wait: %w", fdsMax, ErrProtocol)
	}
	return nil
}

// writeFDs writes all of b, and the descriptors with its first byte.
func writeFDs(c net.Conn, b []byte, files []*os.File) error {
	if len(files) > 0 {
		u, ok := c.(*net.UnixConn)
		if !ok {
			return errors.New("descriptors can't travel over this connection")
		}
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		n, _, err := u.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
		runtime.KeepAlive(files)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	if len(b) == 0 {
		return nil
	}
	_, err := c.Write(b)
	return err
}
