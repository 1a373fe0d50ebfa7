package client

import (
	"context"
	"io"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// endingReader reads from what may wait for ever, a terminal or a pipe, and stops waiting when done is closed. The
// goroutine that reads can't be waited for then: it ends with what it reads from, or with the process.
type endingReader struct {
	r    io.Reader
	done <-chan struct{}

	reading chan struct{} // closed when the read under way has ended; nil: none is
	buf     []byte
	got     []byte // of buf, not returned yet
	err     error
}

// Read reads; context.Canceled says that done was closed.
func (e *endingReader) Read(p []byte) (int, error) {
	for len(e.got) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		if e.reading == nil {
			e.start()
		}
		select {
		case <-e.reading:
			e.reading = nil
		case <-e.done:
			return 0, context.Canceled
		}
	}
	n := copy(p, e.got)
	e.got = e.got[n:]
	return n, nil
}

// start begins a read.
func (e *endingReader) start() {
	if e.buf == nil {
		e.buf = make([]byte, api.DataMax)
	}
	reading := make(chan struct{})
	e.reading = reading
	go func() {
		defer close(reading)
		n, err := e.r.Read(e.buf)
		e.got, e.err = e.buf[:n], err
	}()
}
