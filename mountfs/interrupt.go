//go:build linux || darwin

package mountfs

import (
	"context"
	"time"

	"github.com/jacobsa/fuse/fuseops"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

const (
	// lookTime is how often the signals of a caller are looked at, once the kernel said that one has come.
	lookTime = 50 * time.Millisecond
	// untoldTime is how often they are looked at while the kernel said nothing. It says it once, and the library drops what one thread reads
	// about an operation that another one has just read (fuse.Connection.handleInterrupt).
	untoldTime = time.Second
)

// interruptible is the context of an operation. The kernel says once that any signal has come to the
// caller: a timer, a child's end, the scheduler of a Go program (SIGURG, up to a hundred times a second).
// To return EINTR then would break programs, which don't expect it of unlink(2), say, and kill those that read by
// a page fault. So it ends only
//   - when the caller is dying, by a signal that it does not catch: any operation;
//   - when the caller catches a signal that asks it to end (SIGINT, SIGTERM, SIGHUP, SIGQUIT): a read,
//     which may wait for bytes of other machines;
//   - when the mount ends;
//   - when it has taken too long: the timeout.
//
// The caller calls the function that is returned when the operation is over.
func (s *server) interruptible(ctx context.Context, op any) (context.Context, func()) {
	_, isRead := op.(*fuseops.ReadFileOp)
	_, _, caller, err := s.caller.GetFuseContext(ctx)
	if err != nil {
		caller = 0
	}
	return s.limited(ctx, int(caller), isRead, s.timeoutOf(op))
}

// limited is the context of an operation of a thread.
func (s *server) limited(ctx context.Context, caller int, isRead bool, timeout time.Duration) (context.Context, func()) {
	inner, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	stop := context.AfterFunc(ctx, func() { s.lookOut(inner, cancel, caller, isRead, true) })
	late := time.AfterFunc(untoldTime, func() { s.lookOut(inner, cancel, caller, isRead, false) }) //nolint:forbidigo // real, as the timeout is
	return inner, func() {
		stop()
		late.Stop()
		cancel()
	}
}

// timeoutOf is how long an operation may take.
func (s *server) timeoutOf(op any) time.Duration {
	switch op.(type) {
	case *fuseops.WriteFileOp, *fuseops.SyncFileOp, *fuseops.FlushFileOp, *fuseops.SyncFSOp, *fuseops.ReleaseFileHandleOp:
		return syncFactor * s.timeout
	}
	return s.timeout
}

// lookOut ends an operation as soon as there is a reason, while it lasts. A caller that can't be seen, in another pid namespace, has one if the
// kernel told of a signal.
func (s *server) lookOut(ctx context.Context, cancel context.CancelFunc, caller int, isRead, told bool) {
	every := untoldTime
	if told {
		every = lookTime
	}
	for ctx.Err() == nil {
		dying, asked, seen := signals(caller)
		if dying || isRead && (asked || told && !seen) || s.base.Err() != nil {
			cancel()
			return
		}
		if clock.Sleep(ctx, s.clock, every) != nil {
			return
		}
	}
}
