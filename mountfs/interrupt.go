//go:build linux || darwin

package mountfs

import (
	"context"
	"time"

	"github.com/jacobsa/fuse/fuseops"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// lookTime is how often the signals of a caller are looked at, once one has come.
const lookTime = 50 * time.Millisecond

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
	inner, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeoutOf(op))
	stop := context.AfterFunc(ctx, func() { s.interrupted(inner, cancel, caller, isRead) })
	return inner, func() {
		stop()
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

// interrupted ends an operation as soon as there is a reason, while it lasts.
func (s *server) interrupted(ctx context.Context, cancel context.CancelFunc, caller uint32, isRead bool) {
	for ctx.Err() == nil {
		if dying, asked := signals(caller); dying || asked && isRead || s.base.Err() != nil {
			cancel()
			return
		}
		if clock.Sleep(ctx, s.clock, lookTime) != nil {
			return
		}
	}
}
