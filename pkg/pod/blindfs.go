package pod

import (
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// blindFS is the file system of a blind pod: there is none, and each operation says so.
type blindFS struct{ p *Pod }

var _ vfs.FS = blindFS{}

func (blindFS) err() error { return fmt.Errorf("pod: %w", ErrBlind) }

// Lookup is vfs.FS's.
func (f blindFS) Lookup(context.Context, vfs.NodeID, string) (vfs.Attr, error) {
	return vfs.Attr{}, f.err()
}

// GetAttr is vfs.FS's.
func (f blindFS) GetAttr(context.Context, vfs.NodeID) (vfs.Attr, error) { return vfs.Attr{}, f.err() }

// SetAttr is vfs.FS's.
func (f blindFS) SetAttr(context.Context, vfs.NodeID, vfs.SetAttr) (vfs.Attr, error) {
	return vfs.Attr{}, f.err()
}

// ReadDir is vfs.FS's.
func (f blindFS) ReadDir(context.Context, vfs.NodeID, string, int) ([]vfs.DirEntry, error) {
	return nil, f.err()
}

// Parent is vfs.FS's.
func (f blindFS) Parent(context.Context, vfs.NodeID) (vfs.NodeID, error) { return 0, f.err() }

// Create is vfs.FS's.
func (f blindFS) Create(context.Context, vfs.NodeID, string, vfs.NewNode) (vfs.Attr, error) {
	return vfs.Attr{}, f.err()
}

// Link is vfs.FS's.
func (f blindFS) Link(context.Context, vfs.NodeID, vfs.NodeID, string) (vfs.Attr, error) {
	return vfs.Attr{}, f.err()
}

// Rename is vfs.FS's.
func (f blindFS) Rename(context.Context, vfs.NodeID, string, vfs.NodeID, string, vfs.RenameFlag) error {
	return f.err()
}

// Remove is vfs.FS's.
func (f blindFS) Remove(context.Context, vfs.NodeID, string, bool) error { return f.err() }

// ReadLink is vfs.FS's.
func (f blindFS) ReadLink(context.Context, vfs.NodeID) (string, error) { return "", f.err() }

// GetXattr is vfs.FS's.
func (f blindFS) GetXattr(context.Context, vfs.NodeID, string) ([]byte, error) { return nil, f.err() }

// SetXattr is vfs.FS's.
func (f blindFS) SetXattr(context.Context, vfs.NodeID, string, []byte, vfs.XattrFlag) error {
	return f.err()
}

// ListXattr is vfs.FS's.
func (f blindFS) ListXattr(context.Context, vfs.NodeID) ([]string, error) { return nil, f.err() }

// RemoveXattr is vfs.FS's.
func (f blindFS) RemoveXattr(context.Context, vfs.NodeID, string) error { return f.err() }

// Open is vfs.FS's.
func (f blindFS) Open(context.Context, vfs.NodeID) (vfs.File, error) { return nil, f.err() }

// StatFS is vfs.FS's: how much room there is, is no secret.
func (f blindFS) StatFS(ctx context.Context) (vfs.StatFS, error) { return f.p.statFS(ctx) }

// SyncFS is vfs.FS's.
func (f blindFS) SyncFS(context.Context) error { return f.err() }
