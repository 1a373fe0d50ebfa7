package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// writer is a program that writes until the daemon is killed, and remembers what it was told is safe.
type writer interface {
	// write works until a call fails because the daemon is gone, or, between two of its steps, ctx ends. It returns how many steps were acknowledged.
	write(ctx context.Context) int
	// pending is what was under way when it ended; "": nothing.
	pending() string
	// check reads back all that was acknowledged, once the daemon runs again. What was under way may be there or not,
	// whole; it takes over what it finds.
	check() error
}

// kinds are the kinds of writers; with more writers than kinds, they are taken in turn.
var kinds = []struct {
	name string
	make func(place) writer
}{
	{"save", newSaver},     // small files: write new, fsync, rename over
	{"stream", newStream},  // big files front to back, fsync now and then
	{"pages", newPages},    // a database: 4 KiB overwritten in place, fsync
	{"trees", newTrees},    // folders that are filled, renamed, removed
	{"resize", newResizer}, // truncate and append, fsync
	{"add", newAdder},      // wh add
}

// place is where a writer works.
type place struct {
	dir     string // below the mount
	outside string // on another file system
	rnd     *rand.Rand
	wh      func(ctx context.Context, args ...string) error
}

// step is what a writer does at a time, by name. It is shared by all writers.
type step struct{ what string }

func (s *step) pending() string { return s.what }

// steps runs f until it fails or ctx ends. begin is called with what f does next.
func (s *step) steps(ctx context.Context, dir string, f func() error) int {
	s.what = "mkdir"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0
	}
	for n := 0; ; n++ {
		s.what = ""
		if ctx.Err() != nil {
			return n
		}
		s.what = "a step"
		if err := f(); err != nil {
			return n // the daemon is gone; what was pending stays so
		}
	}
}

// fill makes bytes that are found again by their seed.
func fill(n int, seed uint64) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), byte(seed >> 32), byte(seed >> 40)}).Read(b) //nolint:errcheck // it never fails
	return b
}

// writeSynced makes or replaces a file's contents, and has them synced.
func writeSynced(name string, data []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDir makes a folder's entries durable.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// wrong says that what was read is not what was promised.
func wrong(name string, format string, args ...any) error {
	return fmt.Errorf("%s: %s", filepath.Base(filepath.Dir(name))+"/"+filepath.Base(name), fmt.Sprintf(format, args...))
}
