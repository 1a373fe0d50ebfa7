package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// held is a file that a program has open while the daemon is killed: what was synced into it must be there afterwards, by a new open,
// and the old descriptor must say that its mount is dead, neither hang nor show anything.
type held struct {
	path string
	data []byte
	f    *os.File
}

// hold opens a file on the mount, and syncs something into it.
func hold(mount string, round int) (*held, error) {
	h := &held{path: filepath.Join(mount, "held"), data: fill(3000, uint64(round)|1<<41)}
	var err error
	if h.f, err = os.OpenFile(h.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644); err != nil {
		return nil, err
	}
	if _, err = h.f.Write(h.data); err == nil {
		err = h.f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, h.f.Close())
	}
	return h, nil
}

// dead says whether the descriptor, and before the restart the path, tell that the mount is dead.
func (h *held) dead(restarted bool) error {
	_, readErr := h.f.ReadAt(make([]byte, 10), 0)
	_, writeErr := h.f.WriteAt([]byte("x"), 0)
	errs := []error{readErr, writeErr, h.f.Sync()}
	if !restarted {
		_, err := os.Stat(h.path)
		errs = append(errs, err)
	}
	for _, err := range errs {
		if !errors.Is(err, syscall.ENOTCONN) {
			return fmt.Errorf("a descriptor of a dead mount says %w, not %w", err, syscall.ENOTCONN)
		}
	}
	return nil
}

// check closes the descriptor, and reads the file by a new one.
func (h *held) check() error {
	err := h.dead(true)
	_ = h.f.Close() // of a mount that is gone
	got, readErr := os.ReadFile(h.path)
	if readErr == nil && !bytes.Equal(got, h.data) {
		readErr = wrong(h.path, "%d bytes, not those that were synced while it was open", len(got))
	}
	return errors.Join(err, readErr)
}
