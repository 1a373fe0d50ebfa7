package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
)

const (
	pageBytes = 4096
	pageCount = 512
)

// pages overwrites pages of one file in place, some at a time, and syncs, as databases do.
type pages struct {
	step
	place

	made   bool // all pages were written and synced once
	safe   [pageCount]uint64
	next   [pageCount]uint64 // versions that are being written; equal to safe where none is
	serial uint64
}

func newPages(p place) writer { return &pages{place: p} }

func (w *pages) path() string { return filepath.Join(w.dir, "database") }

func pageOf(i int, version uint64) []byte { return fill(pageBytes, version<<9|uint64(i)) }

func (w *pages) write(ctx context.Context) int {
	var f *os.File
	n := w.steps(ctx, w.dir, func() (err error) {
		if f == nil {
			if f, err = os.OpenFile(w.path(), os.O_RDWR|os.O_CREATE, 0o644); err != nil {
				return err
			}
		}
		count := 1 + w.rnd.IntN(8)
		if !w.made {
			count = pageCount
		}
		for k := range count {
			i := w.rnd.IntN(pageCount)
			if !w.made {
				i = k
			}
			w.serial++
			w.next[i] = w.serial
			if _, err := f.WriteAt(pageOf(i, w.serial), int64(i)*pageBytes); err != nil {
				return err
			}
		}
		if err := f.Sync(); err != nil {
			return err
		}
		w.safe, w.made = w.next, true
		return nil
	})
	if f != nil {
		_ = f.Close() // of a daemon that is gone
	}
	return n
}

// check reads every page: each is one of those that may be there, whole.
func (w *pages) check() error {
	if !w.made {
		return nil
	}
	data, err := os.ReadFile(w.path())
	if err != nil {
		return err
	}
	if len(data) != pageCount*pageBytes {
		return wrong(w.path(), "%d bytes, not %d", len(data), pageCount*pageBytes)
	}
	for i := range pageCount {
		switch got := data[i*pageBytes:][:pageBytes]; {
		case bytes.Equal(got, pageOf(i, w.next[i])):
			w.safe[i] = w.next[i]
		case bytes.Equal(got, pageOf(i, w.safe[i])):
			w.next[i] = w.safe[i]
		default:
			// Of several unsynced versions of one page, one that lies between may be there.
			if v := w.between(i, got); v != 0 {
				w.safe[i], w.next[i] = v, v
				continue
			}
			return wrong(w.path(), "page %d is neither as acknowledged nor as it was being written", i)
		}
	}
	return nil
}

// between finds a version of a page that was written after the last sync and before the newest.
func (w *pages) between(i int, got []byte) uint64 {
	for v := w.next[i]; v > w.safe[i]; v-- {
		if bytes.Equal(got, pageOf(i, v)) {
			return v
		}
	}
	return 0
}
