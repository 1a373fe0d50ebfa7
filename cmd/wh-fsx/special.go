//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapped calls f with a mapping of the pages around a piece, and the piece in it.
func (x *exerciser) mapped(off, n, prot int, f func(piece []byte) error) error {
	from := off - off%pageBytes
	all, err := unix.Mmap(int(x.f.Fd()), int64(from), off+n-from, prot, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	err = f(all[off-from:])
	if prot&unix.PROT_WRITE != 0 && x.rnd.IntN(2) == 0 {
		err = errors.Join(err, unix.Msync(all, unix.MS_SYNC))
	}
	return errors.Join(err, unix.Munmap(all))
}

func (x *exerciser) mapRead() error {
	off, n := x.place(false)
	if n == 0 {
		return nil
	}
	x.note("mapread %d at %d", n, off)
	return x.mapped(off, n, unix.PROT_READ, func(piece []byte) error { return differs(piece, x.want[off:off+n], off) })
}

func (x *exerciser) mapWrite() error {
	off, n := x.place(false)
	if n == 0 {
		return nil
	}
	x.note("mapwrite %d at %d", n, off)
	p := x.data(n)
	err := x.mapped(off, n, unix.PROT_READ|unix.PROT_WRITE, func(piece []byte) error {
		copy(piece, p)
		return nil
	})
	if err == nil {
		x.put(off, p)
	}
	return err
}

// supported says whether an operation was done. One that the file system does not know is told once and not done again.
func (x *exerciser) supported(what string, err error) (bool, error) {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		if x.skipped[what] == nil {
			fmt.Fprintf(os.Stderr, "SKIPPED: %s is not supported here: %v\n", what, err)
			x.skipped[what] = err
		}
		return false, nil
	}
	return err == nil, err
}

func (x *exerciser) fallocate(what string, mode uint32, off, n int) (bool, error) {
	if x.skipped[what] != nil {
		return false, nil //nolint:nilerr // skipped has what was told before
	}
	x.note("%s %d at %d (size %d)", what, n, off, len(x.want))
	return x.supported(what, unix.Fallocate(int(x.f.Fd()), mode, int64(off), int64(n)))
}

func (x *exerciser) punch() error {
	off, n := x.place(false)
	if n == 0 {
		return nil
	}
	done, err := x.fallocate("punching holes", unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	if done {
		clear(x.want[off : off+n])
	}
	return err
}

func (x *exerciser) zero() error {
	off, n := x.place(true)
	done, err := x.fallocate("zeroing a range", unix.FALLOC_FL_ZERO_RANGE, off, n)
	if done {
		x.put(off, make([]byte, n))
	}
	return err
}

func (x *exerciser) allocate() error {
	off, n := x.place(true)
	if x.rnd.IntN(2) == 0 {
		_, err := x.fallocate("allocating beyond the end", unix.FALLOC_FL_KEEP_SIZE, off, n)
		return err
	}
	done, err := x.fallocate("allocating", 0, off, n)
	if end := off + n; done && end > len(x.want) {
		x.put(end-1, []byte{0})
	}
	return err
}

// copyRange copies a piece of the file to another place of it.
func (x *exerciser) copyRange() error {
	const what = "copy_file_range"
	off, n := x.place(false)
	to, _ := x.place(true)
	if n == 0 || x.skipped[what] != nil || to < off+n && off < to+n {
		return nil //nolint:nilerr // skipped has what was told before
	}
	x.note("copy %d from %d to %d (size %d)", n, off, to, len(x.want))
	for n > 0 {
		from, into := int64(off), int64(to)
		k, err := unix.CopyFileRange(int(x.f.Fd()), &from, int(x.f.Fd()), &into, n, 0)
		if done, err := x.supported(what, err); !done {
			return err
		}
		if k == 0 {
			return fmt.Errorf("copied nothing of %d bytes", n)
		}
		x.put(to, append([]byte(nil), x.want[off:off+k]...))
		off, to, n = off+k, to+k, n-k
	}
	return nil
}
