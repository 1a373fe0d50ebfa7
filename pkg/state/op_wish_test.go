package state

import (
	"slices"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestWishesOfMany: those of many nodes, while there is no wish at all, one that is not committed, one that is, and none any more.
func TestWishesOfMany(t *testing.T) {
	d := newPods().open(t, 1)
	dir := mkdir(t, d, RootIno, "dir")
	in, out := mkfile(t, d, dir.ID, "in", "x"), mkfile(t, d, RootIno, "out", "y")
	const gone = Ino(1 << 40)
	want := func(when, policy string) {
		t.Helper()
		var got []string
		for _, w := range must[[]Wish](t)(d.Wishes([]vfs.NodeID{in.ID, out.ID, dir.ID, gone})) {
			got = append(got, w.Policy.Value)
		}
		if !slices.Equal(got, []string{policy, "", policy, ""}) {
			t.Errorf("%s: %q", when, got)
		}
	}
	want("without a wish", "")
	set := func(policy string) {
		t.Helper()
		if err := d.SetWish(dir.ID, WishEdit{Policy: &policy}); err != nil {
			t.Fatal(err)
		}
	}
	set("replica:3")
	want("not committed", "replica:3")
	must[int](t)(d.Commit(t.Context()))
	want("committed", "replica:3")
	set("")
	want("taken back", "")
}
