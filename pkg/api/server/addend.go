package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// finish does what comes after the files: hard links, policies of files, times of folders; makes all durable, and tells
// the client.
func (a *adder) finish(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := watchClient(a.c, cancel)
	defer stop()
	for _, l := range a.links {
		a.note(l.item, l.target.path, a.link(ctx, l))
	}
	for _, t := range a.tops {
		if id, ok := a.files[t.item]; ok && a.request.Policy != "" {
			a.note(t.item, t.target.path, a.p.SetPolicy(ctx, id, a.request.Policy, ""))
		}
	}
	if err := a.folderTimes(ctx); err != nil {
		return err
	}
	// What a client that moves deletes after this is durable as the policy says.
	if err := a.p.Settle(ctx); err != nil {
		return err
	}
	for _, t := range a.tops {
		if id, ok := a.made(t.item); ok {
			a.note(t.item, t.target.path, a.p.Durable(ctx, id))
		}
	}
	r := api.Result{Added: []api.Added{}, Items: a.items}
	for _, arg := range slices.Sorted(maps.Keys(a.tops)) {
		done, err := a.added(ctx, arg, a.tops[arg])
		if err != nil {
			a.note(a.tops[arg].item, a.tops[arg].target.path, err)
		}
		r.Added = append(r.Added, done)
	}
	r.Errors = append([]api.ItemError{}, a.late...)
	return a.c.Send(api.FrameResult, r, nil)
}

// note keeps an error of an item for the Result.
func (a *adder) note(item int, path string, err error) {
	if err != nil {
		a.late = append(a.late, itemError(item, path, err))
	}
}

// link makes a hard link; what stands at its name is replaced.
func (a *adder) link(ctx context.Context, l addLink) error {
	id, ok := a.files[l.to]
	if !ok {
		return fmt.Errorf("the file that it is a link to was not added: %w", vfs.ErrNotExist)
	}
	if t, ok := a.tops[l.arg]; ok && t.item == l.item {
		a.files[l.item] = id
	}
	_, err := a.fs.Link(ctx, id, l.target.parent, l.target.name)
	if !errors.Is(err, vfs.ErrExist) {
		return err
	}
	old, err := a.fs.Lookup(ctx, l.target.parent, l.target.name)
	switch {
	case err != nil:
		return err
	case old.ID == id:
		return nil
	case old.Kind == vfs.KindFolder:
		return fmt.Errorf("a folder is in the way: %w", vfs.ErrExist)
	}
	if err := a.fs.Remove(ctx, l.target.parent, l.target.name, false); err != nil {
		return err
	}
	_, err = a.fs.Link(ctx, id, l.target.parent, l.target.name)
	return err
}

// folderTimes sets the times of folders, those in others first.
func (a *adder) folderTimes(ctx context.Context) error {
	order := make([]int, 0, len(a.folders))
	for n := range a.folders {
		order = append(order, n)
	}
	slices.Sort(order)
	for _, n := range slices.Backward(order) {
		f := a.folders[n]
		if f.keep {
			continue
		}
		at, err := a.fs.GetAttr(ctx, f.id)
		if err == nil {
			err = setDiffering(ctx, a.fs, at, vfs.SetAttr{Mtime: &f.mtime})
		}
		if errors.Is(err, vfs.ErrNotExist) {
			continue // Somebody has removed it meanwhile.
		}
		a.note(n, f.path, err)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// added tells what became of a top-level argument; the zero CID if nothing did.
func (a *adder) added(ctx context.Context, arg int, t top) (api.Added, error) {
	out := api.Added{Path: api.Text(t.target.path), Bytes: a.bytes[arg]}
	id, ok := a.made(t.item)
	if !ok {
		return out, nil
	}
	at, err := a.fs.GetAttr(ctx, id)
	if err != nil {
		return out, err
	}
	out.CID, err = a.p.CID(ctx, id)
	if err != nil && at.Kind != vfs.KindFile && at.Kind != vfs.KindFolder {
		return out, nil // Special files have none.
	}
	return out, err
}

// made is what a top-level item has become; false: nothing.
func (a *adder) made(item int) (vfs.NodeID, bool) {
	if f, ok := a.folders[item]; ok {
		return f.id, true
	}
	id, ok := a.files[item]
	return id, ok
}
