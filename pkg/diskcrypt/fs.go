// Package diskcrypt encrypts what a pod keeps on its disk, so that who takes the disk, and not the key, reads none of it.
//
// FS is a pebble vfs.FS over another: what is written through it stands encrypted below. Key seals small files, as those of keys, whole. Lock
// is a Key in a file, sealed under a secret that only a person's identity can make.
//
// A file below is a head and then the bytes, encrypted by AES-256 in counter mode: a byte at offset n stands at HeadBytes + n. A file can so be
// read and appended to anywhere, a torn write tears no more than without encryption, and nothing is written twice. The key of each file is its own,
// derived from the disk's key and 32 random bytes in the head: no two files share a keystream, and one that is made anew under an old name has
// another. The model is the encryption at rest of CockroachDB (pkg/storage/enginepb and ccl/storageccl/engineccl there).
//
// The head is written with the first byte, in the same file, so that the first sync that makes any byte durable makes it durable, too. It is
// HeadBytes long, which keeps pages where they were, and has its contents eight times, once in each sector of 512 bytes:
//
//	 0  "whdisk"  magic
//	 6  u16       version, 1
//	 8  [32]      salt of the file's key
//	40  [16]      HMAC-SHA-256 of bytes 0 to 39 under a key derived from the disk's, its first half
//	56  zeros
//
// A file without a head that holds is one that a crash tore before its first sync, or a damaged one: it has the length that it has and reads as zeros, as
// a hole does. What lies below in a hole, or was given back by punching one, reads as noise, not as zeros.
//
// Not promised: that changed bytes are noticed. Counter mode has no tag; what is above has checksums, of blocks hashes, which the one
// who wrote them vouches for. And not that two versions of one place in one file are kept apart from who has seen both: a byte is xored with the same
// byte each time, so files must be appended to, or hold nothing that matters (docs/adr/0019-locked-homes.md lists who doesn't).
//
// Names of files, lengths and times are as they are. Values are safe for concurrent use as far as those of the file system below are.
package diskcrypt

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a file system whose files stand encrypted in the one below.
type FS struct {
	vfs.FS
	key *Key
}

// New is the file system over another, under a disk's key.
func New(below vfs.FS, key *Key) *FS { return &FS{FS: below, key: key} }

var _ vfs.FS = (*FS)(nil)

// Create is vfs.FS.Create.
func (fs *FS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if err != nil {
		return nil, err //nolint:wrapcheck // here and below: the errors are those of the file system below
	}
	return &file{File: f, key: fs.key}, nil
}

// Open is vfs.FS.Open.
func (fs *FS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.Open(name, o...)
	if err != nil {
		return nil, err //nolint:wrapcheck // see Create
	}
	return &file{File: f, key: fs.key}, nil
}

// OpenReadWrite is vfs.FS.OpenReadWrite.
func (fs *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, o...)
	if err != nil {
		return nil, err //nolint:wrapcheck // see Create
	}
	return &file{File: f, key: fs.key}, nil
}

// ReuseForWrite makes a new file and removes the old one: over its bytes, under its key, both would be told.
func (fs *FS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.Remove(oldname); err != nil {
		return nil, fmt.Errorf("reuse %s: %w", oldname, err)
	}
	return fs.Create(newname, c)
}

// Stat is vfs.FS.Stat; of a file it has the length without the head.
func (fs *FS) Stat(name string) (vfs.FileInfo, error) {
	info, err := fs.FS.Stat(name)
	if err != nil || info.IsDir() {
		return info, err //nolint:wrapcheck // see Create
	}
	return headless{info}, nil
}

// Unwrap is the file system below.
func (fs *FS) Unwrap() vfs.FS { return fs.FS }

// headless tells of a file without its head.
type headless struct{ vfs.FileInfo }

// Size is the file's length in bytes.
func (i headless) Size() int64 { return max(0, i.FileInfo.Size()-HeadBytes) }
