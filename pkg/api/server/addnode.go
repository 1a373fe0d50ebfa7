package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// clear makes way for an item of a kind; a file stays where a file comes, which edits it.
func (a *adder) clear(ctx context.Context, kind vfs.Kind, t target) error {
	old, err := a.fs.Lookup(ctx, t.parent, t.name)
	switch {
	case errors.Is(err, vfs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case old.Kind == vfs.KindFolder:
		return fmt.Errorf("a folder is in the way: %w", vfs.ErrExist)
	case old.Kind == kind && kind == vfs.KindFile:
		return nil
	case old.Kind != kind && !a.request.Force:
		return api.WithHint(fmt.Errorf("a %s is in the way: %w", kindNames[old.Kind], vfs.ErrExist),
			"--force replaces what is in the way, but for folders")
	}
	return a.fs.Remove(ctx, t.parent, t.name, false)
}

// folder makes a folder or merges into one.
func (a *adder) folder(ctx context.Context, n int, it api.Item, t target, arg int, fresh bool) error {
	f := folder{path: t.path, mtime: it.Mtime, keep: it.Keep, arg: arg}
	if t.name == "" { // The target itself.
		if a.request.Policy != "" {
			return api.WithHint(fmt.Errorf("a policy for what is merged into a folder that is there: %w", vfs.ErrInvalid),
				"set the folder's own policy: wh policy set "+t.path+" "+a.request.Policy)
		}
		f.id, f.keep = t.parent, true
		a.folders[n] = f
		return nil
	}
	at, err := vfs.Attr{}, vfs.ErrNotExist
	if !fresh {
		at, err = a.fs.Lookup(ctx, t.parent, t.name)
	}
	if err == nil && at.Kind != vfs.KindFolder && a.request.Force {
		if err = a.fs.Remove(ctx, t.parent, t.name, false); err == nil {
			err = vfs.ErrNotExist
		}
	}
	if errors.Is(err, vfs.ErrNotExist) {
		f.fresh = true
		at, err = a.fs.Create(ctx, t.parent, t.name, vfs.NewNode{Kind: vfs.KindFolder, Mode: it.Mode, UID: it.UID, GID: it.GID})
		if errors.Is(err, vfs.ErrExist) { // Somebody was faster.
			f.fresh = false
			at, err = a.fs.Lookup(ctx, t.parent, t.name)
		}
	}
	if err == nil && at.Kind != vfs.KindFolder {
		err = fmt.Errorf("a %s is in the way: %w", kindNames[at.Kind], vfs.ErrExist)
	}
	if err == nil && !f.fresh && !f.keep {
		err = setDiffering(ctx, a.fs, at, vfs.SetAttr{Mode: &it.Mode, UID: &it.UID, GID: &it.GID})
	}
	if err == nil {
		err = setXattrs(ctx, a.fs, at.ID, it.Xattrs)
	}
	if err == nil && it.Parent < 0 && a.request.Policy != "" {
		err = a.p.SetPolicy(ctx, at.ID, a.request.Policy, "")
	}
	if err != nil {
		return err
	}
	f.id = at.ID
	a.folders[n] = f
	return nil
}

// other makes a symlink or special file, if no equal one is there.
func (a *adder) other(ctx context.Context, n int, it api.Item, t target, fresh bool) error {
	var at vfs.Attr
	var err error
	same := false
	if !fresh {
		if at, same, err = a.equal(ctx, it, t); err != nil {
			return err
		}
	}
	if !same {
		if at, err = a.makeOther(ctx, it, t, fresh); err != nil {
			return err
		}
	}
	if it.Many || it.Parent < 0 {
		a.mu.Lock()
		a.files[n] = at.ID
		a.mu.Unlock()
	}
	if err := setXattrs(ctx, a.fs, at.ID, it.Xattrs); err != nil {
		return err
	}
	return setDiffering(ctx, a.fs, at, vfs.SetAttr{Mode: &it.Mode, UID: &it.UID, GID: &it.GID, Mtime: &it.Mtime})
}

// makeOther makes a symlink or special file in the place of what is there.
func (a *adder) makeOther(ctx context.Context, it api.Item, t target, fresh bool) (vfs.Attr, error) {
	kind := vfs.Kind(it.Kind)
	if !fresh {
		if err := a.clear(ctx, kind, t); err != nil {
			return vfs.Attr{}, err
		}
	}
	return a.fs.Create(ctx, t.parent, t.name, vfs.NewNode{
		Kind: kind, Mode: it.Mode, UID: it.UID, GID: it.GID, RDev: it.RDev, Target: string(it.Target),
	})
}

// equal says whether a symlink or special file is there that leads to the same.
func (a *adder) equal(ctx context.Context, it api.Item, t target) (vfs.Attr, bool, error) {
	at, err := a.fs.Lookup(ctx, t.parent, t.name)
	switch {
	case errors.Is(err, vfs.ErrNotExist):
		return at, false, nil
	case err != nil:
		return at, false, err
	case at.Kind != vfs.Kind(it.Kind) || at.RDev != it.RDev:
		return at, false, nil
	case at.Kind != vfs.KindSymlink:
		return at, true, nil
	}
	old, err := a.fs.ReadLink(ctx, at.ID)
	return at, err == nil && old == string(it.Target), nil // one that can't be read is replaced
}

// setDiffering sets those attributes that are not so already: what is equal is no change, which other pods had to hear of.
func setDiffering(ctx context.Context, fs vfs.FS, at vfs.Attr, set vfs.SetAttr) error {
	if set.Mode != nil && *set.Mode == at.Mode {
		set.Mode = nil
	}
	if set.UID != nil && *set.UID == at.UID {
		set.UID = nil
	}
	if set.GID != nil && *set.GID == at.GID {
		set.GID = nil
	}
	if set.Mtime != nil && *set.Mtime == at.Mtime {
		set.Mtime = nil
	}
	if set == (vfs.SetAttr{}) {
		return nil
	}
	_, err := fs.SetAttr(ctx, at.ID, set)
	return err
}
