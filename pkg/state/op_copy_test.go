package state

import (
	"strings"
	"testing"
)

// TestRemoveComputedName: a file that has a computed name, since another has the real one, and conflict copies beside it, is removed: only what
// it showed goes. If this fails, an edit that nobody saw is lost with it.
func TestRemoveComputedName(t *testing.T) {
	for _, by := range []string{"remove", "rename over"} {
		t.Run(by, func(t *testing.T) {
			n := newPods()
			a, b, c := n.open(t, 1), n.open(t, 2), n.open(t, 3)
			mkfile(t, a, RootIno, "f", "first")
			exchange(t, a, c)
			f := mkfile(t, b, RootIno, "f", "second") // later, so it gets the computed name
			exchange(t, b)
			pull(t, c, b)
			must[Node](t)(b.SetContent(f.ID, inline("edit of b")))
			must[Node](t)(c.SetContent(f.ID, inline("edit of c")))
			exchange(t, a, b, c)

			name, other := "", "" // of the file, and of its copy
			for _, e := range must[[]Entry](t)(a.List(RootIno, "", 0)) {
				switch {
				case !strings.HasPrefix(e.Name, "f.conflict-"):
				case e.Node.Copy:
					other = textOf(t, e.Node)
				default:
					name = e.Name
				}
			}
			if name == "" || other == "" {
				t.Fatalf("nothing to remove, or no copy: %v", tree(t, a))
			}
			if by == "remove" {
				must[Node](t)(a.Remove(RootIno, name, false))
			} else {
				mkfile(t, a, RootIno, "new", "new")
				must[Node](t)(a.Rename(RootIno, "new", RootIno, name, 0))
			}
			exchange(t, a, b, c)
			found := false
			for _, text := range tree(t, a) {
				found = found || text == other
			}
			if !found {
				t.Errorf("%q is lost: %v", other, tree(t, a))
			}
			wantSame(t, []*DB{a, b, c})
		})
	}
}
