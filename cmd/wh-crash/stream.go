package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	streamPiece  = 256 << 10 // bytes of one write
	streamPieces = 32        // of a file
)

// stream writes big files front to back and syncs each after some pieces. Two are kept.
type stream struct {
	step
	place

	file int   // the number of the one that is written
	safe []int // by file: how many bytes are safe; -1: it is being removed, or gone
	sent int   // bytes of the newest that may be there
}

func newStream(p place) writer { return &stream{place: p} }

func (w *stream) path(file int) string { return filepath.Join(w.dir, fmt.Sprintf("big%d", file)) }

func (w *stream) piece(file, i int) []byte { return fill(streamPiece, uint64(file)<<16|uint64(i)) }

func (w *stream) write(ctx context.Context) int {
	var f *os.File
	i := streamPieces // after a crash it begins with another file
	n := w.steps(ctx, w.dir, func() (err error) {
		if i == streamPieces {
			if f != nil {
				if err := f.Close(); err != nil {
					return err
				}
			}
			if f, err = w.next(); err != nil {
				return err
			}
			i = 0
		}
		for end := min(i+1+w.rnd.IntN(6), streamPieces); i < end; i++ {
			w.sent += streamPiece
			if _, err := f.Write(w.piece(w.file, i)); err != nil {
				return err
			}
		}
		if err := f.Sync(); err != nil {
			return err
		}
		w.safe[w.file] = i * streamPiece
		return nil
	})
	if f != nil {
		_ = f.Close() // of a daemon that is gone
	}
	return n
}

// next begins a file and removes the last but one.
func (w *stream) next() (*os.File, error) {
	w.file, w.sent = len(w.safe), 0
	w.safe = append(w.safe, 0)
	if old := w.file - 2; old >= 0 {
		w.safe[old] = -1
		if err := os.Remove(w.path(old)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return os.Create(w.path(w.file))
}

func (w *stream) check() error {
	var errs []error
	for file, safe := range w.safe {
		if safe > 0 {
			errs = append(errs, w.checkFile(file, safe))
		}
	}
	return errors.Join(errs...)
}

// checkFile reads a file: at least what is safe of it, and nothing else than what was written.
func (w *stream) checkFile(file, safe int) error {
	f, err := os.Open(w.path(file))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was read only
	buf := make([]byte, streamPiece)
	read := 0
	for i := 0; ; i++ {
		n, err := io.ReadFull(f, buf)
		if !bytes.Equal(buf[:n], w.piece(file, i)[:n]) {
			return wrong(w.path(file), "other bytes than were written, in the %d from %d", n, read)
		}
		read += n
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if read < safe {
		return wrong(w.path(file), "%d bytes, %d were acknowledged", read, safe)
	}
	if file == w.file {
		w.safe[file] = read
	}
	return nil
}
