package pod

import (
	"fmt"
	"maps"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// base is the tree of theseTwo.
var base = map[string]string{
	"/f.txt": "old", "/d": "folder", "/d/x": "x", "/d/y": "y", "/e": "folder", "/g.txt": "linked", "/h.txt": "linked",
}

// with is base with changes; "" takes away.
func with(changes map[string]string) map[string]string {
	out := maps.Clone(base)
	for p, text := range changes {
		if out[p] = text; text == "" {
			delete(out, p)
		}
	}
	return out
}

// A mergeRow is what two pods do apart, and what both show when they have met. All that first does is stamped earlier than what second does,
// as far as do is called once; in want, !1 is a conflict copy of what first wrote.
type mergeRow struct {
	name string
	do   func(first, second *sidePod)
	want map[string]string // changes to base
	// listed is the kind and path of the one conflict that is listed besides several contents; "": it is not looked at.
	listed string
	then   func(p *apart, s *sidePod)        // looks closer, on each pod, while they are apart again
	both   func(p *apart, one, two *sidePod) // goes on, and ends with another want
}

// mergeRows is DESIGN's table of concurrent changes, a row after the other.
var mergeRows = []mergeRow{
	// both edit a file: the newest is shown, the other beside it
	{name: "edit, edit", do: func(first, second *sidePod) {
		first.write("/f.txt", "A")
		second.write("/f.txt", "B")
	}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "A"}},
	{name: "edit, edit through a hard link", do: func(first, second *sidePod) {
		first.write("/g.txt", "A")
		second.write("/h.txt", "B")
	}, want: map[string]string{"/g.txt": "B", "/h.txt": "B", "/g!1.txt": "A"}},
	{name: "edit, truncate", do: func(first, second *sidePod) {
		first.write("/f.txt", "A")
		size := uint64(0)
		second.set("/f.txt", vfs.SetAttr{Size: &size})
	}, want: map[string]string{"/f.txt": "0 bytes that nobody wrote", "/f!1.txt": "A"}},
	{name: "edits, edits", do: func(first, second *sidePod) {
		first.write("/f.txt", "A1")
		second.write("/f.txt", "B1")
		first.write("/f.txt", "A2")
		second.write("/f.txt", "B2")
		first.write("/f.txt", "A3")
	}, want: map[string]string{"/f.txt": "A3", "/f!2.txt": "B2"}},

	// same bytes both sides: nothing to see
	{name: "same bytes", do: func(first, second *sidePod) {
		first.write("/f.txt", "same")
		second.write("/f.txt", "same")
	}, want: map[string]string{"/f.txt": "same"}},
	{name: "same bytes at last", do: func(first, second *sidePod) {
		first.write("/f.txt", "A")
		second.write("/f.txt", "B")
		first.write("/f.txt", "same")
		second.write("/f.txt", "same")
	}, want: map[string]string{"/f.txt": "same"}},

	// edit / delete: the edit wins and stays at its name
	{name: "edit, delete", do: func(first, second *sidePod) {
		first.write("/f.txt", "A")
		second.rm("/f.txt")
	}, want: map[string]string{"/f.txt": "A"}},
	{name: "delete, edit", do: func(first, second *sidePod) {
		first.rm("/f.txt")
		second.write("/f.txt", "B")
	}, want: map[string]string{"/f.txt": "B"}},
	{name: "delete and make again, edit", do: func(first, second *sidePod) {
		first.rm("/f.txt")
		first.write("/f.txt", "A")
		second.write("/f.txt", "B")
	}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "A"}},

	// chmod, utimes, xattr, link or rename / delete: the file stays
	{name: "chmod, delete", listed: "deleted /f.txt", do: func(first, second *sidePod) {
		first.chmod("/f.txt", 0o600)
		second.rm("/f.txt")
	}, then: func(p *apart, s *sidePod) { s.hasMode("/f.txt", 0o600) }},
	{name: "delete, chmod", listed: "deleted /f.txt", do: func(first, second *sidePod) {
		first.rm("/f.txt")
		second.chmod("/f.txt", 0o600)
	}, then: func(p *apart, s *sidePod) { s.hasMode("/f.txt", 0o600) }},
	{name: "utimes, delete", listed: "deleted /f.txt", do: func(first, second *sidePod) {
		first.utimes("/f.txt", 1e18)
		second.rm("/f.txt")
	}, then: func(p *apart, s *sidePod) { s.hasMtime("/f.txt", 1e18) }},
	{name: "xattr, delete", listed: "deleted /f.txt", do: func(first, second *sidePod) {
		first.setXattr("/f.txt", "user.k", "v")
		second.rm("/f.txt")
	}, then: func(p *apart, s *sidePod) { s.hasXattr("/f.txt", "user.k", "v") }},
	{name: "link, delete", listed: "deleted /f.txt", do: func(first, second *sidePod) {
		first.link("/f.txt", "/e/l")
		second.rm("/f.txt")
	}, want: map[string]string{"/e/l": "old"}, then: func(p *apart, s *sidePod) { s.hasLinks("/f.txt", 2) }},
	{name: "two links, delete", listed: "deleted /f.txt", do: func(first, second *sidePod) {
		first.links("/f.txt", "/e/l1", "/e/l2")
		second.rm("/f.txt")
	}, want: map[string]string{"/e/l1": "old", "/e/l2": "old"}, then: func(_ *apart, s *sidePod) { s.hasLinks("/f.txt", 3) }},
	{name: "rename, delete", listed: "deleted /e/n", do: func(first, second *sidePod) {
		first.mv("/f.txt", "/e/n")
		second.rm("/f.txt")
	}, want: map[string]string{"/f.txt": "", "/e/n": "old"}},
	{name: "delete, rename", listed: "deleted /e/n", do: func(first, second *sidePod) {
		first.rm("/f.txt")
		second.mv("/f.txt", "/e/n")
	}, want: map[string]string{"/f.txt": "", "/e/n": "old"}},

	// rename / edit, rename / chmod: both apply
	{name: "rename, edit", do: func(first, second *sidePod) {
		first.mv("/f.txt", "/e/n")
		second.write("/f.txt", "B")
	}, want: map[string]string{"/f.txt": "", "/e/n": "B"}},
	{name: "edit, rename", do: func(first, second *sidePod) {
		first.write("/f.txt", "A")
		second.mv("/f.txt", "/e/n")
	}, want: map[string]string{"/f.txt": "", "/e/n": "A"}},
	{name: "rename, chmod", do: func(first, second *sidePod) {
		first.mv("/f.txt", "/e/n")
		second.chmod("/f.txt", 0o600)
	}, want: map[string]string{"/f.txt": "", "/e/n": "old"}, then: func(p *apart, s *sidePod) { s.hasMode("/e/n", 0o600) }},
	{name: "chmod, rename", do: func(first, second *sidePod) {
		first.chmod("/f.txt", 0o600)
		second.mv("/f.txt", "/e/n")
	}, want: map[string]string{"/f.txt": "", "/e/n": "old"}, then: func(p *apart, s *sidePod) { s.hasMode("/e/n", 0o600) }},
	{name: "rename of the folder, edit inside", do: func(first, second *sidePod) {
		first.mv("/d", "/e/d2")
		second.write("/d/x", "B")
		second.write("/d/new", "C")
	}, want: map[string]string{"/d": "", "/d/x": "", "/d/y": "", "/e/d2": "folder", "/e/d2/x": "B", "/e/d2/y": "y", "/e/d2/new": "C"}},

	// rename / rename of one inode: the later wins
	{name: "rename, rename", listed: "renamed /d/m", do: func(first, second *sidePod) {
		first.mv("/f.txt", "/e/n")
		second.mv("/f.txt", "/d/m")
	}, want: map[string]string{"/f.txt": "", "/d/m": "old"}},
	{name: "rename, rename of a folder", do: func(first, second *sidePod) {
		first.mv("/d", "/d1")
		second.mv("/d", "/e/d2")
		first.write("/d1/in", "A")
	}, want: map[string]string{"/d": "", "/d/x": "", "/d/y": "", "/e/d2": "folder", "/e/d2/x": "x", "/e/d2/y": "y", "/e/d2/in": "A"}},

	// create / create at one name: both live; the earlier keeps the name
	{name: "create, create", do: func(first, second *sidePod) {
		first.write("/n.txt", "A")
		second.write("/n.txt", "B")
	}, want: map[string]string{"/n.txt": "A", "/n!2.txt": "B"}},
	{name: "symlink, file", do: func(first, second *sidePod) {
		first.symlink("/n", "f.txt")
		second.write("/n", "B")
	}, want: map[string]string{"/n": "-> f.txt", "/n!2": "B"}},
	{name: "create, rename to the name", do: func(first, second *sidePod) {
		second.write("/m.txt", "B")
		first.write("/n.txt", "A")
		second.mv("/m.txt", "/n.txt")
	}, want: map[string]string{"/n.txt": "A", "/n!2.txt": "B"}},

	// save by rename / edit or another save: one lineage, the newest is shown
	{name: "save, edit", do: func(first, second *sidePod) {
		first.save("/f.txt", "A")
		second.write("/f.txt", "B")
	}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "A"}},
	{name: "edit, save", do: func(first, second *sidePod) {
		first.write("/f.txt", "A")
		second.save("/f.txt", "B")
	}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "A"}},
	{name: "save, save", do: func(first, second *sidePod) {
		first.save("/f.txt", "A")
		second.save("/f.txt", "B")
	}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "A"}},
	{name: "saves, saves", do: func(first, second *sidePod) {
		first.save("/f.txt", "A1")
		second.save("/f.txt", "B1")
		second.save("/f.txt", "B2")
		first.save("/f.txt", "A2")
	}, want: map[string]string{"/f.txt": "A2", "/f!2.txt": "B2"}},
	{name: "save, delete", do: func(first, second *sidePod) {
		first.save("/f.txt", "A")
		second.rm("/f.txt")
	}, want: map[string]string{"/f.txt": "A"}},

	// save by rename / rename of the file elsewhere: new bytes at the old name, old bytes at the new one
	{name: "save, rename elsewhere", do: func(first, second *sidePod) {
		first.save("/f.txt", "A")
		second.mv("/f.txt", "/e/n")
	}, want: map[string]string{"/f.txt": "A", "/e/n": "old"}},
	{name: "rename elsewhere, save", do: func(first, second *sidePod) {
		first.mv("/f.txt", "/e/n")
		second.save("/f.txt", "B")
	}, want: map[string]string{"/f.txt": "B", "/e/n": "old"}},

	// unlink of two names of one file, apart: the name that died last stays
	{name: "unlink, unlink of another name", do: func(first, second *sidePod) {
		first.rm("/g.txt")
		second.rm("/h.txt")
	}, want: map[string]string{"/g.txt": ""}, then: func(p *apart, s *sidePod) {
		if n := s.row("/h.txt"); !n.Deleted || n.NLink != 1 {
			s.t.Errorf("/h.txt: deleted elsewhere: %t, %d links", n.Deleted, n.NLink)
		}
	}, both: func(p *apart, one, two *sidePod) {
		two.rm("/h.txt")
		p.want(with(map[string]string{"/g.txt": "", "/h.txt": ""}))
	}},

	// mkdir / mkdir at one name: one folder with both contents
	{name: "mkdir, mkdir", do: func(first, second *sidePod) {
		for i, s := range []*sidePod{first, second} {
			s.mkdir("/n")
			s.mkdir("/n/sub")
			s.write(fmt.Sprintf("/n/sub/%d", i+1), "in")
		}
	}, want: map[string]string{"/n": "folder", "/n/sub": "folder", "/n/sub/1": "in", "/n/sub/2": "in"}},
	{name: "mkdir again, mkdir again", do: func(first, second *sidePod) {
		for i, s := range []*sidePod{first, second} {
			s.rmdir("/e")
			s.mkdir("/e")
			s.write(fmt.Sprintf("/e/%d", i+1), "in")
		}
	}, want: map[string]string{"/e/1": "in", "/e/2": "in"}},
	{name: "mkdir after the folder moved away, mkdir after it moved away", do: func(first, second *sidePod) {
		for i, s := range []*sidePod{first, second} {
			s.mv("/d", "/moved")
			s.mkdir("/d")
			s.write(fmt.Sprintf("/d/%d", i+1), "in")
		}
	}, want: map[string]string{
		"/d/x": "", "/d/y": "", "/d/1": "in", "/d/2": "in", "/moved": "folder", "/moved/x": "x", "/moved/y": "y",
	}},

	{name: "mkdir and rename, mkdir", do: func(first, second *sidePod) {
		first.mkdir("/n")
		first.write("/n/1", "A")
		first.mv("/n", "/m")
		second.mkdir("/n") // the same folder: a rename is later than any mkdir
		second.write("/n/2", "B")
	}, want: map[string]string{"/m": "folder", "/m/1": "A", "/m/2": "B"}},

	// file / folder at one name: the folder keeps it
	{name: "file, folder", do: func(first, second *sidePod) {
		first.write("/n.txt", "A")
		second.mkdir("/n.txt")
		second.write("/n.txt/in", "B")
	}, want: map[string]string{"/n.txt": "folder", "/n.txt/in": "B", "/n!1.txt": "A"}},
	{name: "folder, file", do: func(first, second *sidePod) {
		first.mkdir("/n.txt")
		second.write("/n.txt", "B")
	}, want: map[string]string{"/n.txt": "folder", "/n!2.txt": "B"}},
	{name: "save over the file, folder", do: func(first, second *sidePod) {
		first.save("/f.txt", "A")
		second.rm("/f.txt")
		second.mkdir("/f.txt")
	}, want: map[string]string{"/f.txt": "folder", "/f!1.txt": "A"}},

	// rm -r / create inside: the folder comes back holding only the new things
	{name: "rm -r, create inside", do: func(first, second *sidePod) {
		first.rmAll("/d")
		second.write("/d/new", "B")
	}, want: map[string]string{"/d/x": "", "/d/y": "", "/d/new": "B"}, both: func(p *apart, one, two *sidePod) {
		one.write("/d/more", "C") // makes it live again
		two.rm("/d/new")
		p.want(with(map[string]string{"/d/x": "", "/d/y": "", "/d/more": "C"}))
		one.rm("/d/more")
		p.want(with(map[string]string{"/d/x": "", "/d/y": ""}))
	}},
	{name: "create inside, rm -r", do: func(first, second *sidePod) {
		first.mkdir("/d/sub")
		first.write("/d/sub/new", "A")
		second.rmAll("/d")
	}, want: map[string]string{"/d/x": "", "/d/y": "", "/d/sub": "folder", "/d/sub/new": "A"}},
	{name: "rm -r, edit inside", do: func(first, second *sidePod) {
		first.rmAll("/d")
		second.write("/d/x", "B")
	}, want: map[string]string{"/d/x": "B", "/d/y": ""}},
	{name: "rm -r, move inside", do: func(first, second *sidePod) {
		first.rmAll("/d")
		second.mv("/f.txt", "/d/f")
		second.mv("/e", "/d/e")
	}, want: map[string]string{"/d/x": "", "/d/y": "", "/f.txt": "", "/d/f": "old", "/e": "", "/d/e": "folder"}},
	{name: "rm -r, rename of the folder", do: func(first, second *sidePod) {
		first.rmAll("/d")
		second.mv("/d", "/d2")
		second.write("/d2/new", "B")
	}, want: map[string]string{"/d": "", "/d/x": "", "/d/y": "", "/d2": "folder", "/d2/new": "B"}},
	{name: "rm -r and mkdir again, create inside", do: func(first, second *sidePod) {
		first.rmAll("/d")
		first.mkdir("/d")
		second.write("/d/new", "B")
	}, want: map[string]string{"/d/x": "", "/d/y": "", "/d/new": "B"}},
	{name: "rm -r two deep, create two deep", do: func(first, second *sidePod) {
		first.rmAll("/d")
		second.mkdir("/d/1")
		second.mkdir("/d/1/2")
	}, want: map[string]string{"/d/x": "", "/d/y": "", "/d/1": "folder", "/d/1/2": "folder"}, both: func(p *apart, one, two *sidePod) {
		one.rmAll("/d/1") // who works in the folder makes it live again
		p.want(with(map[string]string{"/d/x": "", "/d/y": ""}))
	}},

	// A into B / B into A: the later move is undone
	{name: "A into B, B into A", do: func(first, second *sidePod) {
		first.mv("/d", "/e/d")
		second.mv("/e", "/d/e")
	}, want: map[string]string{"/d": "", "/d/x": "", "/d/y": "", "/e/d": "folder", "/e/d/x": "x", "/e/d/y": "y"}, both: func(p *apart, one, two *sidePod) {
		// The rows have a loop still, in which work goes on.
		one.mkdir("/e/d/new")
		two.mkdir("/m")
		two.mv("/m", "/e/d/m")
		p.want(with(map[string]string{
			"/d": "", "/d/x": "", "/d/y": "", "/e/d": "folder", "/e/d/x": "x", "/e/d/y": "y", "/e/d/new": "folder", "/e/d/m": "folder",
		}))
	}},
	{name: "A into B, B into C into A", do: func(first, second *sidePod) {
		first.mkdir("/c")
		first.mkdir("/c/in")
		second.mkdir("/c")
		first.mv("/d", "/e/d")
		second.mv("/e", "/c/e")
		second.mv("/c", "/d/c")
	}, want: map[string]string{
		"/d": "", "/d/x": "", "/d/y": "", "/e": "", "/c": "folder", "/c/in": "folder", "/c/e": "folder", "/c/e/d": "folder", "/c/e/d/x": "x", "/c/e/d/y": "y",
	}},

	// attributes: per field, the latest; never a conflict
	{name: "attributes", do: func(first, second *sidePod) {
		first.chmod("/f.txt", 0o600)
		first.chown("/f.txt", 1)
		first.setXattr("/f.txt", "user.both", "1")
		first.setXattr("/f.txt", "user.first", "1")
		first.utimes("/d", 1e18)
		second.chmod("/f.txt", 0o640)
		second.setXattr("/f.txt", "user.both", "2")
		second.utimes("/f.txt", 2e18)
		second.chmod("/d", 0o700)
	}, then: func(p *apart, s *sidePod) {
		s.hasMode("/f.txt", 0o640)
		s.hasMode("/d", 0o700)
		s.hasMtime("/f.txt", 2e18)
		s.hasMtime("/d", 1e18)
		s.hasXattr("/f.txt", "user.both", "2")
		s.hasXattr("/f.txt", "user.first", "1")
		if a := s.at("/f.txt"); a.UID != 1 {
			s.t.Errorf("owner %d", a.UID)
		}
	}},
	{name: "edit, attributes", do: func(first, second *sidePod) {
		first.write("/f.txt", "A")
		second.chmod("/f.txt", 0o600)
		second.setXattr("/f.txt", "user.k", "v")
	}, want: map[string]string{"/f.txt": "A"}, then: func(p *apart, s *sidePod) {
		s.hasMode("/f.txt", 0o600)
		s.hasXattr("/f.txt", "user.k", "v")
	}},
}

// TestMergeTable breaks if two pods that did things apart don't show both, when they meet, what DESIGN's table of concurrent changes says: with
// one root, and with the bytes of every version on each of them.
func TestMergeTable(t *testing.T) { testRows(t, mergeRows) }

// TestMergeEncrypted breaks if pods of an encrypted network, whose chunks are sealed, merge in another way.
func TestMergeEncrypted(t *testing.T) {
	two := theseTwoOf(t, pairOf(t, openPod(t, createEncrypted(t))))
	for _, row := range mergeRows {
		switch row.name {
		case "edit, edit", "same bytes", "save, save", "create, create":
			t.Run(row.name, func(t *testing.T) { row.test(two.open(t), 0) })
		}
	}
}

func testRows(t *testing.T, rows []mergeRow) {
	t.Helper()
	two := newTheseTwo(t)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.test(two.open(t), 0)
			if testing.Short() {
				return
			}
			// The numbers of actors decide ties: nothing may hang on who is the first.
			row.test(two.open(t), 1)
		})
	}
}

// test has pod number first go first.
func (row *mergeRow) test(p *apart, first int) {
	p.t.Helper()
	p.pods[0], p.pods[1] = p.pods[first], p.pods[1-first]
	p.pods[1].lazy = first == 1
	row.do(p.pods[0], p.pods[1])
	p.want(with(row.want))
	for _, s := range p.pods {
		s.lists(row.listed)
	}
	if row.then != nil {
		for _, s := range p.pods {
			row.then(p, s)
		}
	}
	if row.both != nil {
		row.both(p, p.pods[0], p.pods[1])
	}
	for _, s := range p.pods {
		s.stop()
	}
}

// lists says whether one conflict is listed, and no other but several contents.
func (s *sidePod) lists(want string) {
	s.t.Helper()
	if want == "" {
		return
	}
	all, err := s.Conflicts(quickly(s.t), "/")
	var got []string
	for _, c := range all {
		if c.Kind != "contents" {
			got = append(got, c.Kind+" "+c.Path)
		}
	}
	if err != nil || len(got) != 1 || got[0] != want {
		s.t.Errorf("%s lists %q, want %q: %v", s.Info().Name, got, want, err)
	}
}

func (s *sidePod) hasMode(p string, want uint32) {
	s.t.Helper()
	if got := s.at(p).Mode; got != want {
		s.t.Errorf("mode of %s: %o, want %o", p, got, want)
	}
}

func (s *sidePod) hasMtime(p string, want int64) {
	s.t.Helper()
	if got := s.at(p).Mtime; got != want {
		s.t.Errorf("mtime of %s: %d, want %d", p, got, want)
	}
}

func (s *sidePod) hasXattr(p, name, want string) {
	s.t.Helper()
	if got := s.xattr(p, name); got != want {
		s.t.Errorf("%s of %s: %q, want %q", name, p, got, want)
	}
}

func (s *sidePod) hasLinks(p string, want uint32) {
	s.t.Helper()
	if got := s.at(p).NLink; got != want {
		s.t.Errorf("%s has %d links, want %d", p, got, want)
	}
}
