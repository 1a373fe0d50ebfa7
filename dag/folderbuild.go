package dag

import (
	"context"
	"fmt"
	"iter"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// BuildFolder puts a folder of entries, which must be sorted by the bytes of their names, and returns its ID. Entries
// and Size of own are computed. Equal folders have equal IDs. Errors: ErrBadDirent, ErrTooLarge, ErrOrder, the sequence's,
// the Putter's.
func BuildFolder(ctx context.Context, put block.Putter, own FolderAttr, entries iter.Seq2[Dirent, error]) (block.ID, error) {
	own.Entries, own.Size = 0, 0
	items := func(yield func(KV, error) bool) {
		for d, err := range entries {
			var kv KV
			if err == nil {
				kv, err = d.item()
			}
			own.Entries++
			own.Size += d.Size
			if !yield(kv, err) {
				return
			}
		}
	}
	st := &topStore{put: put}
	root, err := BuildTree(ctx, st, items)
	if err != nil {
		return block.ID{}, err
	}
	return putFolder(ctx, st, own, root)
}

// putFolder puts the block of a folder whose entries' map was made in st.
func putFolder(ctx context.Context, st *topStore, own FolderAttr, root block.ID) (block.ID, error) {
	if own.Mode > modeMax {
		return block.ID{}, fmt.Errorf("dag: folder: %w: mode %#o", ErrBadDirent, own.Mode)
	}
	top, err := st.takeTop(ctx, root)
	if err != nil {
		return block.ID{}, err
	}
	if (own.Entries == 0) != (len(top) == 0) {
		return block.ID{}, corruptf("folder", "its count of entries was wrong")
	}
	f := folder{attr: own, top: top}
	return putNode(ctx, st.put, f.encode())
}

// DirentEdit sets an entry of a folder, or removes the name if Entry is nil.
type DirentEdit struct {
	Name  string
	Entry *Dirent // its Name is not used
}

// EditFolder applies edits, sorted by name, to a folder (zero: an empty one), sets its own attributes (but Entries and
// Size, which are computed), and returns the new ID: that which BuildFolder gives for the result. It
// costs what EditTree costs: one change of a million is a few nodes. Removing a name that is not there is no error.
func EditFolder(ctx context.Context, st block.Store, id block.ID, own FolderAttr, edits []DirentEdit) (block.ID, error) {
	old, tops := &folder{}, &topStore{get: st}
	if !id.IsZero() {
		var err error
		if old, tops, err = loadFolder(ctx, st, id); err != nil {
			return block.ID{}, err
		}
	}
	tops.put = st
	own.Entries, own.Size = old.attr.Entries, old.attr.Size
	items := make([]Edit, 0, len(edits))
	for _, e := range edits {
		before, there, err := lookup(ctx, tops, tops.top, e.Name)
		if err != nil {
			return block.ID{}, err
		}
		if there {
			own.Entries--
			own.Size -= before.Size
		}
		item := Edit{Key: []byte(e.Name)}
		if e.Entry != nil {
			d := *e.Entry
			d.Name = e.Name
			kv, err := d.item()
			if err != nil {
				return block.ID{}, err
			}
			item = Edit(kv)
			own.Entries++
			own.Size += d.Size
		}
		items = append(items, item)
	}
	root, err := EditTree(ctx, tops, tops.top, items)
	if err != nil {
		return block.ID{}, err
	}
	return putFolder(ctx, tops, own, root)
}
