package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// move moves or copies sources to a target that is named as mv and cp -r do. The first failure ends it; what was
// done before stays.
func move(ctx context.Context, p Pod, q api.MoveRequest) (struct{}, error) {
	fs := p.FS()
	var names []string
	var sources []node
	for _, s := range q.Sources {
		n, err := resolve(ctx, fs, string(s))
		if err != nil {
			return struct{}{}, err
		}
		name := path.Base(n.path)
		if n.path == "/" {
			if !q.Copy {
				return struct{}{}, fmt.Errorf("the root folder can't be moved: %w", vfs.ErrInvalid)
			}
			name = ""
		}
		names, sources = append(names, name), append(sources, n)
	}
	to, err := receive(ctx, fs, string(q.Target), len(sources))
	if err != nil {
		return struct{}{}, err
	}
	for i, n := range sources {
		if q.Copy {
			err = copyNode(ctx, p, n, to.target(names[i]))
		} else {
			err = moveNode(ctx, fs, n, to.target(names[i]))
		}
		if err != nil {
			break
		}
	}
	if serr := p.Settle(ctx); err == nil {
		err = serr
	}
	return struct{}{}, err
}

func moveNode(ctx context.Context, fs vfs.FS, n node, t target) error {
	from, err := findTarget(ctx, fs, n.path)
	if err != nil {
		return err
	}
	if from.parent == t.parent && from.name == t.name {
		return fmt.Errorf("%s and %s are the same: %w", n.path, t.path, vfs.ErrInvalid)
	}
	return pathError(t.path, plainly(fs.Rename(ctx, from.parent, from.name, t.parent, t.name, 0)))
}

func copyNode(ctx context.Context, p Pod, n node, t target) error {
	if t.path == n.path || n.attr.Kind == vfs.KindFolder && strings.HasPrefix(t.path+"/", strings.TrimSuffix(n.path, "/")+"/") {
		return fmt.Errorf("%s can't be copied to %s, into itself: %w", n.path, t.path, vfs.ErrInvalid)
	}
	c := copier{p: p, fs: p.FS(), from: p.FS(), made: map[vfs.NodeID]vfs.NodeID{}}
	return c.copy(ctx, n.attr, t)
}

// copier copies a tree; made tells which new file a file with several names became.
type copier struct {
	p    Pod
	fs   vfs.FS
	from vfs.FS // where the source is
	tree bool   // from is a kept tree, which doesn't count the names of a file, and whose numbers are its own
	made map[vfs.NodeID]vfs.NodeID

	files int
	bytes uint64
}

func (c *copier) copy(ctx context.Context, a vfs.Attr, t target) error {
	if a.Kind == vfs.KindFolder {
		return c.copyFolder(ctx, a, t)
	}
	old, err := c.fs.Lookup(ctx, t.parent, t.name)
	switch {
	case err == nil && old.Kind == vfs.KindFolder:
		return fmt.Errorf("%s: %w", t.path, vfs.ErrIsDir)
	case err == nil && (a.Kind != vfs.KindFile || old.Kind != vfs.KindFile || c.made[a.ID] != 0):
		if old.ID == a.ID && !c.tree || old.ID == c.made[a.ID] {
			return nil // It is the same file already.
		}
		err = c.fs.Remove(ctx, t.parent, t.name, false)
	}
	if err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return pathError(t.path, err)
	}
	if to := c.made[a.ID]; to != 0 {
		_, err = c.fs.Link(ctx, to, t.parent, t.name)
		return pathError(t.path, err)
	}
	var made vfs.Attr
	if a.Kind == vfs.KindFile {
		made, err = c.copyFile(ctx, a, t)
	} else {
		made, err = c.copyOther(ctx, a, t)
	}
	if err == nil && (a.NLink > 1 || c.tree) {
		c.made[a.ID] = made.ID
	}
	if err == nil {
		c.files++
		c.bytes += a.Size
	}
	return pathError(t.path, err)
}

func (c *copier) copyFile(ctx context.Context, a vfs.Attr, t target) (vfs.Attr, error) {
	x, err := xattrs(ctx, c.from, a.ID)
	if err != nil {
		return vfs.Attr{}, err
	}
	m := pod.FileMeta{Mode: a.Mode, UID: a.UID, GID: a.GID, Mtime: a.Mtime, Xattrs: x}
	if c.tree {
		return c.p.CopyFromTree(ctx, c.from, a.ID, t.parent, t.name, m)
	}
	return c.p.CopyFile(ctx, a.ID, t.parent, t.name, m)
}

// copyOther copies a symlink or special file.
func (c *copier) copyOther(ctx context.Context, a vfs.Attr, t target) (vfs.Attr, error) {
	n := vfs.NewNode{Kind: a.Kind, Mode: a.Mode, UID: a.UID, GID: a.GID, RDev: a.RDev}
	if a.Kind == vfs.KindSymlink {
		var err error
		if n.Target, err = c.from.ReadLink(ctx, a.ID); err != nil {
			return vfs.Attr{}, err
		}
	}
	made, err := c.fs.Create(ctx, t.parent, t.name, n)
	if err != nil {
		return vfs.Attr{}, err
	}
	return c.fs.SetAttr(ctx, made.ID, vfs.SetAttr{Mtime: &a.Mtime})
}

func (c *copier) copyFolder(ctx context.Context, a vfs.Attr, t target) error {
	to := vfs.Attr{ID: t.parent} // The receiving folder itself, if it has no name.
	fresh := false
	if t.name != "" {
		var err error
		to, err = c.fs.Lookup(ctx, t.parent, t.name)
		if errors.Is(err, vfs.ErrNotExist) {
			fresh = true
			to, err = c.fs.Create(ctx, t.parent, t.name, vfs.NewNode{Kind: vfs.KindFolder, Mode: a.Mode, UID: a.UID, GID: a.GID})
		}
		if err == nil && to.Kind != vfs.KindFolder {
			err = vfs.ErrNotDir
		}
		if err != nil {
			return pathError(t.path, err)
		}
	}
	err := eachEntry(ctx, c.from, a.ID, func(d vfs.DirEntry) error {
		return c.copy(ctx, d.Attr, target{to.ID, d.Name, path.Join(t.path, d.Name)})
	})
	if err != nil || !fresh {
		return pathError(t.path, err)
	}
	x, err := xattrs(ctx, c.from, a.ID)
	if err == nil {
		err = setXattrs(ctx, c.fs, to.ID, x)
	}
	if err == nil {
		_, err = c.fs.SetAttr(ctx, to.ID, vfs.SetAttr{Mtime: &a.Mtime})
	}
	return pathError(t.path, err)
}

// ownXattr begins the names of attributes that the mount computes; they are never copied.
const ownXattr = "user.wh."

// xattrs are a node's extended attributes; nil if it has none.
func xattrs(ctx context.Context, fs vfs.FS, id vfs.NodeID) (map[string][]byte, error) {
	names, err := fs.ListXattr(ctx, id)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	out := make(map[string][]byte, len(names))
	for _, name := range names {
		if strings.HasPrefix(name, ownXattr) {
			continue
		}
		v, err := fs.GetXattr(ctx, id, name)
		if errors.Is(err, vfs.ErrNoXattr) {
			continue // Removed meanwhile.
		}
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

func setXattrs(ctx context.Context, fs vfs.FS, id vfs.NodeID, x map[string][]byte) error {
	for name, v := range x {
		if strings.HasPrefix(name, ownXattr) {
			continue
		}
		if old, err := fs.GetXattr(ctx, id, name); err == nil && bytes.Equal(old, v) {
			continue
		}
		if err := fs.SetXattr(ctx, id, name, v, 0); err != nil {
			return fmt.Errorf("attribute %q: %w", name, err)
		}
	}
	return nil
}
