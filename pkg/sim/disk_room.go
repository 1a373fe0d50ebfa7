package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"syscall"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// diskRoom is how many bytes a disk takes.
const diskRoom = 1 << 30

// Fill has other programs take all that is free now, but for left bytes, for a while. What of a segment does not fit is written as far as it does, as by a real disk, and the error is ENOSPC.
//
// The databases find room all the same. A pod waits for theirs with locks held, and virtual time stands still while a lock is waited for; pkg/pod's TestNoSpace is about that.
func (d *Disk) Fill(left int64, while time.Duration) error {
	d.roomMu.Lock()
	defer d.roomMu.Unlock()
	used, err := d.used("/")
	d.others, d.fullUntil = max(0, diskRoom-used-left), clock.Real{}.Now().Add(while)
	return err
}

// WasFull says whether others ever filled it.
func (d *Disk) WasFull() bool {
	d.roomMu.Lock()
	defer d.roomMu.Unlock()
	return !d.fullUntil.IsZero()
}

// free is how many bytes the disk still takes; d.roomMu is held.
func (d *Disk) free() (int64, error) {
	used, err := d.used("/")
	if clock.Since(clock.Real{}, d.fullUntil) >= 0 {
		d.others = 0
	}
	return max(0, diskRoom-used-d.others), err
}

// used are the bytes of all files below a folder.
func (d *Disk) used(dir string) (n int64, err error) {
	names, err := d.mem.List(dir)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		full := path.Join(dir, name)
		info, err := d.mem.Stat(full)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return 0, err
		}
		size := info.Size()
		if info.IsDir() {
			if size, err = d.used(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
		}
		n += size
	}
	return n, nil
}

// write does a write of which so many bytes lie behind the end of the file, as far as there is room for them.
func (d *Disk) write(b []byte, grows int64, write func([]byte) (int, error)) (int, error) {
	d.roomMu.Lock()
	defer d.roomMu.Unlock()
	if d.others == 0 {
		return write(b)
	}
	room, err := d.free()
	if err != nil || grows <= room {
		n, writeErr := write(b)
		return n, errors.Join(err, writeErr)
	}
	n, err := write(b[:max(0, int64(len(b))-(grows-room))])
	return n, errors.Join(err, fmt.Errorf("sim: %w", syscall.ENOSPC))
}

// roomFS is the file system of a disk that ends.
type roomFS struct {
	pebblevfs.FS
	d *Disk
}

// GetDiskUsage is pebble's vfs.FS's; so are those that follow.
func (f *roomFS) GetDiskUsage(string) (pebblevfs.DiskUsage, error) {
	f.d.roomMu.Lock()
	defer f.d.roomMu.Unlock()
	free, err := f.d.free()
	return pebblevfs.DiskUsage{AvailBytes: uint64(free), TotalBytes: diskRoom, UsedBytes: uint64(diskRoom - free)}, err
}

func (f *roomFS) file(name string, file pebblevfs.File, err error) (pebblevfs.File, error) {
	if err != nil || filepath.Base(filepath.Dir(name)) != "segments" {
		return file, err
	}
	return &roomFile{File: file, d: f.d}, nil
}

func (f *roomFS) Create(name string, c pebblevfs.DiskWriteCategory) (pebblevfs.File, error) {
	file, err := f.FS.Create(name, c)
	return f.file(name, file, err)
}

func (f *roomFS) ReuseForWrite(from, to string, c pebblevfs.DiskWriteCategory) (pebblevfs.File, error) {
	file, err := f.FS.ReuseForWrite(from, to, c)
	return f.file(to, file, err)
}

func (f *roomFS) OpenReadWrite(name string, c pebblevfs.DiskWriteCategory, o ...pebblevfs.OpenOption) (pebblevfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, o...)
	return f.file(name, file, err)
}

// Unwrap is the file system below.
func (f *roomFS) Unwrap() pebblevfs.FS { return f.FS }

// roomFile is a file that was opened for writing. A write goes to the end of it, which its size is then at the least.
type roomFile struct {
	pebblevfs.File
	d *Disk
}

// Write is pebble's vfs.File's; so are those that follow.
func (f *roomFile) Write(b []byte) (int, error) {
	return f.d.write(b, int64(len(b)), f.File.Write)
}

func (f *roomFile) WriteAt(b []byte, off int64) (int, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return f.d.write(b, max(0, off+int64(len(b))-info.Size()), func(b []byte) (int, error) { return f.File.WriteAt(b, off) })
}

var (
	_ pebblevfs.FS   = (*roomFS)(nil)
	_ pebblevfs.File = (*roomFile)(nil)
)
