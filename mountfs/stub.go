//go:build !linux && !darwin

package mountfs

import (
	"context"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Mounted is a mount that is served. There is none on this system.
type Mounted struct{}

// Mount is ErrUnsupported on this system.
func Mount(context.Context, string, vfs.FS, Options) (*Mounted, error) { return nil, ErrUnsupported }

// Dir is the folder that shows the FS.
func (m *Mounted) Dir() string { return "" }

// Unmount is ErrUnsupported on this system.
func (m *Mounted) Unmount(context.Context) error { return ErrUnsupported }

// Wait is ErrUnsupported on this system.
func (m *Mounted) Wait() error { return ErrUnsupported }

// Stale finds no dead mount on this system.
func Stale(string) (bool, error) { return false, nil }

// Detach is ErrUnsupported on this system.
func Detach(string) error { return ErrUnsupported }

// Abort is ErrUnsupported on this system.
func Abort(string) error { return ErrUnsupported }
