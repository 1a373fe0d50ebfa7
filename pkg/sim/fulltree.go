package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// judgeRoots builds both trees of a checkpoint anew out of nothing but the rows, in one go each: an edit of a tree must come to what a build does.
func judgeRoots(ctx context.Context, get block.Getter, cp state.CheckpointInfo, rows map[string][]byte, v *viewer) error {
	b, err := get.Get(ctx, cp.State)
	if err != nil {
		return err
	}
	root, err := state.DecodeRoot(b)
	if err != nil {
		return err
	}
	st := newBlocks()
	id, err := rowTree(ctx, st, rows)
	if err != nil {
		return err
	}
	if id != root.Rows {
		return fmt.Errorf("the tree of rows is %s, built from the rows it is %s", root.Rows, id)
	}
	if id, err = v.build(ctx, st, state.RootIno); err != nil {
		return err
	}
	if id != cp.Tree {
		return fmt.Errorf("the tree root is %s, built from the rows it is %s", cp.Tree, id)
	}
	return nil
}

// rowTree builds the tree of rows.
func rowTree(ctx context.Context, st block.Putter, rows map[string][]byte) (block.ID, error) {
	if len(rows) == 0 {
		return block.ID{}, nil
	}
	return dag.BuildTree(ctx, st, func(yield func(dag.KV, error) bool) {
		for _, key := range sortedKeys(rows) {
			value := rows[key]
			if len(value) > dag.ValueMax {
				value = cbor.AppendLink(nil, block.Sum(block.Raw, value).Bytes())
			}
			if !yield(dag.KV{Key: []byte(key), Value: value}, nil) {
				return
			}
		}
	})
}

// build builds the node of a folder, after those of the folders in it.
func (v *viewer) build(ctx context.Context, st block.Store, ino state.Ino) (block.ID, error) {
	entries := v.in[ino]
	var list []dag.Dirent
	for _, n := range state.ViewNames(entries, shownPodName, nil) {
		d, err := v.dirent(ctx, st, &entries[n.Entry], n)
		if err != nil {
			return block.ID{}, err
		}
		list = append(list, d)
	}
	n := &state.Inode{Mode: state.Reg[uint32]{Value: 0o755}} // of a root that nobody changed
	if f := v.folded[ino]; f != nil {
		n = f.Inode
	}
	own := dag.FolderAttr{Mode: n.Mode.Value, UID: n.Owner.Value.UID, GID: n.Owner.Value.GID, Mtime: v.mtime(n, entries)}
	return dag.BuildFolder(ctx, st, own, func(yield func(dag.Dirent, error) bool) {
		for _, d := range list {
			if !yield(d, nil) {
				return
			}
		}
	})
}

// mtime is a folder's: what utimes set, or when the newest of its entries came.
func (v *viewer) mtime(n *state.Inode, entries []state.ViewEntry) int64 {
	var newest state.HLC
	for i := range entries {
		newest = max(newest, v.came(&entries[i]))
	}
	if mtime, at, ok := n.FolderMtime(); ok && at.HLC >= newest {
		return mtime
	}
	return max(newest, state.HLCOf(time.Unix(0, n.Btime))).Time().UnixNano()
}

// came is when an entry came to where it is. Of a lost folder nobody knows.
func (v *viewer) came(e *state.ViewEntry) state.HLC {
	f := v.folded[e.Ino]
	i := slices.IndexFunc(f.Inode.Links, func(l state.Link) bool { return l.ID == e.Link })
	l := &f.Inode.Links[i]
	switch {
	case !e.Folder:
		return max(l.TS.HLC, l.DeadTS.HLC)
	case v.lost[e.Ino]:
		return 0
	}
	return max(l.TS.HLC, l.DeadTS.HLC, state.HLCOf(time.Unix(0, f.Inode.Btime)))
}

// dirent is an entry of a folder's node.
func (v *viewer) dirent(ctx context.Context, st block.Store, e *state.ViewEntry, named state.Named) (dag.Dirent, error) {
	n := v.folded[e.Ino].Inode
	d := dag.Dirent{
		Name: named.Name, Kind: uint8(n.Kind), Mode: n.Mode.Value, UID: n.Owner.Value.UID, GID: n.Owner.Value.GID, RDev: n.RDev, Ino: uint64(e.Ino),
	}
	for i := range n.Xattrs {
		if x := &n.Xattrs[i]; !x.Gone {
			d.Xattrs = append(d.Xattrs, dag.Xattr{Name: x.Name, Value: x.Value})
		}
	}
	if n.Kind == vfs.KindFolder {
		var err error
		if d.Child, err = v.build(ctx, st, e.Ino); err != nil {
			return d, err
		}
		attr, err := dag.ReadFolder(ctx, st, d.Child)
		d.Mtime, d.Size = attr.Mtime, attr.Size
		return d, err
	}
	if len(n.Contents) == 0 {
		return d, nil
	}
	c := &n.Contents[v.content(e, named)]
	d.Size, d.Mtime = c.Size, c.Mtime
	if len(c.Body) > 0 {
		d.Child = block.Sum(block.DagCBOR, c.Body)
	}
	if named.Copy >= 0 {
		d.Ino = uint64(state.CopyIno(e.Ino, c.Name()))
	}
	return d, nil
}

// content is which content of its inode a name shows.
func (v *viewer) content(e *state.ViewEntry, named state.Named) int {
	if named.Copy < 0 {
		return 0
	}
	return slices.IndexFunc(v.folded[e.Ino].Inode.Contents, func(c state.Content) bool { return c.Name() == e.Copies[named.Copy].Content })
}
