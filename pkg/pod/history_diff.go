package pod

import (
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// What differs between two trees.
const (
	DiffAdded      = "added"
	DiffRemoved    = "removed"
	DiffChanged    = "changed"    // its contents, or its kind
	DiffAttributes = "attributes" // mode, owner, extended attributes, or times alone
)

// Difference is a path that is not the same in two trees.
type Difference struct {
	Path   string
	What   string
	Kind   vfs.Kind // after, or before a removal
	Before uint64   // bytes of a file
	After  uint64
	CID    block.ID // of a file's body, after; zero: none
}

// Diff calls f with what differs between two trees at and below a path, in the order of the trees' names. Subtrees that both have are not read. A folder
// that one has alone is told with all below it. An error of f ends it and is returned.
func (p *Pod) Diff(ctx context.Context, a, b Moment, at string, f func(Difference) error) error {
	d := differ{get: blocks{p}, at: path.Clean("/" + at), f: f}
	return d.folders(ctx, "/", a.Root, b.Root, 0)
}

// differ compares trees.
type differ struct {
	get block.Getter
	at  string
	f   func(Difference) error
}

// folders compares two folders; a zero one is not there.
func (d *differ) folders(ctx context.Context, above string, a, b block.ID, depth int) error {
	if depth > folderDepthMax {
		return fmt.Errorf("pod: folders %d deep: %w", depth, block.ErrCorrupt)
	}
	if err := ctx.Err(); err != nil || a == b {
		return err
	}
	return dag.DiffFolders(ctx, d.get, a, b, func(da, db *dag.Dirent) error {
		one := da
		if one == nil {
			one = db
		}
		full := path.Join(above, one.Name)
		if !below(full, d.at) && !below(d.at, full) {
			return nil
		}
		return d.entries(ctx, full, da, db, depth)
	})
}

// entries compares what two folders have at one name; nil: nothing.
func (d *differ) entries(ctx context.Context, full string, da, db *dag.Dirent, depth int) error {
	var a, b block.ID // folders
	if folderEntry(da) {
		a = da.Child
	}
	if folderEntry(db) {
		b = db.Child
	}
	out := Difference{Path: full}
	if da != nil {
		out.Kind = vfs.Kind(da.Kind)
		if !folderEntry(da) {
			out.Before = da.Size
		}
	}
	if db != nil {
		out.Kind = vfs.Kind(db.Kind)
		if !folderEntry(db) {
			out.After, out.CID = db.Size, db.Child
		}
	}
	switch {
	case da == nil:
		out.What = DiffAdded
	case db == nil:
		out.What = DiffRemoved
	case da.Kind != db.Kind || !folderEntry(db) && (da.Child != db.Child || da.Size != db.Size || da.RDev != db.RDev):
		out.What = DiffChanged
	case da.Mode != db.Mode || da.UID != db.UID || da.GID != db.GID || !slices.EqualFunc(da.Xattrs, db.Xattrs, sameXattr) ||
		!folderEntry(db) && da.Mtime != db.Mtime:
		out.What = DiffAttributes
	}
	if out.What != "" && below(full, d.at) {
		if err := d.f(out); err != nil {
			return err
		}
	}
	if a.IsZero() && b.IsZero() {
		return nil
	}
	return d.folders(ctx, full, a, b, depth+1)
}

func folderEntry(d *dag.Dirent) bool { return d != nil && vfs.Kind(d.Kind) == vfs.KindFolder }

func sameXattr(a, b dag.Xattr) bool { return a.Name == b.Name && string(a.Value) == string(b.Value) }
