package server

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// node is a path that was found.
type node struct {
	path string // clean
	attr vfs.Attr
}

// cleanPath checks a path of the network and makes it clean: "." and ".." are taken out by the letter, as symlinks
// are never followed.
func cleanPath(p string) (string, error) {
	if !strings.HasPrefix(p, "/") {
		return "", api.WithHint(fmt.Errorf("path %q: %w", p, api.ErrUsage), "paths inside a network begin with /")
	}
	return path.Clean(p), nil
}

// plainly is err as users know it: of a name that is not there, or in the way, its path says all, and the number of its folder nothing.
func plainly(err error) error {
	for _, plain := range []error{vfs.ErrNotExist, vfs.ErrNotDir, vfs.ErrIsDir, vfs.ErrExist} {
		if errors.Is(err, plain) && !errors.Is(err, block.ErrCorrupt) {
			return plain
		}
	}
	return err
}

// pathError is err with the path that it is about, without repeating it.
func pathError(p string, err error) error {
	if err == nil || strings.HasPrefix(err.Error(), p+": ") {
		return err
	}
	return fmt.Errorf("%s: %w", p, err)
}

// resolve finds a path; symlinks are not followed. A symlink or file on the way is vfs.ErrNotDir.
func resolve(ctx context.Context, fs vfs.FS, p string) (node, error) {
	p, err := cleanPath(p)
	if err != nil {
		return node{}, err
	}
	a, err := fs.GetAttr(ctx, vfs.RootID)
	if err != nil {
		return node{}, pathError(p, err)
	}
	for name := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
		if name == "" {
			break // The root.
		}
		if a, err = fs.Lookup(ctx, a.ID, name); err != nil {
			return node{}, pathError(p, plainly(err))
		}
	}
	return node{path: p, attr: a}, nil
}

// target is where something is to be put: a name in a folder.
type target struct {
	parent vfs.NodeID
	name   string
	path   string
}

// findTarget finds the folder and the name of a path whose last name need not be there.
func findTarget(ctx context.Context, fs vfs.FS, p string) (target, error) {
	p, err := cleanPath(p)
	if err != nil {
		return target{}, err
	}
	if p == "/" {
		return target{}, fmt.Errorf("the root folder: %w", vfs.ErrExist)
	}
	dir, err := resolve(ctx, fs, path.Dir(p))
	if err != nil {
		if errors.Is(err, vfs.ErrNotExist) {
			err = api.WithHint(err, "make the folder first: wh mkdir -p "+path.Dir(p))
		}
		return target{}, err
	}
	if dir.attr.Kind != vfs.KindFolder {
		return target{}, fmt.Errorf("%s: %w", dir.path, vfs.ErrNotDir)
	}
	return target{parent: dir.attr.ID, name: path.Base(p), path: p}, nil
}

// receiver is where sources go, as cp -r and mv have it: an existing folder receives them, else the path is the name of
// the only one.
type receiver struct {
	folder node   // receives, unless single is set
	single target // takes the one source
}

// receive finds out where count sources go.
func receive(ctx context.Context, fs vfs.FS, to string, count int) (receiver, error) {
	n, err := resolve(ctx, fs, to)
	switch {
	case err == nil && n.attr.Kind == vfs.KindFolder:
		return receiver{folder: n}, nil
	case err != nil && !errors.Is(err, vfs.ErrNotExist):
		return receiver{}, err
	}
	if count != 1 || err == nil && strings.HasSuffix(to, "/") {
		if err == nil {
			err = fmt.Errorf("%s: %w", n.path, vfs.ErrNotDir)
		}
		return receiver{}, api.WithHint(err, "several sources need a folder that exists: wh mkdir -p "+path.Clean(to))
	}
	t, err := findTarget(ctx, fs, to)
	return receiver{single: t}, err
}

// target is where the source of this name goes. A name "" means the receiving folder itself; then the target has no
// name either.
func (r receiver) target(name string) target {
	switch {
	case r.single.name != "":
		return r.single
	case name == "":
		return target{parent: r.folder.attr.ID, path: r.folder.path}
	}
	return target{parent: r.folder.attr.ID, name: name, path: path.Join(r.folder.path, name)}
}

// kindNames are the kinds as --json names them.
var kindNames = map[vfs.Kind]string{
	vfs.KindFile: "file", vfs.KindFolder: "folder", vfs.KindSymlink: "symlink", vfs.KindFIFO: "fifo",
	vfs.KindSocket: "socket", vfs.KindCharDev: "chardev", vfs.KindBlockDev: "blockdev",
}
