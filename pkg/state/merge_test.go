package state

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// apart are two pods that begin with the same tree and then do things apart. Conflict names in the wanted trees are shortened to
// stem + "!" + pod + extension.
type apart struct {
	t    *testing.T
	n    *podsNet
	a, b *DB
}

func newApart(t *testing.T) *apart {
	n := newPods()
	p := &apart{t: t, n: n, a: n.open(t, 1), b: n.open(t, 2)}
	mkfile(t, p.a, RootIno, "f.txt", "old")
	dir := mkdir(t, p.a, RootIno, "d")
	mkfile(t, p.a, dir.ID, "x", "x")
	mkdir(t, p.a, RootIno, "e")
	exchange(t, p.a, p.b)
	p.tick()
	return p
}

func (p *apart) tick() { p.n.clock.turn(time.Second) }

func (p *apart) ino(d *DB, path string) Node {
	p.t.Helper()
	n := must[Node](p.t)(d.Get(RootIno))
	for name := range strings.SplitSeq(path, "/") {
		n = must[Node](p.t)(d.Lookup(n.ID, name))
	}
	return n
}

func (p *apart) at(d *DB, path string) (Ino, string) {
	p.t.Helper()
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return RootIno, path
	}
	return p.ino(d, path[:i]).ID, path[i+1:]
}

func (p *apart) write(d *DB, path, text string) {
	p.t.Helper()
	must[Node](p.t)(d.SetContent(p.ino(d, path).ID, inline(text)))
	p.tick()
}

func (p *apart) make(d *DB, path, text string) {
	p.t.Helper()
	parent, name := p.at(d, path)
	if text == "folder" {
		mkdir(p.t, d, parent, name)
	} else {
		mkfile(p.t, d, parent, name, text)
	}
	p.tick()
}

func (p *apart) remove(d *DB, path string) {
	p.t.Helper()
	parent, name := p.at(d, path)
	must[Node](p.t)(d.Remove(parent, name, p.ino(d, path).Kind == vfs.KindFolder))
	p.tick()
}

func (p *apart) rename(d *DB, from, to string) {
	p.t.Helper()
	parent, name := p.at(d, from)
	newParent, newName := p.at(d, to)
	must[Node](p.t)(d.Rename(parent, name, newParent, newName, 0))
	p.tick()
}

func (p *apart) link(d *DB, path, to string) {
	p.t.Helper()
	parent, name := p.at(d, to)
	must[Node](p.t)(d.Link(p.ino(d, path).ID, parent, name))
	p.tick()
}

// want exchanges everything and compares the trees.
func (p *apart) want(want map[string]string) {
	p.t.Helper()
	exchange(p.t, p.a, p.b)
	for _, d := range []*DB{p.a, p.b} {
		got := map[string]string{}
		for path, text := range tree(p.t, d) {
			got[shorten(path)] = text
		}
		if diff := cmp.Diff(got, want); diff != "" {
			p.t.Errorf("pod %d: got - want +\n%s", d.o.Actor.Member, diff)
		}
	}
	wantSame(p.t, []*DB{p.a, p.b})
}

func shorten(path string) string {
	for {
		i := strings.Index(path, ".conflict-")
		if i < 0 {
			return path
		}
		rest := path[i+len(".conflict-"):]
		pod, _, _ := strings.Cut(rest, "-")
		end := strings.IndexAny(rest, "./")
		if end < 0 {
			end = len(rest)
		}
		path = path[:i] + "!" + pod + rest[end:]
	}
}

// with is the tree of newApart with changes: "" removes.
func with(changes map[string]string) map[string]string {
	out := map[string]string{"/f.txt": "old", "/d": "folder", "/d/x": "x", "/e": "folder"}
	for path, text := range changes {
		if out[path] = text; text == "" {
			delete(out, path)
		}
	}
	return out
}

// TestMergeTable goes through DESIGN's table of what concurrent changes give.
func TestMergeTable(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(p *apart)
		want map[string]string
	}{
		"both edit": {
			func(p *apart) { p.write(p.a, "f.txt", "A"); p.write(p.b, "f.txt", "B") },
			map[string]string{"/f.txt": "B", "/f!pod1.txt": "A"},
		},
		"same bytes": {
			func(p *apart) { p.write(p.a, "f.txt", "S"); p.write(p.b, "f.txt", "S") },
			map[string]string{"/f.txt": "S"},
		},
		"edit, delete": {
			func(p *apart) { p.write(p.a, "f.txt", "A"); p.remove(p.b, "f.txt") },
			map[string]string{"/f.txt": "A"},
		},
		"rename, delete": {
			func(p *apart) { p.rename(p.a, "f.txt", "g"); p.remove(p.b, "f.txt") },
			map[string]string{"/f.txt": "", "/g": "old"},
		},
		"rename, edit": {
			func(p *apart) { p.rename(p.a, "f.txt", "g"); p.write(p.b, "f.txt", "B") },
			map[string]string{"/f.txt": "", "/g": "B"},
		},
		"rename, rename": {
			func(p *apart) { p.rename(p.a, "f.txt", "g"); p.rename(p.b, "f.txt", "h") },
			map[string]string{"/f.txt": "", "/h": "old"},
		},
		"create, create": {
			func(p *apart) { p.make(p.a, "n", "A"); p.make(p.b, "n", "B") },
			map[string]string{"/n": "A", "/n!pod2": "B"},
		},
		"save by rename, edit": {
			func(p *apart) { p.make(p.a, "tmp", "A"); p.rename(p.a, "tmp", "f.txt"); p.write(p.b, "f.txt", "B") },
			map[string]string{"/f.txt": "B", "/f!pod1.txt": "A"},
		},
		"two saves by rename": {func(p *apart) {
			p.make(p.a, "tmp", "A")
			p.make(p.b, "tmp", "B")
			p.rename(p.a, "tmp", "f.txt")
			p.rename(p.b, "tmp", "f.txt")
		}, map[string]string{"/f.txt": "B", "/f!pod1.txt": "A"}},
		"save by rename, rename elsewhere": {func(p *apart) {
			p.make(p.a, "tmp", "A")
			p.rename(p.a, "tmp", "f.txt")
			p.rename(p.b, "f.txt", "g")
		}, map[string]string{"/f.txt": "A", "/g": "old"}},
		"mkdir, mkdir": {func(p *apart) {
			p.make(p.a, "n", "folder")
			p.make(p.a, "n/1", "A")
			p.make(p.b, "n", "folder")
			p.make(p.b, "n/2", "B")
		}, map[string]string{"/n": "folder", "/n/1": "A", "/n/2": "B"}},
		"file, folder": {
			func(p *apart) { p.make(p.a, "n", "A"); p.make(p.b, "n", "folder") },
			map[string]string{"/n": "folder", "/n!pod1": "A"},
		},
		"rm -r, create inside": {
			func(p *apart) { p.remove(p.a, "d/x"); p.remove(p.a, "d"); p.make(p.b, "d/new", "B") },
			map[string]string{"/d": "folder", "/d/x": "", "/d/new": "B"},
		},
		"rmdir, rmdir": {func(p *apart) { p.remove(p.a, "e"); p.remove(p.b, "e") }, map[string]string{"/e": ""}},
		"rmdir, mkdir again": {
			func(p *apart) { p.remove(p.a, "e"); p.make(p.a, "e", "folder"); p.remove(p.b, "e") },
			map[string]string{"/e": ""},
		},
		"A into B, B into A": {
			func(p *apart) { p.rename(p.a, "d", "e/d"); p.rename(p.b, "e", "d/e") },
			map[string]string{"/d": "", "/d/x": "", "/e/d": "folder", "/e/d/x": "x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newApart(t)
			c.do(p)
			p.want(with(c.want))
		})
	}
}

// TestUnlinkApart: a file whose two names were removed on two pods keeps the one that went last, marked as deleted.
func TestUnlinkApart(t *testing.T) {
	p := newApart(t)
	p.link(p.a, "f.txt", "g")
	exchange(t, p.a, p.b)
	p.remove(p.a, "f.txt")
	p.remove(p.b, "g")
	p.want(with(map[string]string{"/f.txt": "", "/g": "old"}))
	n := p.ino(p.a, "g")
	if !n.Deleted {
		t.Error("not listed as deleted")
	}
	p.remove(p.a, "g")
	p.want(with(map[string]string{"/f.txt": ""}))
}

// TestCopies: what is done to a conflict copy makes it a file of its own, and removing one resolves the conflict.
func TestCopies(t *testing.T) {
	conflict := func(t *testing.T) (p *apart, name string) {
		p = newApart(t)
		p.write(p.a, "f.txt", "A")
		p.write(p.b, "f.txt", "B")
		exchange(t, p.a, p.b)
		for _, e := range must[[]Entry](t)(p.a.List(RootIno, "", 0)) {
			if e.Node.Copy {
				if got := must[Node](t)(p.a.Get(e.Node.ID)); got.ID != e.Node.ID || textOf(t, got) != "A" {
					t.Errorf("copy by number: %+v", got)
				}
				if path := must[string](t)(p.a.Path(e.Node.ID)); path != "/"+e.Name {
					t.Errorf("path of the copy %q: %q", e.Name, path)
				}
				name = e.Name
			}
		}
		return p, name
	}
	t.Run("remove", func(t *testing.T) {
		p, name := conflict(t)
		p.remove(p.a, name)
		p.want(with(map[string]string{"/f.txt": "B"}))
	})
	t.Run("write", func(t *testing.T) {
		p, name := conflict(t)
		p.write(p.a, name, "C")
		p.want(with(map[string]string{"/f.txt": "B", "/f!pod1.txt": "C"}))
		if n := p.ino(p.b, name); n.Copy {
			t.Error("still a copy")
		}
	})
	t.Run("rename over the file", func(t *testing.T) {
		p, name := conflict(t)
		p.rename(p.a, name, "f.txt")
		p.want(with(map[string]string{"/f.txt": "A"}))
	})
	t.Run("remove the file", func(t *testing.T) {
		p, name := conflict(t)
		p.remove(p.a, "f.txt")
		p.want(with(map[string]string{"/f.txt": "", "/f!pod1.txt": "A"}))
		_ = name
	})
	t.Run("write the file", func(t *testing.T) {
		p, _ := conflict(t)
		p.write(p.a, "f.txt", "C")
		p.want(with(map[string]string{"/f.txt": "C", "/f!pod1.txt": "A"}))
	})
}

// TestDirtySibling: a row that arrives on a key with an uncommitted change stands beside it (I1b).
func TestDirtySibling(t *testing.T) {
	p := newApart(t)
	p.write(p.a, "f.txt", "A")
	p.write(p.b, "f.txt", "B")
	must[int](t)(p.b.Commit(t.Context()))
	pull(t, p.a, p.b) // A is dirty still
	if got := textOf(t, p.ino(p.a, "f.txt")); got != "B" {
		t.Errorf("shown is %q, want the newest", got)
	}
	p.want(with(map[string]string{"/f.txt": "B", "/f!pod1.txt": "A"}))
}

// TestApplyRefuses: commits that must not be applied.
func TestApplyRefuses(t *testing.T) {
	p := newApart(t)
	have := p.b.VV()
	p.write(p.a, "f.txt", "1")
	must[int](t)(p.a.Commit(t.Context()))
	p.write(p.a, "f.txt", "2")
	must[int](t)(p.a.Commit(t.Context()))
	log := must[[][]byte](t)(p.a.Log(t.Context(), have, 1<<20))
	if len(log) != 2 {
		t.Fatalf("%d commits", len(log))
	}
	if _, err := p.b.Apply(t.Context(), log[1:]); !errors.Is(err, ErrGap) {
		t.Errorf("second without the first: %v", err)
	}
	bad := append([]byte(nil), log[0]...)
	bad[len(bad)/2] ^= 1
	if _, err := p.b.Apply(t.Context(), [][]byte{bad}); err == nil {
		t.Error("changed bytes are applied")
	}
	if n, err := p.b.Apply(t.Context(), [][]byte{log[0], bad}); n != 1 || err == nil {
		t.Errorf("the one before the bad one: %d, %v", n, err)
	}
	if n, err := p.b.Apply(t.Context(), log); n != 1 || err != nil {
		t.Errorf("one known, one new: %d, %v", n, err)
	}
	foreign := newPods()
	foreign.id[0]++
	f := foreign.open(t, 1)
	if _, err := f.Apply(t.Context(), log); !errors.Is(err, ErrForeign) {
		t.Errorf("of another network: %v", err)
	}
	fork := p.n.open(t, 1)
	mkfile(t, fork, RootIno, "other", "")
	must[int](t)(fork.Commit(t.Context()))
	third := p.n.open(t, 3)
	pull(t, third, p.a)
	if n, err := third.Apply(t.Context(), must[[][]byte](t)(fork.Log(t.Context(), nil, 1<<20))); n != 1 || err != nil {
		t.Errorf("another commit 1: %d, %v", n, err)
	}
	if forks := must[[][]byte](t)(third.Forks()); len(forks) != 1 {
		t.Errorf("%d forks", len(forks))
	}
	stranger := p.n.open(t, 120)
	mkfile(t, stranger, RootIno, "s", "")
	must[int](t)(stranger.Commit(t.Context()))
	if n, err := p.b.Apply(t.Context(), must[[][]byte](t)(stranger.Log(t.Context(), nil, 1<<20))); n != 0 || err == nil {
		t.Errorf("of no member: %d, %v", n, err)
	}
	p.n.clock.turn(time.Hour)
	p.write(p.a, "f.txt", "3")
	must[int](t)(p.a.Commit(t.Context()))
	p.n.clock.turn(-time.Hour)
	if _, err := p.b.Apply(t.Context(), must[[][]byte](t)(p.a.Log(t.Context(), p.b.VV(), 1<<20))); !errors.Is(err, ErrFuture) {
		t.Errorf("an hour ahead: %v", err)
	}
	p.n.clock.turn(time.Hour)
	p.want(with(map[string]string{"/f.txt": "3"}))
}
