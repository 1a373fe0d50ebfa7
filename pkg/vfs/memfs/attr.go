package memfs

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// GetAttr tells attributes.
func (f *FS) GetAttr(ctx context.Context, id vfs.NodeID) (vfs.Attr, error) {
	if err := f.rlock(ctx); err != nil {
		return vfs.Attr{}, err
	}
	defer f.t.mu.RUnlock()
	n, err := f.t.get(id)
	if err != nil {
		return vfs.Attr{}, err
	}
	return n.attr, nil
}

// SetAttr sets attributes, all or none. A size without an mtime makes the mtime now.
func (f *FS) SetAttr(ctx context.Context, id vfs.NodeID, set vfs.SetAttr) (vfs.Attr, error) {
	if err := f.lock(ctx); err != nil {
		return vfs.Attr{}, err
	}
	defer f.t.mu.Unlock()
	n, err := f.t.get(id)
	if err != nil {
		return vfs.Attr{}, err
	}
	if err := n.checkSet(set); err != nil {
		return vfs.Attr{}, fmt.Errorf("memfs: set attributes of node %d: %w", id, err)
	}
	if set == (vfs.SetAttr{}) {
		return n.attr, nil
	}
	a := &n.attr
	a.Ctime = f.t.now()
	if set.Size != nil {
		f.t.truncate(n, *set.Size)
		a.Mtime = a.Ctime
	}
	if set.Mode != nil {
		a.Mode = *set.Mode
	}
	if set.UID != nil {
		a.UID = *set.UID
	}
	if set.GID != nil {
		a.GID = *set.GID
	}
	if set.Atime != nil {
		a.Atime = *set.Atime
	}
	if set.Mtime != nil {
		a.Mtime = *set.Mtime
	}
	f.tell(vfs.Change{Node: id})
	return *a, nil
}

func (n *node) checkSet(set vfs.SetAttr) error {
	switch {
	case set.Mode != nil && *set.Mode&^0o7777 != 0:
		return vfs.ErrInvalid
	case set.Size == nil:
		return nil
	case n.attr.Kind == vfs.KindFolder:
		return vfs.ErrIsDir
	case n.attr.Kind != vfs.KindFile:
		return vfs.ErrInvalid
	case *set.Size > vfs.FileMax:
		return vfs.ErrTooLarge
	}
	return nil
}

// ReadLink is a symlink's target.
func (f *FS) ReadLink(ctx context.Context, id vfs.NodeID) (string, error) {
	if err := f.rlock(ctx); err != nil {
		return "", err
	}
	defer f.t.mu.RUnlock()
	n, err := f.t.get(id)
	if err != nil {
		return "", err
	}
	if n.attr.Kind != vfs.KindSymlink {
		return "", fmt.Errorf("%w: not a symlink", vfs.ErrInvalid)
	}
	return n.target, nil
}

// GetXattr is an attribute's value, the caller's own copy.
func (f *FS) GetXattr(ctx context.Context, id vfs.NodeID, name string) ([]byte, error) {
	if err := f.rlock(ctx); err != nil {
		return nil, err
	}
	defer f.t.mu.RUnlock()
	n, err := f.t.get(id)
	if err != nil {
		return nil, err
	}
	v, ok := n.xattrs[name]
	if !ok {
		return nil, noXattr(name)
	}
	return bytes.Clone(v), nil
}

// SetXattr sets an attribute.
func (f *FS) SetXattr(ctx context.Context, id vfs.NodeID, name string, value []byte, flags vfs.XattrFlag) error {
	switch {
	case name == "" || strings.Contains(name, "\x00") || flags > vfs.XattrReplace:
		return fmt.Errorf("%w: attribute %q, flags %d", vfs.ErrInvalid, name, flags)
	case len(name) > vfs.XattrNameMax:
		return fmt.Errorf("%w: attribute of %d bytes", vfs.ErrNameTooLong, len(name))
	case len(value) > vfs.XattrMax:
		return fmt.Errorf("%w: attribute %q of %d bytes", vfs.ErrTooLarge, name, len(value))
	}
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.t.mu.Unlock()
	n, err := f.t.get(id)
	if err != nil {
		return err
	}
	_, have := n.xattrs[name]
	switch {
	case have && flags == vfs.XattrCreate:
		return fmt.Errorf("memfs: attribute %q: %w", name, vfs.ErrExist)
	case !have && flags == vfs.XattrReplace:
		return noXattr(name)
	}
	if n.xattrs == nil {
		n.xattrs = make(map[string][]byte)
	}
	n.xattrs[name] = append([]byte{}, value...)
	n.attr.Ctime = f.t.now()
	f.tell(vfs.Change{Node: id})
	return nil
}

// ListXattr lists names, sorted.
func (f *FS) ListXattr(ctx context.Context, id vfs.NodeID) ([]string, error) {
	if err := f.rlock(ctx); err != nil {
		return nil, err
	}
	defer f.t.mu.RUnlock()
	n, err := f.t.get(id)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(n.xattrs)), nil
}

// RemoveXattr removes an attribute.
func (f *FS) RemoveXattr(ctx context.Context, id vfs.NodeID, name string) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.t.mu.Unlock()
	n, err := f.t.get(id)
	if err != nil {
		return err
	}
	if _, ok := n.xattrs[name]; !ok {
		return noXattr(name)
	}
	delete(n.xattrs, name)
	n.attr.Ctime = f.t.now()
	f.tell(vfs.Change{Node: id})
	return nil
}

func noXattr(name string) error { return fmt.Errorf("memfs: attribute %q: %w", name, vfs.ErrNoXattr) }

// StatFS tells the capacity, what of it is free, and how many nodes there are.
func (f *FS) StatFS(ctx context.Context) (vfs.StatFS, error) {
	if err := f.rlock(ctx); err != nil {
		return vfs.StatFS{}, err
	}
	defer f.t.mu.RUnlock()
	return vfs.StatFS{Total: f.t.capacity, Free: f.t.capacity - f.t.pages*pageSize, Files: uint64(len(f.t.nodes))}, nil
}

// SyncFS has nothing to do.
func (f *FS) SyncFS(ctx context.Context) error {
	if err := f.rlock(ctx); err != nil {
		return err
	}
	f.t.mu.RUnlock()
	return nil
}
