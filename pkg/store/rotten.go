package store

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// rottenName is an empty file that says that the index was found damaged while it was in use: Open makes it anew.
const rottenName = "index-rotten"

// noteRotten hears from Pebble of a damaged table; by default Pebble would end the process. What reads it is an error from
// here on, and absent to nobody; the next Open makes the index anew.
func (s *Store) noteRotten(reason error) {
	if s.rotten.Swap(true) {
		return
	}
	s.o.Log.Error("store index is damaged: it is made anew at the next start", "error", reason)
	home := s.fs.PathDir(s.dir)
	f, err := s.fs.Create(s.fs.PathJoin(home, rottenName), vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(f.Close(), syncDir(s.fs, home))
	}
	if err != nil {
		s.o.Log.Error("damage of the store index can't be noted", "error", err)
	}
}

// indexLost says whether an error of recoverBy means that the index must be made anew: any but those of the disk.
func indexLost(err error) bool {
	var errno syscall.Errno
	switch {
	case err == nil || errors.Is(err, ErrNoSpace):
		return false
	case pebble.IsCorruptionError(err), errors.Is(err, block.ErrCorrupt), errors.Is(err, fs.ErrNotExist):
		return true
	case errors.As(err, &errno):
		return false
	}
	return errors.Is(err, errIndexOpen)
}
