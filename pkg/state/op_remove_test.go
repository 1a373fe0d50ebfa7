package state

import "testing"

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
