package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const resizedMax = 300_000 // bytes

// resizer truncates a file, extends it by a hole, and appends to it.
type resizer struct {
	step
	place

	states [][]byte // what it may hold: the acknowledged one, and those since
	made   bool
}

func newResizer(p place) writer { return &resizer{place: p, states: [][]byte{nil}} }

func (w *resizer) path() string { return filepath.Join(w.dir, "resized") }

func (w *resizer) write(ctx context.Context) int {
	var f *os.File
	n := w.steps(ctx, w.dir, func() (err error) {
		if f == nil {
			if f, err = os.OpenFile(w.path(), os.O_RDWR|os.O_CREATE, 0o644); err != nil {
				return err
			}
		}
		for range 1 + w.rnd.IntN(3) {
			if err := w.change(f); err != nil {
				return err
			}
		}
		if err := f.Sync(); err != nil {
			return err
		}
		w.states, w.made = w.states[len(w.states)-1:], true
		return nil
	})
	if f != nil {
		_ = f.Close() // of a daemon that is gone
	}
	return n
}

func (w *resizer) change(f *os.File) error {
	now := w.states[len(w.states)-1]
	if w.rnd.IntN(2) == 0 || len(now) > resizedMax {
		next := make([]byte, w.rnd.IntN(len(now)+20_000)/2)
		copy(next, now)
		w.states = append(w.states, next)
		return f.Truncate(int64(len(next)))
	}
	more := fill(1+w.rnd.IntN(20_000), w.rnd.Uint64())
	w.states = append(w.states, append(slices.Clone(now), more...))
	_, err := f.WriteAt(more, int64(len(now)))
	return err
}

func (w *resizer) check() error {
	got, err := os.ReadFile(w.path())
	if errors.Is(err, fs.ErrNotExist) && !w.made {
		w.states = [][]byte{nil}
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range w.states {
		if bytes.Equal(s, got) {
			w.states = [][]byte{s}
			return nil
		}
	}
	for i, s := range w.states[1:] {
		if partOf(got, w.states[i], s) {
			w.states = [][]byte{got}
			return nil
		}
	}
	return wrong(w.path(), "%d bytes, neither the %d that were acknowledged nor a later state", len(got), len(w.states[0]))
}

// partOf says whether got lies between two states: the kernel writes a change that was not synced back page by page, so that some of
// them may be there.
func partOf(got, before, after []byte) bool {
	if len(got) < min(len(before), len(after)) || len(got) > max(len(before), len(after)) {
		return false
	}
	for i, b := range got {
		if (i >= len(before) || b != before[i]) && (i >= len(after) || b != after[i]) && (i < len(before) || b != 0) {
			return false
		}
	}
	return true
}
