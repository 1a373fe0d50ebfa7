package store

import (
	"context"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// uncachedFrom is how long a record is, in bytes, from which it is worth a system call of its own not to have it cached. Below it, what the kernel reads with it is a neighbour
// that will be wanted.
const uncachedFrom = 64 << 10

type uncachedKey struct{}

// Uncached says that what is read under the context, or is put as a cached copy, need not stay in the memory that the operating system has for the disk: whoever reads it keeps
// it in memory, as the kernel does for a mount, or it is not read again soon. Then that memory has it once and not twice, and other programs keep theirs. It is advice. Of reads it
// holds for records of 64 KiB and more, on Linux 6.14 and later (RWF_DONTCACHE of preadv2(2)), on file systems that can do it, and on disks that are not locked; of copies once
// they are on disk, where 64 KiB and more of them stand side by side.
func Uncached(ctx context.Context) context.Context {
	return context.WithValue(ctx, uncachedKey{}, true)
}

func isUncached(ctx context.Context) bool { return ctx.Value(uncachedKey{}) != nil }

// forgetFrom is how many bytes must have been appended to a segment for them to be worth a system call that takes them out of memory. Of less, as of what a small change
// writes, some may be wanted again.
const forgetFrom = 4 << 20

// part is some of a segment.
type part struct {
	g        *segment
	from, to int64
}

// noteUncached notes a record that nobody will read from the operating system's memory; mu is held.
func (s *Store) noteUncached(at place, n int64) {
	if last := len(s.uncached) - 1; last >= 0 && s.uncached[last].g.num == at.seg && s.uncached[last].to == at.off {
		s.uncached[last].to += n
		return
	}
	s.uncached = append(s.uncached, part{s.segs[at.seg], at.off, at.off + n})
}

// forget has the operating system forget what is on disk now: all that was appended, if nobody will read it from here soon, and in any case the uncached.
func (s *Store) forget(appended, uncached []part) {
	if s.o.ReadBack != nil && !s.o.ReadBack() {
		forgetParts(appended, forgetFrom)
	}
	forgetParts(uncached, uncachedFrom)
}

// forgetParts has the operating system forget those that have so many bytes.
func forgetParts(parts []part, least int64) {
	for _, a := range parts {
		if a.to-a.from < least || !a.g.acquire() {
			continue
		}
		if fd := a.g.file.Fd(); fd != vfs.InvalidFd {
			forget(fd, shiftOf(a.g.file)+a.from, a.to-a.from)
		}
		_ = a.g.release() // nothing is lost when closing a removed file fails
	}
}

// reads reads a segment as the context wants it. The descriptor of a locked disk's file tells of encrypted bytes.
func (g *segment) reads(ctx context.Context) io.ReaderAt {
	if !isUncached(ctx) || shiftOf(g.file) > 0 {
		return g.file
	}
	return uncachedFile{g.file}
}

// uncachedFile reads what is long without leaving it in the operating system's memory.
type uncachedFile struct{ vfs.File }

// ReadAt is io.ReaderAt's.
func (f uncachedFile) ReadAt(b []byte, off int64) (int, error) {
	if fd := f.Fd(); len(b) >= uncachedFrom && fd != vfs.InvalidFd {
		if n := readUncached(fd, b, off); n == len(b) {
			return n, nil
		}
	}
	return f.File.ReadAt(b, off) // which says what is wrong, if anything is
}
