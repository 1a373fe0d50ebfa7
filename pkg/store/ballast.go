package store

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ballastBytes is the most that a ballast takes: enough for some memtables of the index and the
// records of many deletions.
const ballastBytes = 32 << 20

// ballast is a file that takes a part of the reserve, so that others who fill the disk leave
// something. It is removed when the index or a deletion finds the disk full, and made again when
// there is space.
type ballast struct {
	fs    vfs.FS
	path  string
	bytes int64 // 0: there is none
	log   *slog.Logger

	mu   sync.Mutex // guards held
	held bool
}

func (b *ballast) init(fs vfs.FS, path string, reserveBytes int64, log *slog.Logger) {
	b.fs, b.path, b.log = fs, path, log
	b.bytes = min(reserveBytes, ballastBytes)
	_, err := fs.Stat(path)
	b.held = err == nil // an earlier Open's
}

// take makes the file, if the disk has more than twice its length free; avail is in bytes.
// Failing is no error: it is tried again after the next sync.
func (b *ballast) take(avail int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held || b.bytes <= 0 || avail/2 < b.bytes {
		return
	}
	if err := b.create(); err != nil {
		b.log.Debug("store has no ballast", "error", err)
		_ = b.fs.Remove(b.path) // it may not exist
		return
	}
	b.held = true
}

func (b *ballast) create() error {
	f, err := b.fs.Create(b.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	err = f.Preallocate(0, b.bytes)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("preallocate %d bytes: %w", b.bytes, err)
	}
	return nil
}

// release gives the space back and says whether there was any.
func (b *ballast) release() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.held {
		return false
	}
	b.held = false
	b.log.Warn("the disk is full: the store uses its reserve", "bytes", b.bytes)
	return b.fs.Remove(b.path) == nil
}

// MakeRoom gives back the part of the reserve that is kept on disk, for others who share the disk with the store and must write.
// It says whether there was any. The store takes it again when there is room.
func (s *Store) MakeRoom() bool { return s.ballast.release() }
