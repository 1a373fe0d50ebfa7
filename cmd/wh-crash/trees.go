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
	treesKept = 4
	treeFiles = 5
)

// trees makes folders under a temporary name, fills them, renames them, and removes old ones.
type trees struct {
	step
	place

	made    int // number of the newest
	safe    map[int]bool
	gone    map[int]bool // their removal was acknowledged
	leaving int          // is being removed
}

func newTrees(p place) writer { return &trees{place: p, safe: map[int]bool{}, gone: map[int]bool{}} }

func (w *trees) path(n int) string { return filepath.Join(w.dir, fmt.Sprintf("tree%d", n)) }

func (w *trees) data(n, i int) []byte { return fill(n*7919%3000+i*100, uint64(n)<<8|uint64(i)) }

func treeFile(i int) string {
	return filepath.Join("a", fmt.Sprintf("b%d", i%2), fmt.Sprintf("f%d", i))
}

func (w *trees) write(ctx context.Context) int {
	w.leaving = 0
	return w.steps(ctx, w.dir, func() error {
		w.made++
		tmp := filepath.Join(w.dir, fmt.Sprintf("new%d", w.made))
		for i := range treeFiles {
			name := filepath.Join(tmp, treeFile(i))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(name, w.data(w.made, i), 0o644); err != nil { // synced with the folder below
				return err
			}
		}
		for i := range treeFiles {
			if err := syncDir(filepath.Join(tmp, treeFile(i))); err != nil {
				return err
			}
		}
		if err := os.Rename(tmp, w.path(w.made)); err != nil {
			return err
		}
		if err := syncDir(w.dir); err != nil {
			return err
		}
		w.safe[w.made] = true
		return w.remove(w.made - treesKept)
	})
}

// remove takes an old tree away.
func (w *trees) remove(n int) error {
	if !w.safe[n] {
		return nil
	}
	delete(w.safe, n)
	w.leaving = n
	if err := os.RemoveAll(w.path(n)); err != nil {
		return err
	}
	if err := syncDir(w.dir); err != nil {
		return err
	}
	w.gone[n], w.leaving = true, 0
	return nil
}

func (w *trees) check() error {
	var errs []error
	for n := range w.safe {
		for i := range treeFiles {
			name := filepath.Join(w.path(n), treeFile(i))
			got, err := os.ReadFile(name)
			if err == nil && !bytes.Equal(got, w.data(n, i)) {
				err = wrong(name, "%d bytes, not those of tree %d", len(got), n)
			}
			errs = append(errs, err)
		}
	}
	for n := range w.gone {
		if _, err := os.Lstat(w.path(n)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, wrong(w.path(n), "its removal was acknowledged, and it is there: %v", err))
		}
	}
	if w.leaving != 0 { // what is left of it goes now
		errs = append(errs, os.RemoveAll(w.path(w.leaving)))
	}
	return errors.Join(errs...)
}
