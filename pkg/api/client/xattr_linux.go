package client

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// readXattrs reads the attributes of an open file that are kept; nil if there are none.
func readXattrs(fd int) (map[string][]byte, error) {
	var room [256]byte
	names := room[:]
	n, err := unix.Flistxattr(fd, names)
	for errors.Is(err, unix.ERANGE) {
		names = make([]byte, len(names)*8)
		n, err = unix.Flistxattr(fd, names)
	}
	if errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out map[string][]byte
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if !copied(name) {
			continue
		}
		v, err := readXattr(fd, name)
		if errors.Is(err, unix.ENODATA) {
			continue // Removed meanwhile.
		}
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = map[string][]byte{}
		}
		out[name] = v
	}
	return out, nil
}

func readXattr(fd int, name string) ([]byte, error) {
	for {
		size, err := unix.Fgetxattr(fd, name, nil)
		if err != nil {
			return nil, err
		}
		buf := make([]byte, size)
		if size == 0 {
			return buf, nil
		}
		n, err := unix.Fgetxattr(fd, name, buf)
		if errors.Is(err, unix.ERANGE) {
			continue // It has grown.
		}
		return buf[:max(n, 0)], err
	}
}

// writeXattrs sets attributes of an open file. Those that the file system can't hold, or that need more rights, are left
// out, as cp does.
func writeXattrs(fd int, x map[string][]byte) error {
	for name, v := range x {
		if !copied(name) {
			continue // It came from peers.
		}
		err := unix.Fsetxattr(fd, name, v, 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return nil
}
