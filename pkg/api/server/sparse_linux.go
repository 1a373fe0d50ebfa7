package server

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// holeMin is the least hole that is worth not being read, in bytes: the least chunk. What is shorter is read as zeros.
const holeMin = 256 << 10

// sparseFile reads the parts of a file that hold data. It is a pod.Sparse; who never calls NextPart reads the whole file,
// with zeros in its holes.
type sparseFile struct {
	f        *os.File
	parts    bool  // NextPart was called
	off, end int64 // of what is left of the part
}

// withHoles is f if it has no holes, else what skips them.
func withHoles(f *os.File) io.Reader {
	st, err := f.Stat()
	if err != nil || st.Size() < 2*holeMin {
		return f
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || sys.Blocks*512 > st.Size()-holeMin {
		return f
	}
	if _, err := f.Seek(0, unix.SEEK_HOLE); err != nil {
		return f // A file system that can't tell.
	}
	return &sparseFile{f: f}
}

// NextPart is pod.Sparse's.
func (s *sparseFile) NextPart() (hole int64, err error) {
	s.parts = true
	from, err := s.f.Seek(s.end, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) { // A hole up to the end, or the end.
		size, err := s.f.Seek(0, io.SeekEnd)
		if err != nil {
			return 0, err
		}
		hole, s.off, s.end = max(size-s.end, 0), max(size, s.end), max(size, s.end)
		return hole, io.EOF
	}
	if err != nil {
		return 0, err
	}
	hole = from - s.end
	s.off, s.end = from, from
	for {
		if s.end, err = s.f.Seek(s.end, unix.SEEK_HOLE); err != nil {
			return hole, err
		}
		next, err := s.f.Seek(s.end, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO):
			return hole, nil // there is no more
		case err != nil:
			return hole, err
		case next-s.end >= holeMin:
			return hole, nil
		}
		s.end = next
	}
}

// Read reads from the part.
func (s *sparseFile) Read(b []byte) (int, error) {
	if !s.parts {
		n, err := s.f.ReadAt(b, s.off)
		s.off += int64(n)
		return n, err
	}
	if s.off >= s.end {
		return 0, io.EOF
	}
	n, err := s.f.ReadAt(b[:min(int64(len(b)), s.end-s.off)], s.off)
	s.off += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
