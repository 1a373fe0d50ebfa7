package pod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
)

// ErrDiskLocked says that a pod's disk is encrypted, and that its key is not here: it takes the identity that locked it.
var ErrDiskLocked = errors.New("the pod's disk is locked")

// fileLock is the file of a pod's folder that holds a locked disk's key, sealed (diskcrypt.Lock). Where it is, all else that the pod writes there is encrypted.
const fileLock = "disk.lock"

// stageSuffix ends the name of a file that gets its own when it is complete.
const stageSuffix = ".new"

// folder is a pod's folder as its small files see it. They are the operating system's files, not those of Options.FS: they must be
// for their owner only, and new, which a pebble vfs.FS can't say. On a locked disk each is sealed under its name.
type folder struct {
	dir  string
	disk *diskcrypt.Key // nil: the disk is not locked
}

func (f folder) path(name string) string { return filepath.Join(f.dir, name) }

// read reads a file; fs.ErrNotExist where there is none, diskcrypt.ErrOtherKey where it does not open.
func (f folder) read(name string) ([]byte, error) {
	b, err := os.ReadFile(f.path(name))
	if err != nil || f.disk == nil {
		return b, err //nolint:wrapcheck // the caller says of what
	}
	return f.disk.Open(strings.TrimSuffix(name, stageSuffix), b)
}

// write writes a new file, for the owner only, and syncs it. The caller syncs the folder.
func (f folder) write(name string, b []byte) error {
	if f.disk != nil {
		b = f.disk.Seal(strings.TrimSuffix(name, stageSuffix), b)
	}
	return writeNew(f.path(name), b)
}

// writeNew writes a file that is not there yet, for the owner only, and syncs it.
func writeNew(path string, b []byte) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(b); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	return nil
}

// over is the file system that the databases, segments and events of the folder are in.
func (f folder) over(disk pebblevfs.FS) pebblevfs.FS {
	if f.disk == nil {
		return disk
	}
	return diskcrypt.New(disk, f.disk)
}

// LockOf is the lock of the pod's disk in dir; ok is false where it has none. The error is diskcrypt.ErrBadLock.
func LockOf(dir string) (l diskcrypt.Lock, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, fileLock))
	if errors.Is(err, fs.ErrNotExist) {
		return l, false, nil
	}
	if err == nil {
		l, err = diskcrypt.DecodeLock(b)
	}
	if err != nil {
		return l, true, fmt.Errorf("pod: read %s: %w", fileLock, err)
	}
	return l, true, nil
}

// Relock replaces the lock of the pod's disk in dir by another of the same key; what the old one's identity could open it can't from then on, unless
// it has the old lock. Durable when it returns nil.
func Relock(dir string, l diskcrypt.Lock) error {
	const stage = fileLock + stageSuffix
	if err := os.Remove(filepath.Join(dir, stage)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pod: %w", err)
	}
	if err := writeNew(filepath.Join(dir, stage), l.Encode()); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, stage), filepath.Join(dir, fileLock)); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	return syncDir(dir)
}

// unlocked is the folder of a pod that is there. Errors: ErrDiskLocked without the key of a locked disk, or with another's.
func unlocked(dir string, disk *diskcrypt.Key) (folder, error) {
	f := folder{dir: dir}
	_, locked, err := LockOf(dir)
	if err != nil || !locked {
		return f, err
	}
	if f.disk = disk; disk == nil {
		return f, fmt.Errorf("pod: %s: %w", dir, ErrDiskLocked)
	}
	if _, err := f.read(fileKey); errors.Is(err, diskcrypt.ErrOtherKey) {
		return f, fmt.Errorf("pod: %s: %w: %w", dir, ErrDiskLocked, err)
	}
	return f, nil
}

// Locking is how Create and Join lock a new pod's disk.
type Locking struct {
	Key  *diskcrypt.Key
	Lock diskcrypt.Lock // Key, sealed for an identity
}

// begin is the folder of a pod that is made in dir. Where it is locked, its lock is there first: nothing is written that needs it and lacks it. A nil Locking locks nothing.
func (l *Locking) begin(dir string) (folder, error) {
	if l == nil {
		return folder{dir: dir}, nil
	}
	return folder{dir: dir, disk: l.Key}, writeNew(filepath.Join(dir, fileLock), l.Lock.Encode())
}
