package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	addedKept  = 3
	addedFiles = 12
)

// adder imports folders by wh add. Some stay.
type adder struct {
	step
	place

	made int
	safe map[int]bool
}

func newAdder(p place) writer { return &adder{place: p, safe: map[int]bool{}} }

func (w *adder) data(n, i int) []byte {
	size := i * 137
	if i == 0 {
		size = 1 << 20
	}
	return fill(size, uint64(n)<<8|uint64(i)|1<<40)
}

func addedFile(i int) string { return filepath.Join(fmt.Sprintf("d%d", i%3), fmt.Sprintf("f%d", i)) }

func (w *adder) write(ctx context.Context) int {
	return w.steps(ctx, w.dir, func() error {
		w.made++
		name := fmt.Sprintf("added%d", w.made)
		source := filepath.Join(w.outside, name)
		for i := range addedFiles {
			at := filepath.Join(source, addedFile(i))
			if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, w.data(w.made, i), 0o644)); err != nil {
				return err
			}
		}
		if err := w.wh(context.WithoutCancel(ctx), "add", "--to", "/"+filepath.Base(w.dir), source); err != nil {
			return err
		}
		w.safe[w.made] = true
		old := w.made - addedKept
		delete(w.safe, old)
		return errors.Join(os.RemoveAll(source), os.RemoveAll(filepath.Join(w.dir, fmt.Sprintf("added%d", old))))
	})
}

func (w *adder) check() error {
	var errs []error
	for n := range w.safe {
		for i := range addedFiles {
			name := filepath.Join(w.dir, fmt.Sprintf("added%d", n), addedFile(i))
			got, err := os.ReadFile(name)
			if err == nil && !bytes.Equal(got, w.data(n, i)) {
				err = wrong(name, "%d bytes, not those that were added", len(got))
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
