package state

import (
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestRemoveFolderNobodyHeardOf: a folder that was made and removed within one commit leaves a trace if something that others know was in it. If this
// fails, what they put there meanwhile is nowhere.
func TestRemoveFolderNobodyHeardOf(t *testing.T) {
	n := newPods()
	a, b := n.open(t, 1), n.open(t, 2)
	known := mkdir(t, a, RootIno, "known")
	exchange(t, a, b)

	fresh := mkdir(t, a, RootIno, "new")
	must[Node](t)(a.Rename(RootIno, "known", fresh.ID, "k", 0))
	must[Node](t)(a.Remove(fresh.ID, "k", true))
	must[Node](t)(a.Remove(RootIno, "new", true))
	empty := mkdir(t, a, RootIno, "empty")
	must[Node](t)(a.Remove(RootIno, "empty", true))
	mkfile(t, b, known.ID, "f", "of b")
	exchange(t, a, b)

	wantTree(t, a, map[string]string{"/new": "folder", "/new/k": "folder", "/new/k/f": "of b"})
	wantSame(t, []*DB{a, b})
	if got, err := get(a.db, InodeKey(empty.ID)); err != nil || got != nil {
		t.Errorf("an empty folder that nobody heard of leaves the row %x, %v", got, err)
	}
}

// TestHeldFolderHoldsEntries: what is in a new folder, whose row waits for a file's journal, waits with it. If this fails, others have it nowhere, for as
// long as the journal is not folded, and for good if this pod does not come back.
func TestHeldFolderHoldsEntries(t *testing.T) {
	n := newPods()
	a, b := n.open(t, 1), n.open(t, 2)
	f := mkfile(t, a, RootIno, "f", "text")
	exchange(t, a, b)
	base := must[Node](t)(a.Get(f.ID))
	r := JournalRecord{
		Base: &JournalBase{Content: base.Content, Body: base.Body, Mode: 0o644},
		Size: 1, Writes: []JournalWrite{{Data: []byte("x")}},
	}
	gen := must[uint64](t)(a.Journal(f.ID, &r))
	fresh := mkdir(t, a, RootIno, "new")
	must[Node](t)(a.Rename(RootIno, "new", RootIno, "f", vfs.RenameExchange)) // one change of both rows
	inner := mkdir(t, a, fresh.ID, "inner")
	mkfile(t, a, inner.ID, "g", "deep")
	imported := NewFile{Parent: fresh.ID, Name: "h", Node: vfs.NewNode{Kind: vfs.KindFile}}
	if out := must[[]Imported](t)(a.Import(t.Context(), []NewFile{imported})); out[0].Err != nil {
		t.Fatal(out[0].Err)
	}
	mkfile(t, a, RootIno, "other", "not held")
	exchange(t, a, b)
	wantTree(t, b, map[string]string{"/f": "text", "/other": "not held"})

	c := inline("x")
	c.Folded = JournalMark{Ino: f.ID, Gen: gen}
	must[Node](t)(a.SetContent(f.ID, c))
	exchange(t, a, b)
	wantTree(t, b, map[string]string{"/new": "x", "/f": "folder", "/f/inner": "folder", "/f/inner/g": "deep", "/f/h": "", "/other": "not held"})
}
