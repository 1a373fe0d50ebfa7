package chunker

import (
	"fmt"
	"io"
)

// emptyReadsMax is how many reads in turn may bring nothing before the reader counts as broken.
const emptyReadsMax = 100

// Splitter cuts what a reader brings into chunks. It is used by one goroutine.
type Splitter struct {
	c          Cutter
	r          io.Reader
	off        int64 // of buf[start] in the file
	buf        []byte
	more       func() []byte // memory to go on in; nil: in buf again
	start, end int           // buf[start:end] was read and not returned yet
	err        error         // the reader's, io.EOF included
}

// Split starts to cut what r brings. buf is memory to use, of at least 2*MaxSize bytes, so that many
// streams can share one buffer in turn; if it is smaller, or nil, Split takes its own.
func (t *Table) Split(r io.Reader, buf []byte) *Splitter {
	if len(buf) < 2*MaxSize {
		buf = make([]byte, 2*MaxSize)
	}
	return &Splitter{c: t.Default(), r: r, buf: buf}
}

// SplitOver is Split over memory that its owner turns over: whenever the memory in use is full, more gives the next, of at
// least 2*MaxSize bytes. So a chunk is valid until more gives the memory in which it lies again.
func (t *Table) SplitOver(r io.Reader, more func() []byte) *Splitter {
	return t.Default().SplitOver(r, more, 0)
}

// Next returns the next chunk, in memory that is valid until the next call, but for SplitOver. The end is io.EOF. Any other error
// is the reader's, wrapped: then what was read since the last whole chunk is not returned, and each call
// after it gives the same error. Next allocates nothing.
func (s *Splitter) Next() ([]byte, error) {
	if err := s.fill(); err != nil {
		return nil, err
	}
	if s.start == s.end {
		return nil, io.EOF
	}
	n := s.c.Cut(s.buf[s.start:s.end], s.off)
	chunk := s.buf[s.start : s.start+n : s.start+n]
	s.start += n
	s.off += int64(n)
	return chunk, nil
}

// fill reads until MaxSize bytes are there or the stream has ended.
func (s *Splitter) fill() error {
	if s.end-s.start < MaxSize && s.err == nil && len(s.buf)-s.start < MaxSize {
		rest := s.buf[s.start:s.end]
		if s.more != nil {
			s.buf = s.more()
		}
		s.start, s.end = 0, copy(s.buf, rest)
	}
	for empty := 0; s.end-s.start < MaxSize && s.err == nil; {
		n, err := s.r.Read(s.buf[s.end:])
		if n < 0 || n > len(s.buf)-s.end {
			n, err = 0, fmt.Errorf("reader returned %d bytes of %d", n, len(s.buf)-s.end)
		}
		s.end += n
		s.err = err
		if empty++; n > 0 {
			empty = 0
		} else if empty >= emptyReadsMax && err == nil {
			s.err = io.ErrNoProgress
		}
	}
	// An error that wraps io.EOF is no end: what broke off must not pass for whole.
	if s.err != nil && s.err != io.EOF { //nolint:errorlint // see above
		return fmt.Errorf("chunker: read: %w", s.err)
	}
	return nil
}
