//go:build linux || darwin

package mountfs

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/jacobsa/fuse/fuseops"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// handles are the files and folders that are open, by the number that the kernel has for each. It is safe
// for concurrent use.
type handles struct {
	mu   sync.Mutex
	open map[fuseops.HandleID]any // vfs.File or *folder
	last fuseops.HandleID
}

func (h *handles) add(x any) fuseops.HandleID {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.open[h.last] = x
	return h.last
}

// files is how many files are open.
func (h *handles) files() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, x := range h.open {
		if _, ok := x.(vfs.File); ok {
			n++
		}
	}
	return n
}

func (h *handles) get(id fuseops.HandleID) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open[id]
}

func (h *handles) remove(id fuseops.HandleID) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.open[id]
	delete(h.open, id)
	return x
}

// file finds an open file.
func (s *server) file(id fuseops.HandleID) (vfs.File, error) {
	f, ok := s.handles.get(id).(vfs.File)
	if !ok {
		return nil, syscall.EBADF
	}
	return f, nil
}

// open opens a file, emptied if the flags say so, and tells its attributes.
func (s *server) open(ctx context.Context, a vfs.Attr, flags int) (vfs.File, vfs.Attr, error) {
	if s.keeper != nil && flags&syscall.O_ACCMODE == os.O_RDONLY && flags&os.O_TRUNC == 0 {
		f, err := s.keeper.OpenAsIs(ctx, a.ID)
		return f, a, err
	}
	f, err := s.fs.Open(ctx, a.ID)
	if err != nil {
		return nil, a, err
	}
	if flags&os.O_TRUNC != 0 {
		var none uint64
		if a, err = s.fs.SetAttr(ctx, a.ID, vfs.SetAttr{Size: &none}); err != nil {
			return nil, a, errors.Join(err, f.Close(context.WithoutCancel(ctx)))
		}
	}
	return f, a, nil
}

// openFile opens a file that exists. The kernel may keep its pages of it if they are of this version.
func (s *server) openFile(ctx context.Context, op *fuseops.OpenFileOp) error {
	if op.Inode == probeNode {
		op.Handle = probeHandle
		return nil
	}
	asked := s.told.Load()
	a, err := s.fs.GetAttr(ctx, vfs.NodeID(op.Inode))
	if err != nil {
		return err
	}
	f, a, err := s.open(ctx, a, int(op.OpenFlags))
	if err != nil {
		return err
	}
	op.Handle = s.handles.add(f)
	pages, shown := s.known.opened(a, s.untold(a.ID))
	op.UseDirectIO = s.keeper != nil // pages are of the file, not of who has it open
	op.KeepPageCache = pages && !s.expiration(asked, a.ID).IsZero()
	if m := s.memory.Load(); m != nil && !shown {
		s.logInvalidation(m.attributes(uint64(op.Inode))) // who opens a file sees what is here, its size too, even if the change is still to be told
	}
	return nil
}

// read reads as much as is asked for, less only at the end of the file.
func (s *server) read(ctx context.Context, op *fuseops.ReadFileOp) error {
	f, err := s.file(op.Handle)
	if err != nil {
		return err
	}
	dst := op.Dst
	if dst == nil && op.Size > 0 {
		dst = make([]byte, op.Size) // the library had no room for it
		op.Data = [][]byte{dst}
	}
	if s.keeper == nil {
		ctx = vfs.WithReuse(ctx, vfs.ReadKept) // in the kernel's pages
	}
	op.BytesRead, err = f.ReadAt(ctx, dst, op.Offset)
	if err == io.EOF { //nolint:errorlint // an error that wraps it is no end of the file
		return nil
	}
	return err
}

func (s *server) write(ctx context.Context, op *fuseops.WriteFileOp) error {
	f, err := s.file(op.Handle)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(ctx, op.Data, op.Offset)
	return err
}

// Modes of fallocate(2) (Linux, include/uapi/linux/falloc.h), as the kernel sends them.
const (
	fallocKeepSize  = 0x01
	fallocPunchHole = 0x02
	fallocZeroRange = 0x10
)

// allocate is fallocate(2): it gives room in advance, punches holes and writes zeros. The kernel lets no other modes through.
func (s *server) allocate(ctx context.Context, op *fuseops.FallocateOp) error {
	f, err := s.file(op.Handle)
	if err != nil {
		return err
	}
	a, ok := f.(vfs.Allocator)
	if !ok || op.Mode&^(fallocKeepSize|fallocPunchHole|fallocZeroRange) != 0 {
		return vfs.ErrNotSupported
	}
	if op.Offset > vfs.FileMax || op.Length > vfs.FileMax {
		return vfs.ErrTooLarge
	}
	var flags vfs.AllocFlag
	for _, f := range []struct {
		mode uint32
		flag vfs.AllocFlag
	}{{fallocKeepSize, vfs.AllocKeepSize}, {fallocPunchHole, vfs.AllocPunch}, {fallocZeroRange, vfs.AllocZero}} {
		if op.Mode&f.mode != 0 {
			flags |= f.flag
		}
	}
	return a.Allocate(ctx, int64(op.Offset), int64(op.Length), flags)
}

// sync is fsync(2): of a file, or of a folder, for which everything is made durable.
func (s *server) sync(ctx context.Context, op *fuseops.SyncFileOp) error {
	if _, ok := s.handles.get(op.Handle).(*folder); ok {
		return s.fs.SyncFS(ctx)
	}
	f, err := s.file(op.Handle)
	if err != nil {
		return err
	}
	return f.Sync(ctx)
}

// flush is close(2).
func (s *server) flush(ctx context.Context, op *fuseops.FlushFileOp) error {
	if op.Handle == probeHandle {
		return nil
	}
	f, err := s.file(op.Handle)
	if err != nil {
		return err
	}
	return f.Flush(ctx)
}

// release comes when the last descriptor and mapping of an open file are gone. Nobody hears its error.
func (s *server) release(ctx context.Context, id fuseops.HandleID) error {
	f, ok := s.handles.remove(id).(vfs.File)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), syncFactor*s.timeout)
	defer cancel()
	return f.Close(ctx)
}

// closeAll closes what is open when the mount ends: of a process that was killed, or cut off.
func (s *server) closeAll() {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	s.handles.mu.Lock()
	open := s.handles.open
	s.handles.open = make(map[fuseops.HandleID]any)
	s.handles.mu.Unlock()
	for _, x := range open {
		if f, ok := x.(vfs.File); ok {
			if err := f.Close(ctx); err != nil {
				s.log.Error("file could not be closed at the end of the mount", "error", err)
			}
		}
	}
}
