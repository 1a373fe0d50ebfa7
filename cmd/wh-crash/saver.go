package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	savedNames = 40      // files of a saver
	savedMax   = 100_000 // bytes of a file
)

// saver saves files as editors do: write a new one, fsync it, rename it over the old one.
type saver struct {
	step
	place

	safe    map[string][]byte // by name: what a returned fsync, and rename, promised
	name    string            // being saved
	next    []byte            // what it is to hold
	renamed bool              // the rename was begun, so that next may be there
}

func newSaver(p place) writer { return &saver{place: p, safe: make(map[string][]byte)} }

func (w *saver) write(ctx context.Context) int {
	w.name = ""
	return w.steps(ctx, w.dir, func() error {
		w.name = fmt.Sprintf("f%d", w.rnd.IntN(savedNames))
		w.next, w.renamed = fill(w.rnd.IntN(savedMax), w.rnd.Uint64()), false
		tmp, name := filepath.Join(w.dir, w.name+".tmp"), filepath.Join(w.dir, w.name)
		if err := writeSynced(tmp, w.next); err != nil {
			return err
		}
		w.renamed = true
		if err := os.Rename(tmp, name); err != nil {
			return err
		}
		if err := syncDir(w.dir); err != nil {
			return err
		}
		w.safe[w.name], w.name = w.next, ""
		return nil
	})
}

func (w *saver) check() error {
	var errs []error
	if _, known := w.safe[w.name]; w.name != "" && w.renamed && !known {
		got, err := os.ReadFile(filepath.Join(w.dir, w.name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
		default:
			w.safe[w.name] = w.next // it is there: then it is whole
			if !bytes.Equal(got, w.next) {
				errs = append(errs, wrong(filepath.Join(w.dir, w.name), "%d bytes, neither missing nor the %d that were being saved", len(got), len(w.next)))
			}
		}
	}
	for name, want := range w.safe {
		got, err := os.ReadFile(filepath.Join(w.dir, name))
		switch {
		case err != nil:
			errs = append(errs, err)
		case name == w.name && w.renamed && bytes.Equal(got, w.next):
			w.safe[name] = w.next // the new one, whole, is as good
		case !bytes.Equal(got, want):
			errs = append(errs, wrong(filepath.Join(w.dir, name), "%d bytes, not the %d that were acknowledged", len(got), len(want)))
		}
	}
	return errors.Join(errs...)
}
