package state

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// conflicts is one line for each conflict of a pod: kind, path, its versions by author and what they are.
func (p *apart) conflicts(d *DB) []string {
	p.t.Helper()
	var out []string
	for _, c := range must[[]Conflict](p.t)(d.Conflicts(p.t.Context())) {
		line := fmt.Sprintf("%d %s:", c.Kind, join(p.path(d, c.Parent), c.Name))
		for i, v := range c.Versions {
			if i == 0 && (v.Parent != c.Parent || v.Name != c.Name) {
				p.t.Errorf("the first version of %s is not what is shown", line)
			}
			line += fmt.Sprintf(" %d=", v.Author.Member)
			switch {
			case v.Gone:
				line += "gone"
			case v.Node.Kind == vfs.KindFolder:
				line += "folder"
			default:
				line += textOf(p.t, v.Node)
			}
			if c.Kind == ConflictRenamed {
				line += "@" + join(p.path(d, v.Parent), v.Name)
			}
		}
		out = append(out, line)
	}
	return out
}

func (p *apart) path(d *DB, ino Ino) string { return must[string](p.t)(d.Path(ino)) }

func join(above, name string) string {
	if above == "/" {
		return "/" + name
	}
	return above + "/" + name
}

// resolve keeps the n-th version of the conflict at a path; -1: both.
func (p *apart) resolve(d *DB, path string, n int) error {
	p.t.Helper()
	parent, name := p.at(d, path)
	all := must[[]Conflict](p.t)(d.ConflictsAt(parent, name))
	if len(all) != 1 {
		p.t.Fatalf("%s: %d conflicts", path, len(all))
	}
	keep := KeepAll
	if n >= 0 {
		keep = all[0].Versions[n].ID
	}
	_, err := d.Resolve(parent, name, all[0].Kind, keep)
	p.tick()
	return err
}

// TestKeepSparesOtherNames: who keeps a file at one of its names, where another file claims it too, loses nothing of the conflict that is shown beside its other name.
func TestKeepSparesOtherNames(t *testing.T) {
	p := newApart(t)
	p.link(p.a, "f.txt", "n")
	p.write(p.a, "f.txt", "a")
	p.write(p.b, "f.txt", "b")
	p.make(p.b, "n", "other")
	exchange(t, p.a, p.b)
	all := must[[]Conflict](t)(p.a.ConflictsAt(p.at(p.a, "n")))
	if len(all) != 1 || len(all[0].Versions) != 2 {
		t.Fatalf("%+v", all)
	}
	i := slices.IndexFunc(all[0].Versions, func(v ConflictVersion) bool { return textOf(t, v.Node) != "other" })
	if err := p.resolve(p.a, "n", i); err != nil {
		t.Fatal(err)
	}
	p.want(with(map[string]string{"/f.txt": "b", "/f!pod1.txt": "a", "/n": "b"}))
	check(t, p.a)
	check(t, p.b)
}

// TestConflicts breaks if what was done apart is not listed on both pods, if what is no conflict is, or if a resolution leaves
// anything but what was chosen, on any pod.
func TestConflicts(t *testing.T) {
	mode := uint32(0o600)
	chmod := func(p *apart, d *DB, path string) {
		must[Node](p.t)(d.SetAttr(p.ino(d, path).ID, vfs.SetAttr{Mode: &mode}))
		p.tick()
	}
	for name, c := range map[string]struct {
		do   func(p *apart)
		list string              // "": none
		keep []map[string]string // the tree after keeping each version; then after keeping both
	}{
		"edit, edit": {
			do:   func(p *apart) { p.write(p.a, "f.txt", "a"); p.write(p.b, "f.txt", "b") },
			list: "1 /f.txt: 2=b 1=a",
			keep: []map[string]string{
				with(map[string]string{"/f.txt": "b"}), with(map[string]string{"/f.txt": "a"}),
				with(map[string]string{"/f.txt": "b", "/f!pod1.txt": "a"}),
			},
		},
		"create, create": {
			do:   func(p *apart) { p.make(p.a, "n", "a"); p.make(p.b, "n", "b") },
			list: "1 /n: 1=a 2=b",
			keep: []map[string]string{
				with(map[string]string{"/n": "a"}), with(map[string]string{"/n": "b"}), with(map[string]string{"/n": "a", "/n!pod2": "b"}),
			},
		},
		"save by rename, edit": {
			do: func(p *apart) {
				p.make(p.a, "tmp", "a")
				p.rename(p.a, "tmp", "f.txt")
				p.write(p.b, "f.txt", "b")
			},
			list: "1 /f.txt: 2=b 1=a",
			keep: []map[string]string{
				with(map[string]string{"/f.txt": "b"}), with(map[string]string{"/f.txt": "a"}),
				with(map[string]string{"/f.txt": "b", "/f!pod1.txt": "a"}),
			},
		},
		"chmod, delete": {
			do:   func(p *apart) { chmod(p, p.a, "f.txt"); p.remove(p.b, "f.txt") },
			list: "2 /f.txt: 1=old",
			keep: []map[string]string{with(nil), with(map[string]string{"/f.txt": ""}), with(nil)},
		},
		"unlink of two names": {
			do: func(p *apart) {
				p.link(p.a, "f.txt", "two")
				exchange(p.t, p.a, p.b)
				p.remove(p.a, "f.txt")
				p.remove(p.b, "two")
			},
			list: "2 /two:",
			keep: []map[string]string{
				with(map[string]string{"/f.txt": "", "/two": "old"}), with(map[string]string{"/f.txt": ""}),
				with(map[string]string{"/f.txt": "", "/two": "old"}),
			},
		},
		"rename, rename": {
			do:   func(p *apart) { p.rename(p.a, "f.txt", "a.txt"); p.rename(p.b, "f.txt", "d/b.txt") },
			list: "3 /d/b.txt: 2=old@/d/b.txt 1=old@/a.txt",
			keep: []map[string]string{
				with(map[string]string{"/f.txt": "", "/d/b.txt": "old"}), with(map[string]string{"/f.txt": "", "/a.txt": "old"}),
				with(map[string]string{"/f.txt": "", "/d/b.txt": "old"}),
			},
		},
		"folder, rename, rename": {
			do:   func(p *apart) { p.rename(p.a, "d", "d1"); p.rename(p.b, "d", "d2") },
			list: "3 /d2: 2=folder@/d2 1=folder@/d1",
			keep: []map[string]string{
				{"/f.txt": "old", "/d2": "folder", "/d2/x": "x", "/e": "folder"},
				{"/f.txt": "old", "/d1": "folder", "/d1/x": "x", "/e": "folder"},
				{"/f.txt": "old", "/d2": "folder", "/d2/x": "x", "/e": "folder"},
			},
		},
		"edit, delete":  {do: func(p *apart) { p.write(p.a, "f.txt", "a"); p.remove(p.b, "f.txt") }},
		"delete, edit":  {do: func(p *apart) { p.remove(p.a, "f.txt"); p.write(p.b, "f.txt", "b") }},
		"same bytes":    {do: func(p *apart) { p.write(p.a, "f.txt", "s"); p.write(p.b, "f.txt", "s") }},
		"rename, chmod": {do: func(p *apart) { p.rename(p.a, "f.txt", "g"); chmod(p, p.b, "f.txt") }},
		"renames, chmod": {do: func(p *apart) {
			p.rename(p.a, "f.txt", "g")
			must[int](p.t)(p.a.Commit(p.t.Context()))
			p.rename(p.a, "g", "h")
			chmod(p, p.b, "f.txt")
		}},
		"delete, delete": {do: func(p *apart) { p.remove(p.a, "f.txt"); p.remove(p.b, "f.txt") }},
	} {
		t.Run(name, func(t *testing.T) {
			for n := range max(len(c.keep), 1) {
				p := newApart(t)
				c.do(p)
				exchange(t, p.a, p.b)
				for i, d := range []*DB{p.a, p.b} {
					var want []string
					if c.list != "" {
						want = []string{c.list}
					}
					got := p.conflicts(d)
					if len(got) == 1 && c.list != "" && got[0][0] == '2' { // who removed it is known where the removal came to
						got[0] = got[0][:min(len(got[0]), len(c.list))]
					}
					if diff := cmp.Diff(got, want); diff != "" {
						t.Fatalf("pod %d: got - want +\n%s", i+1, diff)
					}
				}
				if len(c.keep) == 0 {
					return
				}
				path := c.list[3:][:slices.Index([]byte(c.list[3:]), ':')]
				keep := n
				if n == len(c.keep)-1 {
					keep = -1
				}
				if err := p.resolve([]*DB{p.a, p.b}[n%2], path, keep); err != nil {
					t.Fatal(err)
				}
				p.want(c.keep[n])
				for i, d := range []*DB{p.a, p.b} {
					if got := p.conflicts(d); len(got) > 0 {
						t.Errorf("pod %d after keeping %d: %v", i+1, keep, got)
					}
					check(t, d)
				}
			}
		})
	}
}

// TestResolveKeepsWhatIsInAFolder breaks if a file that is kept in place of a folder takes what is in that along.
func TestResolveKeepsWhatIsInAFolder(t *testing.T) {
	p := newApart(t)
	p.make(p.a, "n", "file")
	p.make(p.b, "n", "folder")
	p.make(p.b, "n/in", "precious")
	exchange(t, p.a, p.b)
	if got, want := p.conflicts(p.a), []string{"1 /n: 2=folder 1=file"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	if err := p.resolve(p.a, "n", 1); err == nil {
		t.Error("a folder that is not empty was removed")
	}
	if err := p.resolve(p.a, "n", 0); err != nil {
		t.Fatal(err)
	}
	p.want(with(map[string]string{"/n": "folder", "/n/in": "precious"}))
}

// TestApartMarkFormat breaks if the bytes of a mark change.
func TestApartMarkFormat(t *testing.T) {
	m := apartMark{
		ino: 9, kind: ConflictRenamed, vv: VV{actor(1): 3, actor(2): 4}, at: at(1000, 1).HLC, ts: at(900, 2), link: 7, parent: RootIno, name: "a\xff",
	}
	golden(t, "apart-mark", m.encode())
	got, err := decodeApartMark(apartKey(m.ino, m.kind), m.encode())
	if err != nil || !cmp.Equal(got, m, cmp.AllowUnexported(apartMark{})) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzApartMark(f *testing.F) {
	key := apartKey(9, ConflictRenamed)
	fuzz(f, func(b []byte) (apartMark, error) { return decodeApartMark(key, b) }, func(m apartMark) []byte { return m.encode() }, "apart-mark")
}

// TestJoinListsNoMarks: what was deleted elsewhere, or renamed twice, is listed by a pod that applied both commits, and not by one that joined a tree of the same
// roots; several contents are listed by both. If it fails, docs/adr/0012 is no longer true.
func TestJoinListsNoMarks(t *testing.T) {
	n := newJoinPods()
	a, b := n.open(t, 1), n.open(t, 2)
	kept := mkfile(t, a, RootIno, "kept", "x")
	mkfile(t, a, RootIno, "moved", "y")
	both := mkfile(t, a, RootIno, "both", "z")
	exchange(t, a, b)
	mode := uint32(0o600)
	must[Node](t)(a.SetAttr(kept.ID, vfs.SetAttr{Mode: &mode}))
	must[Node](t)(a.Rename(RootIno, "moved", RootIno, "of a", 0))
	must[Node](t)(a.SetContent(both.ID, inline("of a")))
	n.clock.turn(time.Second)
	must[Node](t)(b.Remove(RootIno, "kept", false))
	must[Node](t)(b.Rename(RootIno, "moved", RootIno, "of b", 0))
	must[Node](t)(b.SetContent(both.ID, inline("of b")))
	exchange(t, a, b)
	fresh := n.open(t, 3)
	joinAll(t, fresh, a)
	wantSame(t, []*DB{a, b, fresh})
	kinds := func(d *DB) (out []ConflictKind) {
		for _, c := range must[[]Conflict](t)(d.Conflicts(t.Context())) {
			out = append(out, c.Kind)
		}
		return out
	}
	for d, want := range map[*DB][]ConflictKind{
		a: {ConflictContents, ConflictDeleted, ConflictRenamed}, b: {ConflictContents, ConflictDeleted, ConflictRenamed}, fresh: {ConflictContents},
	} {
		if diff := cmp.Diff(kinds(d), want); diff != "" {
			t.Errorf("pod %s: got - want +\n%s", d.Actor(), diff)
		}
	}
}
