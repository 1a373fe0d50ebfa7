package store

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// roomBytes is what the disk must have free before the index is opened.
const roomBytes = 1 << 20

// roomForIndex is ErrNoSpace when the disk has no room for the index to be opened, not even with the ballast.
func (s *Store) roomForIndex() error {
	free := s.disk.refresh()
	if free < roomBytes && s.ballast.release() {
		free = s.disk.refresh()
	}
	if free < roomBytes {
		return fmt.Errorf("%d bytes are free, the index needs %d: %w", free, roomBytes, ErrNoSpace)
	}
	return nil
}

// roomRetryMax is the longest pause between two tries of a write that found the disk full.
const roomRetryMax = 250 * time.Millisecond

// room is the file system of the index. A write that finds the disk full takes the ballast, and then waits for space as
// long as it takes, because to Pebble a failed write of its manifest is the end of the process. (vfs.OnDiskFull tries
// once more only: that others write at the same time is enough to fail.) It waits in Pebble's background, where nobody
// reads or puts. After shut nothing waits.
type room struct {
	vfs.FS
	clock   clock.Clock
	release func() bool   // of the ballast
	done    chan struct{} // closed by shut

	mu      sync.Mutex // guards the fields below
	closed  bool
	waiting int
	full    chan struct{} // closed once a write finds the disk full; a new one when none waits any more
}

func newRoom(fs vfs.FS, c clock.Clock, release func() bool) *room {
	return &room{FS: fs, clock: c, release: release, done: make(chan struct{}), full: make(chan struct{})}
}

// shut has writes fail from here on when there is no space.
func (r *room) shut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		close(r.done)
	}
}

// isShut says whether shut was called.
func (r *room) isShut() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// isFull is closed when a write waits for space, or finds from now on that there is none.
func (r *room) isFull() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full
}

func (r *room) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting++; r.waiting == 1 {
		close(r.full)
	}
}

func (r *room) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting--; r.waiting == 0 {
		r.full = make(chan struct{})
	}
}

// do calls f again as long as it finds the disk full.
func (r *room) do(f func() error) error {
	err := f()
	if !diskFull(err) {
		return err
	}
	r.release()
	if err = f(); !diskFull(err) {
		return err
	}
	r.begin()
	defer r.end()
	for pause := time.Millisecond; diskFull(err); pause = min(2*pause, roomRetryMax) {
		timer := r.clock.NewTimer(pause)
		select {
		case <-r.done:
			timer.Stop()
			return err
		case <-timer.C:
		}
		err = f()
	}
	return err
}

// file does with a file what do does.
func (r *room) file(open func() (vfs.File, error)) (f vfs.File, err error) {
	err = r.do(func() (err error) {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &roomFile{File: f, room: r}, nil
}

// Create is vfs.FS.Create.
func (r *room) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return r.file(func() (vfs.File, error) { return r.FS.Create(name, category) })
}

// OpenReadWrite is vfs.FS.OpenReadWrite.
func (r *room) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return r.file(func() (vfs.File, error) { return r.FS.OpenReadWrite(name, category, opts...) })
}

// ReuseForWrite is vfs.FS.ReuseForWrite.
func (r *room) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return r.file(func() (vfs.File, error) { return r.FS.ReuseForWrite(from, to, category) })
}

// MkdirAll is vfs.FS.MkdirAll.
func (r *room) MkdirAll(dir string, perm os.FileMode) error {
	return r.do(func() error { return r.FS.MkdirAll(dir, perm) })
}

// Link is vfs.FS.Link.
func (r *room) Link(from, to string) error {
	return r.do(func() error { return r.FS.Link(from, to) })
}

// Rename is vfs.FS.Rename.
func (r *room) Rename(from, to string) error {
	return r.do(func() error { return r.FS.Rename(from, to) })
}

// Unwrap is the file system below.
func (r *room) Unwrap() vfs.FS { return r.FS }

// roomFile is a file of a room.
type roomFile struct {
	vfs.File
	room *room
}

// Write is vfs.File.Write; what a full disk cut short is continued.
func (f *roomFile) Write(b []byte) (n int, err error) {
	err = f.room.do(func() error {
		m, err := f.File.Write(b[n:])
		n += m
		return err
	})
	return n, err
}

// WriteAt is vfs.File.WriteAt; what a full disk cut short is continued.
func (f *roomFile) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.room.do(func() error {
		m, err := f.File.WriteAt(b[n:], off+int64(n))
		n += m
		return err
	})
	return n, err
}

// Preallocate is vfs.File.Preallocate.
func (f *roomFile) Preallocate(off, length int64) error {
	return f.room.do(func() error { return f.File.Preallocate(off, length) })
}
