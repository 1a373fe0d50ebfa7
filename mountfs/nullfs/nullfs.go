//go:build linux || darwin

// Package nullfs is a FUSE file system of one folder that does as little as one can: it knows names and sizes, and keeps no bytes. What it takes is what the
// kernel and the FUSE library take, so it is what a mount is measured against.
//
// Mount is safe for concurrent use.
package nullfs

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jacobsa/fuse"
	"github.com/jacobsa/fuse/fuseops"
	"github.com/jacobsa/fuse/fuseutil"
	"golang.org/x/sys/unix"
)

// Mount mounts an empty file system and serves it until end is called, which fails as long as it is in use, and for who isn't root.
func Mount(dir string) (end func() error, err error) {
	server := fuseutil.NewFileSystemServer(&fs{
		names: make(map[string]fuseops.InodeID), sizes: make(map[fuseops.InodeID]uint64), last: fuseops.RootInodeID,
	})
	m, err := fuse.Mount(dir, server, &fuse.MountConfig{
		FSName: "null", DisableWritebackCaching: true, EnableParallelDirOps: true, Options: map[string]string{"noatime": ""},
	})
	if err != nil {
		return nil, fmt.Errorf("mount the empty file system: %w", err)
	}
	return func() error {
		if err := unix.Unmount(dir, 0); err != nil {
			return fmt.Errorf("unmount the empty file system: %w", err)
		}
		return m.Join(context.Background())
	}, nil
}

// cached is how long the kernel may keep what it is told: for as long as anything is measured.
const cached = 365 * 24 * time.Hour

type fs struct {
	fuseutil.NotImplementedFileSystem

	mu    sync.Mutex // guards the fields below
	names map[string]fuseops.InodeID
	sizes map[fuseops.InodeID]uint64
	last  fuseops.InodeID
}

// entry is what the kernel is told of a file; mu is held.
func (f *fs) entry(id fuseops.InodeID, e *fuseops.ChildInodeEntry) {
	until := time.Now().Add(cached) //nolint:forbidigo // no clock is turned here
	*e = fuseops.ChildInodeEntry{Child: id, Attributes: f.attributes(id), AttributesExpiration: until, EntryExpiration: until}
}

func (f *fs) attributes(id fuseops.InodeID) fuseops.InodeAttributes {
	if id == fuseops.RootInodeID {
		return fuseops.InodeAttributes{Nlink: 1, Mode: 0o755 | os.ModeDir}
	}
	return fuseops.InodeAttributes{Nlink: 1, Mode: 0o644, Size: f.sizes[id]}
}

// StatFS has nothing to tell.
func (f *fs) StatFS(context.Context, *fuseops.StatFSOp) error { return nil }

// LookUpInode finds a name.
func (f *fs) LookUpInode(_ context.Context, op *fuseops.LookUpInodeOp) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, ok := f.names[op.Name]
	if !ok {
		return fuse.ENOENT
	}
	f.entry(id, &op.Entry)
	return nil
}

// GetInodeAttributes tells a size.
func (f *fs) GetInodeAttributes(_ context.Context, op *fuseops.GetInodeAttributesOp) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	op.Attributes = f.attributes(op.Inode)
	return nil
}

// SetInodeAttributes sets a size, and takes the rest for set.
func (f *fs) SetInodeAttributes(_ context.Context, op *fuseops.SetInodeAttributesOp) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if op.Size != nil {
		f.sizes[op.Inode] = *op.Size
	}
	op.Attributes = f.attributes(op.Inode)
	return nil
}

// ForgetInode has nothing to forget.
func (f *fs) ForgetInode(context.Context, *fuseops.ForgetInodeOp) error { return nil }

// BatchForget has nothing to forget.
func (f *fs) BatchForget(context.Context, *fuseops.BatchForgetOp) error { return nil }

// CreateFile makes a file.
func (f *fs) CreateFile(_ context.Context, op *fuseops.CreateFileOp) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.names[op.Name] = f.last
	f.entry(f.last, &op.Entry)
	return nil
}

// Unlink forgets a name.
func (f *fs) Unlink(_ context.Context, op *fuseops.UnlinkOp) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.sizes, f.names[op.Name])
	delete(f.names, op.Name)
	return nil
}

// OpenFile has nothing to open.
func (f *fs) OpenFile(_ context.Context, op *fuseops.OpenFileOp) error {
	op.KeepPageCache = true
	return nil
}

// ReadFile reads zeros.
func (f *fs) ReadFile(_ context.Context, op *fuseops.ReadFileOp) error {
	f.mu.Lock()
	size := f.sizes[op.Inode]
	f.mu.Unlock()
	op.BytesRead = int(min(uint64(len(op.Dst)), size-min(size, uint64(op.Offset)))) //nolint:gosec // the kernel gives no negative offset
	clear(op.Dst[:op.BytesRead])
	return nil
}

// WriteFile takes bytes and keeps none.
func (f *fs) WriteFile(_ context.Context, op *fuseops.WriteFileOp) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sizes[op.Inode] = max(f.sizes[op.Inode], uint64(op.Offset)+uint64(len(op.Data))) //nolint:gosec // the kernel gives no negative offset
	return nil
}

// FlushFile has nothing to flush.
func (f *fs) FlushFile(context.Context, *fuseops.FlushFileOp) error { return nil }

// ReleaseFileHandle has nothing to release.
func (f *fs) ReleaseFileHandle(context.Context, *fuseops.ReleaseFileHandleOp) error { return nil }
