package pod

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// errBroken says that a log of the state, or its list of files, could not be written or synced.
var errBroken = errors.New("the disk fails; what was acknowledged is safe, and the next start goes on from it")

// Waiting for room on a full disk.
const (
	roomPoll    = 5 * time.Millisecond // before a write is tried again, at first
	roomPollMax = time.Second
	roomAtOpen  = 5 * time.Second // what a pod that is being opened waits in all, before it gives up
)

// A diskGuard stands between the disk and the databases of a pod: Pebble ends the process, or hangs, when it can't write its log
// or its manifest (db.go and version_set.go of v2.1.7 call Logger.Fatalf, commitWrite panics).
//
//   - A write that finds the disk full makes room by the store's ballast, and then waits until there is room: full is closed
//     meanwhile, and nothing new is taken, so that everybody but who waits already is told.
//   - Any other error of a write of a log or manifest, and any error of their sync, is the end: a second sync could say that
//     all is well though the kernel has dropped the bytes. broken is closed, the operation never returns, and Run ends.
//
// Tables (.sst) are left to Pebble, which writes them again under another name. Segments of the store are not guarded: the store
// tells its callers itself.
type diskGuard struct {
	clock clock.Clock
	log   *slog.Logger

	mu       sync.Mutex    // guards the fields below
	serving  bool          // false while the pod is being opened: it doesn't wait for ever then
	makeRoom func() bool   // nil: there is nothing to give up
	onFull   func()        // told when a write begins to wait
	waiting  int           // writes that wait for room
	full     chan struct{} // closed while waiting > 0
	broken   chan struct{} // closed once
	reason   error         // why it is broken
}

func newDiskGuard(c clock.Clock, log *slog.Logger) *diskGuard {
	return &diskGuard{clock: c, log: log, full: make(chan struct{}), broken: make(chan struct{})}
}

// serve begins to guard.
func (g *diskGuard) serve(makeRoom func() bool, onFull func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serving, g.makeRoom, g.onFull = true, makeRoom, onFull
}

// stuck is closed while writes wait for room, or, with the second, for ever.
func (g *diskGuard) stuck() (full, broken <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.full, g.broken
}

// err is nil while writes are taken.
func (g *diskGuard) err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.reason != nil:
		return g.reason
	case g.waiting > 0:
		return fmt.Errorf("pod: the disk is full, even without the reserve: %w", vfs.ErrNoSpace)
	}
	return nil
}

// end says that the databases can't go on, and never returns.
func (g *diskGuard) end(what string, err error) {
	g.mu.Lock()
	if g.reason == nil {
		g.reason = fmt.Errorf("pod: %s: %w: %w", what, errBroken, err)
		close(g.broken)
	}
	g.mu.Unlock()
	g.log.Error("the pod ends: a write that must not fail has failed", "what", what, "err", err)
	select {}
}

// try does a write, again and again while the disk is full.
func (g *diskGuard) try(what string, f func() error) error {
	err := f()
	if err == nil || !isFull(err) {
		return err
	}
	g.mu.Lock()
	serving, makeRoom, onFull := g.serving, g.makeRoom, g.onFull
	g.mu.Unlock()
	if makeRoom != nil && makeRoom() {
		if err = f(); !isFull(err) {
			return err
		}
	}
	g.begin(what, onFull)
	defer g.done()
	begin := g.clock.Now()
	for pause := roomPoll; isFull(err); pause = min(2*pause, roomPollMax) {
		if err := clock.Sleep(context.Background(), g.clock, pause); err != nil {
			return err
		}
		if err = f(); isFull(err) && !serving && clock.Since(g.clock, begin) > roomAtOpen {
			g.end("open "+what, fmt.Errorf("%w: %w", vfs.ErrNoSpace, err))
		}
	}
	return err
}

func (g *diskGuard) begin(what string, onFull func()) {
	g.mu.Lock()
	first := g.waiting == 0
	g.waiting++
	if first {
		close(g.full)
	}
	g.mu.Unlock()
	if first {
		g.log.Error("the disk is full: nothing is taken until there is room", "what", what)
		if onFull != nil {
			onFull()
		}
	}
}

func (g *diskGuard) done() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting--; g.waiting == 0 {
		g.full = make(chan struct{})
		g.log.Info("the disk has room again")
	}
}

func isFull(err error) bool {
	return err != nil && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT))
}

// guard is fs with the files below dir's databases guarded.
func (g *diskGuard) guard(fs pebblevfs.FS, dir string) pebblevfs.FS {
	return &guardedFS{FS: fs, g: g, below: []string{filepath.Join(dir, "state"), filepath.Join(dir, "index")}}
}

type guardedFS struct {
	pebblevfs.FS
	g     *diskGuard
	below []string
}

// of says whether a path is guarded.
func (fs *guardedFS) of(name string) bool {
	for _, dir := range fs.below {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

// change does what changes names.
func (fs *guardedFS) change(name string, f func() error) error {
	if !fs.of(name) {
		return f()
	}
	return fs.g.try(name, f)
}

// file does what makes or opens a file for writing.
func (fs *guardedFS) file(name string, open func() (pebblevfs.File, error)) (f pebblevfs.File, err error) {
	err = fs.change(name, func() error {
		f, err = open()
		return err
	})
	if err != nil || !fs.of(name) {
		return f, err
	}
	return &guardedFile{File: f, g: fs.g, name: name, vital: !strings.HasSuffix(name, ".sst")}, nil
}

// Create is pebble's vfs.FS's; so are those that follow.
func (fs *guardedFS) Create(name string, c pebblevfs.DiskWriteCategory) (pebblevfs.File, error) {
	return fs.file(name, func() (pebblevfs.File, error) { return fs.FS.Create(name, c) })
}

func (fs *guardedFS) ReuseForWrite(oldname, newname string, c pebblevfs.DiskWriteCategory) (pebblevfs.File, error) {
	return fs.file(newname, func() (pebblevfs.File, error) { return fs.FS.ReuseForWrite(oldname, newname, c) })
}

func (fs *guardedFS) OpenReadWrite(name string, c pebblevfs.DiskWriteCategory, o ...pebblevfs.OpenOption) (pebblevfs.File, error) {
	return fs.file(name, func() (pebblevfs.File, error) { return fs.FS.OpenReadWrite(name, c, o...) })
}

func (fs *guardedFS) OpenDir(name string) (pebblevfs.File, error) {
	return fs.file(name, func() (pebblevfs.File, error) { return fs.FS.OpenDir(name) })
}

func (fs *guardedFS) Link(oldname, newname string) error {
	return fs.change(newname, func() error { return fs.FS.Link(oldname, newname) })
}

func (fs *guardedFS) Rename(oldname, newname string) error {
	return fs.change(newname, func() error { return fs.FS.Rename(oldname, newname) })
}

func (fs *guardedFS) MkdirAll(dir string, perm iofs.FileMode) error {
	return fs.change(dir, func() error { return fs.FS.MkdirAll(dir, perm) })
}

// Unwrap is the file system below.
func (fs *guardedFS) Unwrap() pebblevfs.FS { return fs.FS }

// guardedFile is a file, or a folder, that was opened for writing.
type guardedFile struct {
	pebblevfs.File
	g     *diskGuard
	name  string
	vital bool // no table
}

// checked ends all where an error is the end.
func (f *guardedFile) checked(what string, err error) error {
	if err == nil || !f.vital {
		return err
	}
	f.g.end(what+" "+f.name, err)
	return nil // never
}

// Write is pebble's vfs.File's; so are those that follow.
func (f *guardedFile) Write(p []byte) (n int, err error) {
	err = f.g.try(f.name, func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, f.checked("write", err)
}

func (f *guardedFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.g.try(f.name, func() error {
		m, err := f.File.WriteAt(p[n:], off+int64(n))
		n += m
		return err
	})
	return n, f.checked("write", err)
}

// Preallocate is a hint here: what is not there for it may still do for a short write.
func (f *guardedFile) Preallocate(off, length int64) error {
	if err := f.File.Preallocate(off, length); err != nil && !isFull(err) {
		return err
	}
	return nil
}

func (f *guardedFile) Sync() error { return f.checked("sync", f.File.Sync()) }

func (f *guardedFile) SyncData() error { return f.checked("sync", f.File.SyncData()) }

func (f *guardedFile) SyncTo(length int64) (full bool, err error) {
	full, err = f.File.SyncTo(length)
	return full, f.checked("sync", err)
}

var (
	_ pebblevfs.FS   = (*guardedFS)(nil)
	_ pebblevfs.File = (*guardedFile)(nil)
)
