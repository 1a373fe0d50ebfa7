package store

import (
	"io/fs"
	"math"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// tightFS is a file system with a limit to the bytes of all its files, or that finds itself full at a certain write. A
// write that does not fit is made in part, as by a real one.
type tightFS struct {
	vfs.FS

	mu    sync.Mutex // guards the fields below
	limit int64      // bytes
	used  int64      // bytes
	sizes map[string]int64
	// failFrom to failTo are the writes that find the disk full, counted by writes from 1 on.
	writes, failFrom, failTo int
}

func newTightFS(on vfs.FS) *tightFS {
	return &tightFS{FS: on, limit: math.MaxInt64, sizes: make(map[string]int64), failFrom: math.MaxInt}
}

// grow makes room for a file of size bytes; fits is how long it can be.
func (f *tightFS) grow(name string, size int64) (fits int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	had := f.sizes[name]
	fits = max(had, min(size, had+f.limit-f.used))
	if f.writes >= f.failFrom && f.writes <= f.failTo {
		fits = (had + size) / 2
		err = syscall.ENOSPC
	} else if fits < size {
		err = syscall.ENOSPC
	}
	if fits > had {
		f.used += fits - had
		f.sizes[name] = fits
	}
	return fits, err
}

func (f *tightFS) drop(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used -= f.sizes[name]
	delete(f.sizes, name)
}

// fill takes all that is free, as another program would; free gives it back, and ends all other failing.
func (f *tightFS) fill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = f.used
}

func (f *tightFS) free() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit, f.failFrom = math.MaxInt64, math.MaxInt
}

func (f *tightFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if _, err := f.grow(name, 0); err != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: err}
	}
	f.drop(name)
	file, err := f.FS.Create(name, c)
	return &tightFile{File: file, fs: f, name: name}, err
}

func (f *tightFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, opts...)
	if err != nil {
		return nil, err
	}
	return &tightFile{File: file, fs: f, name: name}, nil
}

func (f *tightFS) Remove(name string) error {
	err := f.FS.Remove(name)
	if err == nil {
		f.drop(name)
	}
	return err
}

func (f *tightFS) Rename(from, to string) error {
	err := f.FS.Rename(from, to)
	if err == nil {
		f.drop(to)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.sizes[to] = f.sizes[from]
		delete(f.sizes, from)
	}
	return err
}

func (f *tightFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return vfs.DiskUsage{AvailBytes: uint64(f.limit - f.used), TotalBytes: uint64(f.limit), UsedBytes: uint64(f.used)}, nil
}

// tightFile is a file of a tightFS.
type tightFile struct {
	vfs.File
	fs   *tightFS
	name string
	pos  int64 // of Write
}

func (f *tightFile) Write(b []byte) (int, error) {
	n, err := f.WriteAt(b, f.pos)
	f.pos += int64(n)
	return n, err
}

func (f *tightFile) WriteAt(b []byte, off int64) (int, error) {
	fits, err := f.fs.grow(f.name, off+int64(len(b)))
	n := len(b)
	if err != nil {
		n = int(min(max(fits-off, 0), int64(n)-1))
	}
	if m, werr := f.File.WriteAt(b[:max(n, 0)], off); werr != nil {
		return m, werr
	}
	return n, err
}

func (f *tightFile) Preallocate(off, n int64) error {
	if _, err := f.fs.grow(f.name, off+n); err != nil {
		return err
	}
	return f.File.Preallocate(off, n)
}

// TestTightFS breaks if the file system of these tests does not count.
func TestTightFS(t *testing.T) {
	on := newTightFS(vfs.NewMem())
	f, err := on.Create("a", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	on.limit = 10
	if n, err := f.Write(make([]byte, 15)); n != 10 || err == nil {
		t.Errorf("15 bytes on a disk of 10: %d, %v", n, err)
	}
	if n, err := f.WriteAt(make([]byte, 15), 0); n != 10 || err == nil {
		t.Errorf("again: %d, %v", n, err)
	}
	if err := on.Remove("a"); err != nil || on.used != 0 {
		t.Errorf("after removing: %d used, %v", on.used, err)
	}
}
