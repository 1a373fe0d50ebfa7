//go:build linux || darwin

package mountfs

import (
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// idMap is IDs, ready for use: a one-to-one map of all numbers, so that what is shown as one owner's was one owner's, and
// what is set is what is read back.
type idMap struct {
	all    *uint32
	toHere map[uint32]uint32
	toFS   map[uint32]uint32
}

// newIDMap completes the pairs: a number of the FS that is not in them, but is one of this machine's in them, is shown as the number that is
// free then. So one pair swaps its two numbers.
func newIDMap(ids IDs) idMap {
	m := idMap{all: ids.All, toHere: make(map[uint32]uint32), toFS: make(map[uint32]uint32)}
	for here, fs := range ids.Pairs {
		m.toHere[fs], m.toFS[here] = here, fs
	}
	for here := range ids.Pairs {
		if _, isFS := m.toHere[here]; isFS {
			continue
		}
		free := here
		for paired := true; paired; {
			var next uint32
			if next, paired = ids.Pairs[free]; paired {
				free = next
			}
		}
		m.toHere[here], m.toFS[free] = free, here
	}
	return m
}

func (m idMap) here(id uint32) uint32 {
	if m.all != nil {
		return *m.all
	}
	if here, ok := m.toHere[id]; ok {
		return here
	}
	return id
}

func (m idMap) fs(id uint32) uint32 {
	if fs, ok := m.toFS[id]; ok {
		return fs
	}
	return id
}

// set is what to set in the FS so that id is shown here; nil for nothing. Error: vfs.ErrNotPermitted.
func (m idMap) set(id *uint32) (*uint32, error) {
	switch {
	case id == nil, m.all != nil && *id == *m.all:
		return nil, nil
	case m.all != nil:
		return nil, fmt.Errorf("owner %d where all is shown as %d's: %w", *id, *m.all, vfs.ErrNotPermitted)
	}
	fs := m.fs(*id)
	return &fs, nil
}

// ownIDs are the options of a mount that a user makes, with all shown as that user's unless they say otherwise: the files of a network belong to numbers of users
// of other machines, root's folder to root, and who runs a pod may do with all of them what the pod may. Root's mount shows owners as they are.
func ownIDs(o Options, uid int) Options {
	if own := uint32(uid); uid > 0 && o.UIDs.All == nil && len(o.UIDs.Pairs) == 0 { //nolint:gosec // the kernel's numbers have 32 bits
		o.UIDs.All = &own
	}
	return o
}

// mapIDs is fsys with its owners as the options show them. What fsys is besides an FS has no owners, and is asked of itself.
func mapIDs(fsys vfs.FS, o Options) vfs.FS {
	if o.UIDs.All == nil && o.GIDs.All == nil && len(o.UIDs.Pairs) == 0 && len(o.GIDs.Pairs) == 0 {
		return fsys
	}
	return idFS{FS: fsys, uids: newIDMap(o.UIDs), gids: newIDMap(o.GIDs)}
}

// idFS is an FS whose owners have other numbers.
type idFS struct {
	vfs.FS
	uids, gids idMap
}

func (f idFS) here(a vfs.Attr) vfs.Attr {
	a.UID, a.GID = f.uids.here(a.UID), f.gids.here(a.GID)
	return a
}

// Lookup is vfs.FS's.
func (f idFS) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Attr, error) {
	a, err := f.FS.Lookup(ctx, parent, name)
	return f.here(a), err
}

// GetAttr is vfs.FS's.
func (f idFS) GetAttr(ctx context.Context, id vfs.NodeID) (vfs.Attr, error) {
	a, err := f.FS.GetAttr(ctx, id)
	return f.here(a), err
}

// SetAttr is vfs.FS's.
func (f idFS) SetAttr(ctx context.Context, id vfs.NodeID, set vfs.SetAttr) (vfs.Attr, error) {
	var err error
	if set.UID, err = f.uids.set(set.UID); err != nil {
		return vfs.Attr{}, err
	}
	if set.GID, err = f.gids.set(set.GID); err != nil {
		return vfs.Attr{}, err
	}
	if set == (vfs.SetAttr{}) {
		return f.GetAttr(ctx, id)
	}
	a, err := f.FS.SetAttr(ctx, id, set)
	return f.here(a), err
}

// ReadDir is vfs.FS's.
func (f idFS) ReadDir(ctx context.Context, id vfs.NodeID, after string, limit int) ([]vfs.DirEntry, error) {
	list, err := f.FS.ReadDir(ctx, id, after, limit)
	for i := range list {
		list[i].Attr = f.here(list[i].Attr)
	}
	return list, err
}

// Create is vfs.FS's.
func (f idFS) Create(ctx context.Context, parent vfs.NodeID, name string, n vfs.NewNode) (vfs.Attr, error) {
	n.UID, n.GID = f.uids.fs(n.UID), f.gids.fs(n.GID)
	a, err := f.FS.Create(ctx, parent, name, n)
	return f.here(a), err
}

// Link is vfs.FS's.
func (f idFS) Link(ctx context.Context, id, parent vfs.NodeID, name string) (vfs.Attr, error) {
	a, err := f.FS.Link(ctx, id, parent, name)
	return f.here(a), err
}
