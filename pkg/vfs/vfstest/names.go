package vfstest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

const root = vfs.RootID

var newFile = vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644}

// nameCases are the rules of making, finding, listing, linking and removing names.
var nameCases = []testCase{
	{name: "root", run: func(t *tester) {
		a := t.attr(root)
		equal(t, "number", a.ID, root)
		equal(t, "kind", a.Kind, vfs.KindFolder)
		parent, err := t.fs.Parent(t.ctx, root)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "parent", parent, root)
		t.wantNames(root)
	}},
	{name: "create/every_kind", run: func(t *tester) {
		kinds := []vfs.Kind{vfs.KindFile, vfs.KindFolder, vfs.KindSymlink, vfs.KindFIFO, vfs.KindSocket, vfs.KindCharDev, vfs.KindBlockDev}
		for _, kind := range kinds {
			n := vfs.NewNode{Kind: kind, Mode: 0o640, UID: 7, GID: 8}
			switch kind {
			case vfs.KindSymlink:
				n.Target, n.Mode = "some/where", 0o777
			case vfs.KindCharDev, vfs.KindBlockDev:
				n.RDev = 1<<8 | 3
			}
			name := fmt.Sprint("kind", kind)
			made := t.create(root, name, n)
			for what, a := range map[string]vfs.Attr{"made": made, "looked up": t.lookup(root, name), "by number": t.attr(made.ID)} {
				got := vfs.NewNode{Kind: a.Kind, Mode: a.Mode, UID: a.UID, GID: a.GID, RDev: a.RDev, Target: n.Target}
				equal(t, what, got, n)
				equal(t, what+": number", a.ID, made.ID)
				if kind == vfs.KindSymlink {
					equal(t, what+": size", a.Size, uint64(len(n.Target)))
				}
				if kind != vfs.KindFolder {
					equal(t, what+": links", a.NLink, 1)
				}
			}
		}
		equal(t, "names", len(t.names(root)), len(kinds))
	}},
	{name: "create/refused", run: func(t *tester) {
		t.file(root, "file", "")
		for name, want := range map[string]error{
			"": vfs.ErrBadName, ".": vfs.ErrBadName, "..": vfs.ErrBadName, "a/b": vfs.ErrBadName,
			"a\x00b": vfs.ErrBadName, strings.Repeat("x", vfs.NameMax+1): vfs.ErrNameTooLong, "file": vfs.ErrExist,
		} {
			_, err := t.fs.Create(t.ctx, root, name, newFile)
			t.wantErr(fmt.Sprintf("create %.20q", name), err, want)
		}
		_, err := t.fs.Create(t.ctx, t.lookup(root, "file").ID, "x", newFile)
		t.wantErr("create in a file", err, vfs.ErrNotDir)
		_, err = t.fs.Create(t.ctx, 1<<40, "x", newFile)
		t.wantErr("create in nothing", err, vfs.ErrNotExist)
		_, err = t.fs.Create(t.ctx, root, "x", vfs.NewNode{Kind: vfs.KindSymlink})
		t.wantErr("symlink to nothing", err, vfs.ErrInvalid, vfs.ErrNotExist)
		t.wantNames(root, "file")
	}},
	{name: "create/long_names", run: func(t *tester) {
		names := []string{strings.Repeat("x", vfs.NameMax), strings.Repeat("ä", vfs.NameMax/2), "\xff\xfe not UTF-8", "new\nline", "…"}
		for _, name := range names {
			t.file(root, name, "")
		}
		slices.Sort(names)
		t.wantNames(root, names...)
	}},
	{name: "create/moves_parents_mtime", run: func(t *tester) {
		before := t.attr(root)
		t.folder(root, "d")
		after := t.attr(root)
		t.later("mtime", after.Mtime, before.Mtime)
		if before.NLink != 1 {
			equal(t, "links of the parent", after.NLink, before.NLink+1)
		}
	}},
	{name: "lookup/errors", run: func(t *tester) {
		id := t.file(root, "f", "")
		_, err := t.fs.Lookup(t.ctx, root, "g")
		t.wantErr("missing name", err, vfs.ErrNotExist)
		_, err = t.fs.Lookup(t.ctx, id, "g")
		t.wantErr("in a file", err, vfs.ErrNotDir)
		_, err = t.fs.Lookup(t.ctx, root, strings.Repeat("x", vfs.NameMax+1))
		t.wantErr("long name", err, vfs.ErrNameTooLong)
		_, err = t.fs.GetAttr(t.ctx, 1<<40)
		t.wantErr("missing number", err, vfs.ErrNotExist)
	}},
	{name: "readdir/pages", run: func(t *tester) {
		var want []string
		for i := range 100 {
			want = append(want, fmt.Sprintf("f%02d", i))
		}
		for i := range want {
			t.file(root, want[(i*37)%len(want)], "")
		}
		var got []string
		for after := ""; ; after = got[len(got)-1] {
			list, err := t.fs.ReadDir(t.ctx, root, after, 7)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) > 7 {
				t.Fatalf("a page of %d, limit 7", len(list))
			}
			if len(list) == 0 {
				break
			}
			for _, e := range list {
				equal(t, "number", e.Attr.ID, t.lookup(root, e.Name).ID)
				got = append(got, e.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("names: got %q, want %q", got, want)
		}
		list, err := t.fs.ReadDir(t.ctx, root, "f50x", 1) // after a name that is not there
		if err != nil || len(list) != 1 || list[0].Name != "f51" {
			t.Fatalf("after f50x: %v, %v", list, err)
		}
		_, err = t.fs.ReadDir(t.ctx, t.lookup(root, "f00").ID, "", 1)
		t.wantErr("list a file", err, vfs.ErrNotDir)
	}},
	{name: "symlink/target", run: func(t *tester) {
		long := strings.Repeat("t/", vfs.TargetMax/2) + "t"
		for name, target := range map[string]string{"up": "../..", "root": "/", "long": long, "gone": "no such file"} {
			id := t.create(root, name, vfs.NewNode{Kind: vfs.KindSymlink, Mode: 0o777, Target: target}).ID
			got, err := t.fs.ReadLink(t.ctx, id)
			if err != nil || got != target {
				t.Fatalf("target of %s: %.40q, %v", name, got, err)
			}
		}
		_, err := t.fs.ReadLink(t.ctx, t.file(root, "f", ""))
		t.wantErr("target of a file", err, vfs.ErrInvalid)
		_, err = t.fs.Lookup(t.ctx, t.lookup(root, "root").ID, "f")
		t.wantErr("lookup in a symlink", err, vfs.ErrNotDir)
	}},
	{name: "link/one_file", run: func(t *tester) {
		d := t.folder(root, "d")
		id := t.file(root, "a", "text")
		before := t.attr(id)
		a, err := t.fs.Link(t.ctx, id, d, "b")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "number", a.ID, id)
		equal(t, "links", a.NLink, 2)
		t.later("ctime", a.Ctime, before.Ctime)
		equal(t, "number of b", t.lookup(d, "b").ID, id)
		if err := t.fs.Remove(t.ctx, root, "a", false); err != nil {
			t.Fatal(err)
		}
		equal(t, "links", t.attr(id).NLink, 1)
		equal(t, "content", t.content(t.lookup(d, "b").ID), "text")
	}},
	{name: "link/refused", run: func(t *tester) {
		d, f := t.folder(root, "d"), t.file(root, "f", "")
		_, err := t.fs.Link(t.ctx, d, root, "x")
		t.wantErr("of a folder", err, vfs.ErrNotPermitted)
		_, err = t.fs.Link(t.ctx, f, root, "d")
		t.wantErr("name taken", err, vfs.ErrExist)
		_, err = t.fs.Link(t.ctx, f, f, "x")
		t.wantErr("in a file", err, vfs.ErrNotDir)
		_, err = t.fs.Link(t.ctx, f, root, "..")
		t.wantErr("bad name", err, vfs.ErrBadName)
		t.wantNames(root, "d", "f")
	}},
	{name: "remove/rules", run: func(t *tester) {
		d := t.folder(root, "d")
		t.file(d, "f", "")
		t.wantErr("unlink a folder", t.fs.Remove(t.ctx, root, "d", false), vfs.ErrIsDir)
		t.wantErr("rmdir a file", t.fs.Remove(t.ctx, d, "f", true), vfs.ErrNotDir)
		t.wantErr("rmdir a full folder", t.fs.Remove(t.ctx, root, "d", true), vfs.ErrNotEmpty)
		t.wantErr("unlink nothing", t.fs.Remove(t.ctx, root, "x", false), vfs.ErrNotExist)
		t.wantErr("rmdir nothing", t.fs.Remove(t.ctx, root, "x", true), vfs.ErrNotExist)
		before := t.attr(root)
		if err := t.fs.Remove(t.ctx, d, "f", false); err != nil {
			t.Fatal(err)
		}
		if err := t.fs.Remove(t.ctx, root, "d", true); err != nil {
			t.Fatal(err)
		}
		after := t.attr(root)
		t.later("mtime of the parent", after.Mtime, before.Mtime)
		if before.NLink != 1 {
			equal(t, "links of the parent", after.NLink, before.NLink-1)
		}
		_, err := t.fs.GetAttr(t.ctx, d)
		t.wantErr("attributes of what was removed", err, vfs.ErrNotExist)
		_, err = t.fs.Create(t.ctx, d, "x", newFile)
		t.wantErr("create in a removed folder", err, vfs.ErrNotExist)
		t.wantNames(root)
	}},
	{name: "remove/again_and_again", run: func(t *tester) {
		for i := range 5 { // the same folder, made anew, is empty each time
			d := t.folder(root, "d")
			t.wantNames(d)
			t.file(d, "f", fmt.Sprint(i))
			if err := t.fs.Remove(t.ctx, d, "f", false); err != nil {
				t.Fatal(err)
			}
			if err := t.fs.Remove(t.ctx, root, "d", true); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{name: "path/resolve", run: func(t *tester) {
		b := t.folder(t.folder(root, "a"), "b")
		f := t.file(b, "f", "")
		l := t.create(root, "l", vfs.NewNode{Kind: vfs.KindSymlink, Mode: 0o777, Target: "a"}).ID
		for path, want := range map[string]vfs.NodeID{"/": root, "/a/b": b, "//a//b/f": f, "/a/b/": b, "/l": l} {
			a, err := vfs.Resolve(t.ctx, t.fs, path)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, path, a.ID, want)
		}
		for path, want := range map[string]error{
			"a": vfs.ErrInvalid, "": vfs.ErrInvalid, "/a/..": vfs.ErrBadName, "/x/y": vfs.ErrNotExist,
			"/l/b": vfs.ErrNotDir, "/a/b/f/g": vfs.ErrNotDir,
		} {
			_, err := vfs.Resolve(t.ctx, t.fs, path)
			t.wantErr(path, err, want)
		}
		parent, name, err := vfs.ResolveParent(t.ctx, t.fs, "/a/b/new")
		if err != nil || parent != b || name != "new" {
			t.Fatalf("parent of /a/b/new: %d, %q, %v", parent, name, err)
		}
		_, _, err = vfs.ResolveParent(t.ctx, t.fs, "/a/b/f/new")
		t.wantErr("parent that is a file", err, vfs.ErrNotDir)
		_, _, err = vfs.ResolveParent(t.ctx, t.fs, "/")
		t.wantErr("parent of the root", err, vfs.ErrInvalid)
	}},
}
