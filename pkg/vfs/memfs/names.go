package memfs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Lookup finds a name.
func (f *FS) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Attr, error) {
	if err := f.rlock(ctx); err != nil {
		return vfs.Attr{}, err
	}
	defer f.t.mu.RUnlock()
	_, child, err := f.t.place(parent, name)
	if err != nil {
		return vfs.Attr{}, err
	}
	if child == nil {
		return vfs.Attr{}, notExist(name)
	}
	return child.attr, nil
}

// ReadDir lists a folder by name.
func (f *FS) ReadDir(ctx context.Context, id vfs.NodeID, after string, limit int) ([]vfs.DirEntry, error) {
	if err := f.rlock(ctx); err != nil {
		return nil, err
	}
	defer f.t.mu.RUnlock()
	n, err := f.t.folder(id)
	if err != nil {
		return nil, err
	}
	from, found := n.find(after)
	if found {
		from++
	}
	to := min(len(n.entries), from+max(limit, 0))
	var list []vfs.DirEntry
	for _, e := range n.entries[from:to] {
		list = append(list, vfs.DirEntry{Name: e.name, Attr: e.node.attr})
	}
	return list, nil
}

// Parent is the folder that a folder is in.
func (f *FS) Parent(ctx context.Context, id vfs.NodeID) (vfs.NodeID, error) {
	if err := f.rlock(ctx); err != nil {
		return 0, err
	}
	defer f.t.mu.RUnlock()
	n, err := f.t.folder(id)
	if err != nil {
		return 0, err
	}
	return n.parent.attr.ID, nil
}

// Create makes a node.
func (f *FS) Create(ctx context.Context, parent vfs.NodeID, name string, n vfs.NewNode) (vfs.Attr, error) {
	if err := checkNew(n); err != nil {
		return vfs.Attr{}, err
	}
	if err := f.lock(ctx); err != nil {
		return vfs.Attr{}, err
	}
	defer f.t.mu.Unlock()
	folder, old, err := f.t.place(parent, name)
	if err != nil {
		return vfs.Attr{}, err
	}
	if old != nil {
		return vfs.Attr{}, exists(name)
	}
	made := f.t.newNode(n)
	f.t.attach(folder, name, made)
	f.tell(vfs.Change{Node: parent, Parent: parent, Name: name})
	return made.attr, nil
}

// checkNew tells whether a node like this may be.
func checkNew(n vfs.NewNode) error {
	switch {
	case n.Kind < vfs.KindFile || n.Kind > vfs.KindBlockDev:
		return fmt.Errorf("%w: kind %d", vfs.ErrInvalid, n.Kind)
	case n.Mode&^0o7777 != 0:
		return fmt.Errorf("%w: mode %o", vfs.ErrInvalid, n.Mode)
	case n.Kind != vfs.KindSymlink:
		return nil
	case n.Target == "" || strings.Contains(n.Target, "\x00"):
		return fmt.Errorf("%w: symlink target", vfs.ErrInvalid)
	case len(n.Target) > vfs.TargetMax:
		return fmt.Errorf("%w: symlink target of %d bytes", vfs.ErrNameTooLong, len(n.Target))
	}
	return nil
}

// Link gives a node one more name.
func (f *FS) Link(ctx context.Context, id, parent vfs.NodeID, name string) (vfs.Attr, error) {
	if err := f.lock(ctx); err != nil {
		return vfs.Attr{}, err
	}
	defer f.t.mu.Unlock()
	n, err := f.t.get(id)
	if err != nil {
		return vfs.Attr{}, err
	}
	folder, old, err := f.t.place(parent, name)
	switch {
	case err != nil:
		return vfs.Attr{}, err
	case old != nil:
		return vfs.Attr{}, exists(name)
	case n.attr.Kind == vfs.KindFolder:
		return vfs.Attr{}, fmt.Errorf("%w: a hard link to a folder", vfs.ErrNotPermitted)
	case n.attr.NLink == 0:
		return vfs.Attr{}, notExist(name) // an unlinked file doesn't come back, as on Linux
	}
	n.attr.NLink++
	f.t.attach(folder, name, n)
	f.tell(vfs.Change{Node: parent, Parent: parent, Name: name}, vfs.Change{Node: id})
	return n.attr, nil
}

// Remove removes a name.
func (f *FS) Remove(ctx context.Context, parent vfs.NodeID, name string, folder bool) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.t.mu.Unlock()
	dir, n, err := f.t.place(parent, name)
	switch {
	case err != nil:
		return err
	case n == nil:
		return notExist(name)
	}
	if err := n.removable(folder); err != nil {
		return fmt.Errorf("memfs: %q: %w", name, err)
	}
	f.t.detach(dir, name)
	f.t.unlink(n)
	f.tell(vfs.Change{Node: parent, Parent: parent, Name: name}, vfs.Change{Node: n.attr.ID})
	return nil
}

// removable tells why a name of n may not go, or not be taken by a folder (or by something else).
func (n *node) removable(folder bool) error {
	isFolder := n.attr.Kind == vfs.KindFolder
	switch {
	case folder && !isFolder:
		return vfs.ErrNotDir
	case !folder && isFolder:
		return vfs.ErrIsDir
	case len(n.entries) > 0:
		return vfs.ErrNotEmpty
	}
	return nil
}

// Rename moves an entry. What is checked first is as in Linux (fs/namei.c, do_renameat2 and vfs_rename).
func (f *FS) Rename(ctx context.Context, parent vfs.NodeID, name string, newParent vfs.NodeID, newName string, flags vfs.RenameFlag) error {
	if flags&^(vfs.RenameNoReplace|vfs.RenameExchange) != 0 || flags == vfs.RenameNoReplace|vfs.RenameExchange {
		return fmt.Errorf("%w: flags %d", vfs.ErrInvalid, flags)
	}
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.t.mu.Unlock()
	from, n, err := f.t.place(parent, name)
	if err != nil {
		return err
	}
	to, old, err := f.t.place(newParent, newName)
	if err != nil {
		return err
	}
	if err := checkRename(from, n, to, old, flags); err != nil {
		return fmt.Errorf("memfs: rename %q to %q: %w", name, newName, err)
	}
	if n == old {
		return nil // two names of one file, or twice the same: rename(2) does nothing
	}
	f.t.detach(from, name)
	if old != nil {
		f.t.detach(to, newName)
	}
	switch {
	case old != nil && flags == vfs.RenameExchange:
		f.t.attach(from, name, old)
	case old != nil:
		f.t.unlink(old)
	}
	f.t.attach(to, newName, n)
	n.attr.Ctime = f.t.lastTime
	f.tell(vfs.Change{Node: parent, Parent: parent, Name: name}, vfs.Change{Node: newParent, Parent: newParent, Name: newName}, vfs.Change{Node: n.attr.ID})
	if old != nil {
		f.tell(vfs.Change{Node: old.attr.ID})
	}
	return nil
}

// checkRename tells why n, in from, may not take the place of old (nil: none), in to.
func checkRename(from, n, to, old *node, flags vfs.RenameFlag) error {
	switch {
	case n == nil, flags == vfs.RenameExchange && old == nil:
		return vfs.ErrNotExist
	case flags == vfs.RenameNoReplace && old != nil:
		return vfs.ErrExist
	case n.attr.Kind == vfs.KindFolder && n.isOrHas(to):
		return vfs.ErrInvalid
	case old == nil || old == n:
		return nil
	case old.attr.Kind == vfs.KindFolder && old.isOrHas(from):
		if flags == vfs.RenameExchange {
			return vfs.ErrInvalid
		}
		return vfs.ErrNotEmpty
	case flags == vfs.RenameExchange:
		return nil
	}
	return old.removable(n.attr.Kind == vfs.KindFolder)
}

// attach enters a node under a free name. mu held for writing.
func (t *tree) attach(folder *node, name string, n *node) {
	i, _ := folder.find(name)
	folder.entries = slices.Insert(folder.entries, i, entry{name, n})
	if n.attr.Kind == vfs.KindFolder {
		n.parent = folder
		folder.attr.NLink++
	}
	now := t.now()
	folder.attr.Mtime, folder.attr.Ctime = now, now
	n.attr.Ctime = now
	folder.attr.Size = uint64(len(folder.entries))
}

// detach takes a name, which is there, out of a folder. mu held for writing.
func (t *tree) detach(folder *node, name string) {
	i, _ := folder.find(name)
	if folder.entries[i].node.attr.Kind == vfs.KindFolder {
		folder.attr.NLink--
	}
	folder.entries = slices.Delete(folder.entries, i, i+1)
	now := t.now()
	folder.attr.Mtime, folder.attr.Ctime = now, now
	folder.attr.Size = uint64(len(folder.entries))
}

// unlink counts one name less of n. mu held for writing.
func (t *tree) unlink(n *node) {
	n.attr.Ctime = t.now()
	n.attr.NLink--
	if n.attr.Kind == vfs.KindFolder {
		n.attr.NLink = 0
	}
	t.forget(n)
}

func notExist(name string) error { return fmt.Errorf("memfs: %q: %w", name, vfs.ErrNotExist) }
func exists(name string) error   { return fmt.Errorf("memfs: %q: %w", name, vfs.ErrExist) }
