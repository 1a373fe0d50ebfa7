package state

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// treeWriter writes the folders that changed, from the deepest to the root.
type treeWriter struct {
	*checkpointer

	changed  marks            // names that changed, by folder
	more     map[Ino][]string // folders to write, and of each the names that changed besides, in no order
	computed map[Ino]bool     // folders in which the last checkpoint shows computed names
	depth    map[Ino]int      // levels below the root
	byTop    map[int][]Ino    // folders to write, by depth
	cids     map[Ino]block.ID // of folders written now

	bodies []block.Block // of files, to be put
}

// bodiesAtOnce is how many bodies of files are put at once.
const bodiesAtOnce = 512

// putBodies puts the bodies that wait for it.
func (w *treeWriter) putBodies(ctx context.Context) error {
	list := w.bodies
	w.bodies = w.bodies[:0]
	return block.PutAll(ctx, w.d.o.Blocks, list)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// writeTree writes the view, and returns its root folder.
func (c *checkpointer) writeTree(ctx context.Context) (root block.ID, err error) {
	w := &treeWriter{
		checkpointer: c, more: map[Ino][]string{}, computed: map[Ino]bool{}, depth: map[Ino]int{}, byTop: map[int][]Ino{}, cids: map[Ino]block.ID{},
	}
	if w.changed, err = c.marks(keyEntryMark); err != nil {
		return block.ID{}, err
	}
	defer func() { err = errors.Join(err, w.changed.close()) }()
	if err := w.collect(); err != nil {
		return block.ID{}, err
	}
	for len(w.byTop) > 0 {
		level := slices.Max(slices.Collect(maps.Keys(w.byTop)))
		folders := w.byTop[level]
		delete(w.byTop, level)
		slices.Sort(folders)
		for _, ino := range folders {
			if err := ctx.Err(); err != nil {
				return block.ID{}, err
			}
			if err := w.writeFolder(ctx, ino); err != nil {
				return block.ID{}, fmt.Errorf("folder %d: %w", ino, err)
			}
		}
	}
	if err := w.putBodies(ctx); err != nil {
		return block.ID{}, err
	}
	return w.cidOf(RootIno)
}

// collect finds the folders in which something is marked, or names are, or were, computed.
func (w *treeWriter) collect() error {
	var last Ino // no folder's
	err := w.changed.each(nil, func(marked []byte) error {
		if len(marked) < 8 {
			return corrupt("mark", fmt.Errorf("of entry %x", marked))
		}
		ino := Ino(binary.BigEndian.Uint64(marked))
		if ino == last {
			return nil
		}
		last = ino
		return w.mark(ino)
	})
	if err != nil {
		return err
	}
	prefixes := []byte{keyIrregular, keyComputed}
	if w.full {
		prefixes = append(prefixes, keyFolder) // every folder itself
	}
	for _, prefix := range prefixes {
		err := scanPrefix(w.r, []byte{prefix}, func(key, _ []byte) error {
			ino, _, err := splitNameKey(key)
			if err != nil {
				return err
			}
			if prefix == keyComputed {
				w.computed[ino] = true
			}
			return w.mark(ino)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mark notes a folder that is to be written, and names of it that are to be looked at besides those that are marked.
func (w *treeWriter) mark(ino Ino, names ...string) error {
	before, known := w.more[ino]
	if known && len(names) == 0 {
		return nil
	}
	w.more[ino] = append(before, names...)
	if known {
		return nil
	}
	depth, err := w.depthOf(ino)
	if err != nil {
		return err
	}
	w.byTop[depth] = append(w.byTop[depth], ino)
	return nil
}

// depthOf is a folder's distance from the root; of one that is not in the tree, from where its way up ends.
func (w *treeWriter) depthOf(ino Ino) (int, error) {
	var way []Ino
	base := 0
	var up climb
	for ino != RootIno {
		if err := up.step(ino); err != nil {
			return 0, err
		}
		if d, ok := w.depth[ino]; ok {
			base = d
			break
		}
		way = append(way, ino)
		rec, err := w.folder(ino)
		if err != nil {
			return 0, err
		}
		if !rec.attached {
			break
		}
		ino = rec.parent
	}
	for _, above := range slices.Backward(way) {
		base++
		w.depth[above] = base
	}
	return base, nil
}

// cidOf is a folder's CID, as of now.
func (w *treeWriter) cidOf(ino Ino) (block.ID, error) {
	if id, ok := w.cids[ino]; ok {
		return id, nil
	}
	return w.lastCID(ino)
}

// lastCID is a folder's CID in the last checkpoint.
func (w *treeWriter) lastCID(ino Ino) (block.ID, error) {
	if w.full {
		return block.ID{}, nil
	}
	return w.folderCID(ino)
}

// writeFolder writes a folder whose entries below are written already, and has its entry in its parent written if its CID is another.
func (w *treeWriter) writeFolder(ctx context.Context, ino Ino) error {
	rec, err := w.folder(ino)
	if err != nil {
		return err
	}
	old, err := w.lastCID(ino)
	if err != nil {
		return err
	}
	if !rec.shown() {
		w.cids[ino] = block.ID{}
		if err := w.out.Delete(inoKey(keyFolderCID, ino), nil); err != nil {
			return err
		}
		return w.forgetComputed(ino, nil)
	}
	special, err := w.contested(ino)
	if err != nil {
		return err
	}
	own, err := w.ownAttr(ino, rec)
	if err != nil {
		return err
	}
	var id block.ID
	if old.IsZero() {
		id, err = w.build(ctx, ino, own)
	} else {
		id, err = w.edit(ctx, ino, old, own, special)
	}
	if err != nil {
		return err
	}
	if err := w.forgetComputed(ino, special); err != nil {
		return err
	}
	w.cids[ino] = id
	if id == old {
		return nil
	}
	if err := w.out.Set(inoKey(keyFolderCID, ino), id.Bytes(), nil); err != nil {
		return err
	}
	if !rec.attached {
		return nil
	}
	return w.mark(rec.parent, rec.name)
}

// forgetComputed replaces the memory of which names the folder's node shows out of the order.
func (w *treeWriter) forgetComputed(ino Ino, special []shown) error {
	prefix := inoKey(keyComputed, ino)
	if err := w.out.DeleteRange(prefix, prefixEnd(prefix), nil); err != nil {
		return err
	}
	for _, s := range special {
		if err := w.out.Set(nameKey(keyComputed, ino, s.name), nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// build writes a folder anew.
func (w *treeWriter) build(ctx context.Context, ino Ino, own dag.FolderAttr) (block.ID, error) {
	rows, done, err := w.inOrder()
	if err != nil {
		return block.ID{}, err
	}
	defer done()
	return dag.BuildFolder(ctx, w.d.o.Blocks, own, func(yield func(dag.Dirent, error) bool) {
		err := w.eachName(ino, "", 0, func(name []byte, at slot, contested *shown) error {
			if contested == nil {
				s, err := rows.regular(string(name), at)
				if err != nil {
					return err
				}
				contested = &s
			}
			e, err := w.dirent(ctx, contested)
			if err == nil && !yield(e, nil) {
				err = errStop
			}
			return err
		})
		if err != nil {
			yield(dag.Dirent{}, err)
		}
	})
}

// edit writes a folder's changed names.
func (w *treeWriter) edit(ctx context.Context, ino Ino, id block.ID, own dag.FolderAttr, special []shown) (block.ID, error) {
	var edits []dag.DirentEdit
	apply := func() (err error) {
		id, err = dag.EditFolder(ctx, w.d.o.Blocks, id, own, edits)
		edits = edits[:0]
		return err
	}
	err := w.eachChanged(ino, special, func(name string) error {
		e := dag.DirentEdit{Name: name}
		s, ok, err := w.find(ino, name, special)
		if err != nil {
			return err
		}
		if ok {
			d, err := w.dirent(ctx, &s)
			if err != nil {
				return err
			}
			e.Entry = &d
		}
		if edits = append(edits, e); len(edits) < editBatch {
			return nil
		}
		return apply()
	})
	if err == nil {
		err = apply()
	}
	return id, err
}

// eachChanged calls f for the names of a folder that are to be looked at, in order: those that changed, and all that are, or were, computed.
func (w *treeWriter) eachChanged(ino Ino, special []shown, f func(name string) error) error {
	more := slices.Clone(w.more[ino])
	for _, s := range special {
		more = append(more, s.name)
	}
	if w.computed[ino] {
		err := scanPrefix(w.r, inoKey(keyComputed, ino), func(key, _ []byte) error {
			more = append(more, string(key[9:]))
			return nil
		})
		if err != nil {
			return err
		}
	}
	slices.Sort(more)
	more = slices.Compact(more)
	err := w.changed.each(inoKey(0, ino)[1:], func(marked []byte) error {
		name := string(marked[8:])
		for ; len(more) > 0 && more[0] < name; more = more[1:] {
			if err := f(more[0]); err != nil {
				return err
			}
		}
		if name == "" || len(more) > 0 && more[0] == name { // the folder itself, or a name that follows
			return nil
		}
		return f(name)
	})
	for ; len(more) > 0 && err == nil; more = more[1:] {
		err = f(more[0])
	}
	return err
}

// find is what a folder shows at a name, if anything.
func (w *treeWriter) find(ino Ino, name string, special []shown) (shown, bool, error) {
	if i, ok := slices.BinarySearchFunc(special, name, byShownName); ok {
		return special[i], true, nil
	}
	slots, err := w.slots(ino, name)
	if err != nil || len(slots) == 0 {
		return shown{}, false, err
	}
	s, err := w.regular(name, slots[0])
	return s, err == nil, err
}

// dirent is an entry of a folder's node: a function of replicated rows alone, so that converged pods have the same.
func (w *treeWriter) dirent(ctx context.Context, s *shown) (dag.Dirent, error) {
	n := s.f.Inode
	e := dag.Dirent{
		Name: s.name, Kind: uint8(n.Kind), Mode: n.Mode.Value, UID: n.Owner.Value.UID, GID: n.Owner.Value.GID,
		RDev: n.RDev, Ino: uint64(s.ino),
	}
	room := dag.XattrsMax // one inode can have more only by attributes that were set apart
	for i := range n.Xattrs {
		x := &n.Xattrs[i]
		if size := len(x.Name) + len(x.Value); !x.Gone && size <= room {
			e.Xattrs = append(e.Xattrs, dag.Xattr{Name: x.Name, Value: x.Value})
			room -= size
		}
	}
	if n.Kind == vfs.KindFolder {
		var err error
		if e.Child, err = w.cidOf(s.ino); err != nil {
			return e, err
		}
		attr, err := dag.ReadFolder(ctx, w.d.o.Blocks, e.Child)
		e.Mtime, e.Size = attr.Mtime, attr.Size
		return e, err
	}
	if s.content < len(n.Contents) {
		c := &n.Contents[s.content]
		e.Size, e.Mtime, e.Child = c.Size, c.Mtime, bodyID(c.Body)
		if s.isCopy() {
			e.Ino = uint64(CopyIno(s.ino, c.Name()))
		}
		if len(c.Body) > 0 {
			if w.bodies = append(w.bodies, block.Block{ID: e.Child, Plain: c.Body}); len(w.bodies) >= bodiesAtOnce {
				return e, w.putBodies(ctx)
			}
		}
	}
	return e, nil
}

// ownAttr is what a folder's node says of itself. Its mtime is what utimes set, or when the newest of its entries came, whichever is later.
func (w *treeWriter) ownAttr(ino Ino, rec *folderRec) (dag.FolderAttr, error) {
	c, err := w.inode(ino)
	if err != nil {
		return dag.FolderAttr{}, err
	}
	if c.f == nil {
		c.f = rootFolded()
	}
	n := c.f.Inode
	newest, err := w.newestEntry(ino, rec)
	if err != nil {
		return dag.FolderAttr{}, err
	}
	return dag.FolderAttr{Mode: n.Mode.Value, UID: n.Owner.Value.UID, GID: n.Owner.Value.GID, Mtime: folderMtime(n, newest)}, nil
}

// newestEntry is when the newest entry of a folder came to it: a function of rows, unlike what stat tells, which knows of those that went too.
func (w *treeWriter) newestEntry(ino Ino, rec *folderRec) (HLC, error) {
	if !rec.stale {
		return rec.newest, nil
	}
	var newest HLC
	err := scanPrefix(w.r, inoKey(keyIndex, ino), func(_, value []byte) error {
		slots, err := decodeSlots(value)
		for _, s := range slots {
			newest = max(newest, s.came)
		}
		return err
	})
	return newest, err
}
