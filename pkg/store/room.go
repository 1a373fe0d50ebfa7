package store

import (
	"errors"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// roomRetryMax is the longest pause between two tries of a write that found the disk full.
const roomRetryMax = 250 * time.Millisecond

// room is the file system of the index. A write that finds the disk full takes the ballast, and then waits for space,
// because to Pebble a failed write of its manifest is the end of the process. It waits in the background, where nobody
// reads or puts; who needs the index on disk asks for full. Only while the store closes nothing waits.
type room struct {
	vfs.FS
	clock   clock.Clock
	release func() bool // of the ballast

	mu      sync.Mutex // guards the fields below
	stop    chan struct{}
	waiting int
	full    chan struct{} // closed once somebody finds the disk full; a new one when nobody waits any more
}

func newRoom(fs vfs.FS, c clock.Clock, release func() bool) *room {
	return &room{FS: fs, clock: c, release: release, full: make(chan struct{})}
}

// probeBytes is what there must be room for before the index is opened: what Pebble writes then, and some.
const probeBytes = 256 << 10

// probe is ErrNoSpace when the disk is full, ballast included, so that opening does not begin to wait.
func (r *room) probe(path string) error {
	err := r.do(func() error {
		f, err := r.FS.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		_, err = f.Write(make([]byte, probeBytes))
		return errors.Join(err, f.Close(), r.FS.Remove(path))
	})
	return noSpace(err)
}

// wait lets writes wait for space (on), or fail when there is none.
func (r *room) wait(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case on && r.stop == nil:
		r.stop = make(chan struct{})
	case !on && r.stop != nil:
		close(r.stop)
		r.stop = nil
	}
}

// waits says whether writes wait for space.
func (r *room) waits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stop != nil
}

// isFull is closed when a write finds the disk full from now on, or waits for space already.
func (r *room) isFull() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full
}

// begin counts somebody who found the disk full; it returns what ends the waiting, nil when nobody may wait.
func (r *room) begin() chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting++; r.waiting == 1 {
		close(r.full)
	}
	return r.stop
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
	stop := r.begin()
	defer r.end()
	if stop == nil {
		return err
	}
	for pause := time.Millisecond; diskFull(err); pause = min(2*pause, roomRetryMax) {
		timer := r.clock.NewTimer(pause)
		select {
		case <-stop:
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
