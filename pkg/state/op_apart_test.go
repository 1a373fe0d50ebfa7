package state

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// copyAt is the name in the root that begins so, of a conflict copy or of what has a computed name.
func copyAt(t testing.TB, d *DB, begin string) string {
	t.Helper()
	for path := range tree(t, d) {
		if strings.HasPrefix(path, "/"+begin) {
			return path[1:]
		}
	}
	t.Fatalf("no name begins with %s: %v", begin, tree(t, d))
	return ""
}

// TestExchangeContested: two names are exchanged, one of which another file claims, too. If this fails, that one's bytes are at the name then, and what was
// put there has a computed one.
func TestExchangeContested(t *testing.T) {
	for _, names := range [][2]string{{"x", "y"}, {"y", "x"}} {
		t.Run(names[0], func(t *testing.T) {
			p := newApart(t)
			p.make(p.a, "x", "of a")
			p.make(p.b, "x", "of b")
			exchange(t, p.a, p.b)
			p.make(p.a, "y", "y")
			must[Node](t)(p.a.Rename(RootIno, names[0], RootIno, names[1], vfs.RenameExchange))
			p.want(with(map[string]string{"/x": "y", "/y": "of a", "/x!pod2": "of b"}))
		})
	}
}

// TestRenameCopyOverItsFile: a conflict copy is renamed to the name that it stands beside, of a file with one more name. If this fails, the old
// name is not found.
func TestRenameCopyOverItsFile(t *testing.T) {
	p := newApart(t)
	p.link(p.a, "f.txt", "g")
	exchange(t, p.a, p.b)
	p.write(p.a, "f.txt", "of a")
	p.write(p.b, "f.txt", "of b")
	exchange(t, p.a, p.b)
	p.rename(p.a, copyAt(t, p.a, "f.conflict"), "f.txt")
	p.want(with(map[string]string{"/f.txt": "of a", "/g": "of b"}))
}

// TestRemoveBesideCopies: of two files at one name, the second with a conflict copy, the first is removed. If this fails, the copy gets
// another name than it was shown at, and who removes or moves the two by their names does not find it.
func TestRemoveBesideCopies(t *testing.T) {
	for _, by := range []string{"remove", "rename over"} {
		t.Run(by, func(t *testing.T) {
			n := newPods()
			a, b, c := n.open(t, 1), n.open(t, 2), n.open(t, 3)
			mkfile(t, a, RootIno, "f", "first")
			exchange(t, a, c)
			f := mkfile(t, b, RootIno, "f", "second")
			exchange(t, b)
			pull(t, c, b)
			must[Node](t)(b.SetContent(f.ID, inline("edit of b")))
			must[Node](t)(c.SetContent(f.ID, inline("edit of c")))
			exchange(t, a, b, c)
			want := tree(t, a)
			if by == "remove" {
				must[Node](t)(a.Remove(RootIno, "f", false))
				delete(want, "/f")
			} else {
				name := copyAt(t, a, "f.conflict-pod2")
				must[Node](t)(a.Rename(RootIno, name, RootIno, "f", 0))
				want["/f"] = want["/"+name]
				delete(want, "/"+name)
			}
			wantTree(t, a, want)
			exchange(t, a, b, c)
			wantSame(t, []*DB{a, b, c})
		})
	}
}

// TestMoveOutOfLoop: two folders were moved into each other apart, so that the later move was undone. Then the other one is moved out again. If this
// fails, the move that was undone comes over the first one now, and its path is gone.
func TestMoveOutOfLoop(t *testing.T) {
	for _, way := range []string{"rename", "exchange", "new name"} {
		t.Run(way, func(t *testing.T) {
			p := newApart(t)
			p.make(p.a, "b", "folder")
			exchange(t, p.a, p.b)
			p.rename(p.a, "b", "d/b")
			p.rename(p.b, "d", "b/d")
			want := with(map[string]string{"/d/b": "folder"})
			p.want(maps.Clone(want))
			switch way {
			case "rename":
				p.rename(p.a, "d/b", "c")
				delete(want, "/d/b")
				want["/c"] = "folder"
			case "exchange":
				must[Node](t)(p.a.Rename(p.ino(p.a, "d").ID, "b", RootIno, "e", vfs.RenameExchange))
			case "new name":
				p.rename(p.a, "d/b", "d/c")
				delete(want, "/d/b")
				want["/d/c"] = "folder"
			}
			p.want(want)
		})
	}
}

// TestResolveRenamedLink: the second name of a file was renamed apart. If this fails, who takes the place that lost moves the first name there.
func TestResolveRenamedLink(t *testing.T) {
	for _, at := range []string{"f.txt", "gb"} {
		t.Run(at, func(t *testing.T) {
			p := newApart(t)
			p.link(p.a, "f.txt", "g")
			exchange(t, p.a, p.b)
			p.rename(p.a, "g", "ga")
			p.rename(p.b, "g", "gb")
			exchange(t, p.a, p.b)
			if got := p.conflicts(p.a); len(got) != 1 || got[0] != "3 /gb: 2=old@/gb 1=old@/ga" {
				t.Fatalf("conflicts %v", got)
			}
			if err := p.resolve(p.a, at, 1); err != nil {
				t.Fatal(err)
			}
			p.want(with(map[string]string{"/ga": "old"}))
			if got := p.conflicts(p.a); len(got) != 0 {
				t.Errorf("conflicts %v", got)
			}
		})
	}
}

// TestFutureHoldsNobodyUp: a pod whose clock is an hour ahead passes changes of another on. If this fails, they wait as its own do.
func TestFutureHoldsNobodyUp(t *testing.T) {
	n, ahead := newPods(), newPods()
	ahead.clock.turn(2 * FutureMax)
	a, b, c := ahead.open(t, 1), n.open(t, 2), n.open(t, 3)
	mkfile(t, a, RootIno, "future", "x")
	must[int](t)(a.Commit(t.Context()))
	mkfile(t, b, RootIno, "now", "y")
	must[int](t)(b.Commit(t.Context()))
	pull(t, a, b)
	mkfile(t, a, RootIno, "later", "x")
	must[int](t)(a.Commit(t.Context()))
	commits := must[[][]byte](t)(a.Log(t.Context(), nil, 1<<30))
	if got, err := c.Apply(t.Context(), commits); got != 1 || !errors.Is(err, ErrFuture) {
		t.Errorf("applied %d: %v", got, err)
	}
	wantTree(t, c, map[string]string{"/now": "y"})
	n.clock.turn(2 * FutureMax)
	if got, err := c.Apply(t.Context(), commits); got != 2 || err != nil {
		t.Errorf("when it is time, applied %d: %v", got, err)
	}
	wantSame(t, []*DB{a, c})
}
