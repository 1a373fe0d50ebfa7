//go:build linux || darwin

package mountfs

import (
	"context"
	"errors"
	"syscall"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// errnos is the one mapping of errors to what a system call returns. The first that fits counts. ENOSYS is
// not in it: the kernel would never ask again.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{block.ErrCorrupt, syscall.EIO},
	{block.ErrUnavailable, syscall.EIO},
	{block.ErrNotFound, syscall.EIO},
	{vfs.ErrNotExist, syscall.ENOENT},
	{vfs.ErrExist, syscall.EEXIST},
	{vfs.ErrNotDir, syscall.ENOTDIR},
	{vfs.ErrIsDir, syscall.EISDIR},
	{vfs.ErrNotEmpty, syscall.ENOTEMPTY},
	{vfs.ErrNameTooLong, syscall.ENAMETOOLONG},
	{vfs.ErrBadName, syscall.EINVAL},
	{vfs.ErrInvalid, syscall.EINVAL},
	{vfs.ErrNotPermitted, syscall.EPERM},
	{vfs.ErrNoXattr, errNoXattr},
	{vfs.ErrReadOnly, syscall.EROFS},
	{vfs.ErrQuota, syscall.EDQUOT},
	{vfs.ErrNoSpace, syscall.ENOSPC},
	{vfs.ErrTooLarge, syscall.EFBIG},
	{vfs.ErrNotSupported, syscall.EOPNOTSUPP},
	{vfs.ErrTooManyLinks, syscall.EMLINK},
	{vfs.ErrClosed, syscall.EIO}, // not ENOTCONN, by which a mount is known to be dead
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
}

// errnoOf is what a system call returns for an error, which is not nil; EIO for one that is not known.
func errnoOf(err error) syscall.Errno {
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.errno
		}
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return syscall.EIO
}
