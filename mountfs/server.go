//go:build linux || darwin

package mountfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jacobsa/fuse"
	"github.com/jacobsa/fuse/fuseops"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// server answers the kernel. It is a fuse.Server.
type server struct {
	fs        vfs.FS
	watcher   vfs.Watcher // the FS, if it is one; else nil
	clock     clock.Clock
	log       *slog.Logger
	notifier  *fuse.Notifier
	known     known
	handles   handles
	keeper    vfs.Keeper    // not nil: files that are opened for reading stay as they are
	writeback bool          // the kernel gathers writes
	timeout   time.Duration // of an operation
	told      atomic.Uint64 // changes made elsewhere that the FS has told: what was asked before the last one is not cached
	memory    atomic.Pointer[kernelMemory]
	deaf      atomic.Bool        // changes made elsewhere are no longer told: cache nothing
	cut       chan struct{}      // closed when the kernel asks nothing any more
	gone      chan struct{}      // closed when nothing is served any more
	base      context.Context    //nolint:containedctx // of all operations: it ends with the mount
	end       context.CancelFunc // ends base
	caller    fuse.MountedFileSystem
}

func newServer(ctx context.Context, fs vfs.FS, o Options) *server {
	w, _ := fs.(vfs.Watcher)
	var keeper vfs.Keeper
	if o.Keep {
		keeper, _ = fs.(vfs.Keeper)
	}
	base, end := context.WithCancel(context.WithoutCancel(ctx))
	return &server{
		fs: mapIDs(fs, ownIDs(o, os.Geteuid())), watcher: w, keeper: keeper, clock: o.Clock, log: o.Log, writeback: o.Writeback, timeout: o.Timeout, notifier: fuse.NewNotifier(), base: base, end: end, cut: make(chan struct{}), gone: make(chan struct{}),
		known:   known{nodes: make(map[vfs.NodeID]*knownNode)},
		handles: handles{open: make(map[fuseops.HandleID]any), last: probeHandle},
	}
}

// ServeOps serves until the mount is gone, and returns when nothing of it runs any more and all files are
// closed. The library closes the connection afterwards.
func (s *server) ServeOps(c *fuse.Connection) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	if s.watcher != nil {
		watching.Go(func() { s.watch(ctx, s.watcher) })
	}
	s.readOps(c)
	cancel()
	watching.Wait()
	if f := s.memory.Swap(nil); f != nil {
		f.close()
	}
	s.closeAll()
	close(s.gone)
}

// idleReaders is how many threads wait for the kernel at the most. Each keeps a message's memory, 1 MiB.
const idleReaders = 2

// readOps does what the kernel asks for, until there is no kernel to ask. Who reads an operation also does it: to hand it to another thread
// would take as long as most operations do. Somebody else reads on meanwhile, as many as are needed. At the end operations that wait are ended.
func (s *server) readOps(c *fuse.Connection) {
	var idle atomic.Int32
	var readers sync.WaitGroup
	end := sync.OnceFunc(func() { close(s.cut); s.end() })
	var read func()
	read = func() {
		for idle.Load() < idleReaders {
			idle.Add(1)
			ctx, op, err := c.ReadOp()
			if idle.Add(-1) == 0 && !ended(err) {
				readers.Go(read)
			}
			switch {
			case ended(err):
				if !errors.Is(err, io.EOF) {
					s.log.Error("mount ends: the kernel can't be read", "error", err)
				}
				end()
				return
			case err != nil:
				s.log.Warn("request of the kernel not understood", "error", err) // or withdrawn while it was read: ENOENT
			default:
				s.serve(ctx, c, op)
			}
		}
	}
	readers.Go(read)
	readers.Wait()
}

// ended is whether an error of ReadOp says that there is no kernel to ask any more.
func ended(err error) bool {
	_, ok := errors.AsType[*os.PathError](err)
	return ok && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.EAGAIN) || errors.Is(err, io.EOF)
}

// serve does one operation and answers.
func (s *server) serve(ctx context.Context, c *fuse.Connection, op any) {
	switch op.(type) {
	case *fuseops.ForgetInodeOp, *fuseops.BatchForgetOp: // they come in swarms, and nobody waits for them
		s.answer(ctx, c, op, s.safely(ctx, op))
		return
	}
	inner, over := s.interruptible(ctx, op)
	err := s.safely(inner, op)
	over()
	s.answer(ctx, c, op, err)
}

// answer tells the kernel how an operation went.
func (s *server) answer(ctx context.Context, c *fuse.Connection, op any, err error) {
	var errno error
	if err != nil {
		errno = errnoOf(err)
	}
	if errors.Is(errno, syscall.EIO) {
		s.log.WarnContext(ctx, "operation failed", "op", fmt.Sprintf("%T", op), "error", err)
	}
	if err := c.Reply(ctx, errno); err != nil {
		s.log.DebugContext(ctx, "nobody waits for the answer", "op", fmt.Sprintf("%T", op), "error", err)
	}
}

// safely does one operation. A fault of ours costs that operation, not the daemon and all that it serves.
func (s *server) safely(ctx context.Context, op any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.ErrorContext(ctx, "operation panicked", "op", fmt.Sprintf("%T", op), "panic", r, "stack", string(debug.Stack()))
			err = syscall.EIO
		}
	}()
	return s.do(ctx, op)
}

// do finds the function for an operation. What is not here is ENOSYS, for which the kernel has its own ways.
func (s *server) do(ctx context.Context, op any) error {
	switch op := op.(type) {
	case *fuseops.LookUpInodeOp:
		return s.lookup(ctx, op)
	case *fuseops.GetInodeAttributesOp:
		return s.getAttr(ctx, op)
	case *fuseops.SetInodeAttributesOp:
		return s.setAttr(ctx, op)
	case *fuseops.ForgetInodeOp:
		s.known.forget(vfs.NodeID(op.Inode), op.N)
		return nil
	case *fuseops.BatchForgetOp:
		for _, e := range op.Entries {
			s.known.forget(vfs.NodeID(e.Inode), e.N)
		}
		return nil
	case *fuseops.MkDirOp:
		return s.make(ctx, op.Parent, op.Name, vfs.NewNode{Kind: vfs.KindFolder, Mode: unixMode(op.Mode)}, &op.Entry)
	case *fuseops.MkNodeOp:
		return s.make(ctx, op.Parent, op.Name, vfs.NewNode{Kind: kindOf(op.Mode), Mode: unixMode(op.Mode), RDev: uint64(op.Rdev)}, &op.Entry)
	case *fuseops.CreateSymlinkOp:
		return s.make(ctx, op.Parent, op.Name, vfs.NewNode{Kind: vfs.KindSymlink, Mode: 0o777, Target: op.Target}, &op.Entry)
	case *fuseops.CreateFileOp:
		return s.createFile(ctx, op)
	case *fuseops.CreateLinkOp:
		return s.link(ctx, op)
	case *fuseops.RenameOp:
		return s.rename(ctx, op)
	case *fuseops.RmDirOp:
		return s.fs.Remove(ctx, vfs.NodeID(op.Parent), op.Name, true)
	case *fuseops.UnlinkOp:
		return s.fs.Remove(ctx, vfs.NodeID(op.Parent), op.Name, false)
	case *fuseops.ReadSymlinkOp:
		target, err := s.fs.ReadLink(ctx, vfs.NodeID(op.Inode))
		op.Target = target
		return err
	case *fuseops.OpenDirOp:
		s.openFolder(op)
		return nil
	case *fuseops.ReadDirOp:
		return s.readDir(ctx, op, false)
	case *fuseops.ReadDirPlusOp:
		return s.readDir(ctx, &op.ReadDirOp, true)
	case *fuseops.ReleaseDirHandleOp:
		s.handles.remove(op.Handle)
		return nil
	default:
		return s.doFile(ctx, op)
	}
}

// doFile is do for contents, attributes of the user's, and the whole.
func (s *server) doFile(ctx context.Context, op any) error {
	switch op := op.(type) {
	case *fuseops.OpenFileOp:
		return s.openFile(ctx, op)
	case *fuseops.ReadFileOp:
		return s.read(ctx, op)
	case *fuseops.WriteFileOp:
		return s.write(ctx, op)
	case *fuseops.FallocateOp:
		return s.allocate(ctx, op)
	case *fuseops.SyncFileOp:
		return s.sync(ctx, op)
	case *fuseops.FlushFileOp:
		return s.flush(ctx, op)
	case *fuseops.ReleaseFileHandleOp:
		return s.release(ctx, op.Handle)
	case *fuseops.GetXattrOp:
		return s.getXattr(ctx, op)
	case *fuseops.ListXattrOp:
		return s.listXattr(ctx, op)
	case *fuseops.SetXattrOp:
		return s.setXattr(ctx, op)
	case *fuseops.RemoveXattrOp:
		return s.fs.RemoveXattr(ctx, vfs.NodeID(op.Inode), op.Name)
	case *fuseops.StatFSOp:
		return s.statFS(ctx, op)
	case *fuseops.SyncFSOp:
		return s.fs.SyncFS(ctx)
	}
	return fuse.ENOSYS
}

// remember keeps what has the kernel forget names, unless the mount has ended meanwhile.
func (s *server) remember(f *kernelMemory) {
	if f == nil {
		return
	}
	s.memory.Store(f)
	select {
	case <-s.cut: // what looks for it afterwards may have done so before
		f.close()
	default:
	}
}

// untold says whether a node may have been changed elsewhere without the kernel's pages having been taken out for it.
func (s *server) untold(id vfs.NodeID) bool {
	return s.watcher == nil || s.deaf.Load() || !s.watcher.Watched(id) || s.watcher.Untold(id)
}

// expiration is until when the kernel may cache what it is told now of a node or of the names in it; asked is s.told before the FS was asked for it.
func (s *server) expiration(asked uint64, id vfs.NodeID) time.Time {
	switch {
	case s.watcher == nil || s.deaf.Load() || s.told.Load() != asked || !s.watcher.Watched(id):
		return time.Time{}
	case s.memory.Load() == nil:
		return s.clock.Now().Add(cacheTimeShort)
	}
	return s.clock.Now().Add(cacheTime)
}
