package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const (
	namesMax = 40      // files of a writer
	sizeMax  = 200_000 // bytes of a file
)

// writer saves files as editors do: write a new one, fsync it, rename it over the old one. Some are written in
// place the first time. It remembers what was acknowledged.
type writer struct {
	dir  string
	rnd  *rand.Rand
	safe map[string][]byte // by name: what a returned fsync, and rename, promised
	// pending is the name that was being saved when the daemon was killed, and next what it was to hold.
	pending string
	next    []byte
	renamed bool // the rename was begun, so that next may be there
}

func newWriter(mount string, i int, seed uint64) *writer {
	return &writer{
		dir: filepath.Join(mount, fmt.Sprintf("writer-%d", i)), rnd: rand.New(rand.NewPCG(seed, uint64(i))),
		safe: make(map[string][]byte),
	}
}

// write saves files until the daemon is gone, and returns how many saves were acknowledged.
func (w *writer) write(ctx context.Context) int {
	w.pending = ""
	for n := 0; ; n++ {
		if ctx.Err() != nil && w.pending == "" {
			return n
		}
		name := fmt.Sprintf("f%d", w.rnd.IntN(namesMax))
		data := make([]byte, w.rnd.IntN(sizeMax))
		for i := range data {
			data[i] = byte(w.rnd.Uint32())
		}
		w.pending, w.next, w.renamed = name, data, false
		if err := w.save(name, data); err != nil {
			return n // the daemon is gone; what was pending stays so
		}
		w.safe[name], w.pending = data, ""
	}
}

func (w *writer) save(name string, data []byte) error {
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return err
	}
	tmp := filepath.Join(w.dir, name+".tmp")
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	w.renamed = true
	if err := os.Rename(tmp, filepath.Join(w.dir, name)); err != nil {
		return err
	}
	d, err := os.Open(w.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// check reads back all that was acknowledged.
func (w *writer) check() error {
	var errs []error
	for name, want := range w.safe {
		got, err := os.ReadFile(filepath.Join(w.dir, name))
		if name == w.pending && w.renamed && err == nil && bytes.Equal(got, w.next) {
			w.safe[name] = w.next // the new one, whole, is as good
			continue
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("%s: acknowledged and missing", name))
		case err != nil:
			errs = append(errs, err)
		case !bytes.Equal(got, want):
			errs = append(errs, fmt.Errorf("%s: %d bytes, not the %d that were acknowledged", name, len(got), len(want)))
		}
	}
	if _, known := w.safe[w.pending]; w.pending != "" && !known && w.renamed {
		got, err := os.ReadFile(filepath.Join(w.dir, w.pending))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
		case !bytes.Equal(got, w.next):
			errs = append(errs, fmt.Errorf("%s: neither missing nor whole after a save that was cut short", w.pending))
		default:
			w.safe[w.pending] = got
		}
	}
	return errors.Join(errs...)
}
