package vfstest

import "github.com/wormhole-fs/wormhole/pkg/vfs"

// renameCases are the rules of rename(2) and renameat2(2).
var renameCases = []testCase{
	{name: "rename/file", run: func(t *tester) {
		d, e := t.folder(root, "d"), t.folder(root, "e")
		id := t.file(d, "a", "text")
		before := t.attr(id)
		t.rename(d, "a", e, "b", 0)
		t.wantNames(d)
		t.wantNames(e, "b")
		after := t.lookup(e, "b")
		equal(t, "number", after.ID, id)
		equal(t, "mtime", after.Mtime, before.Mtime)
		equal(t, "content", t.content(id), "text")
	}},
	{name: "rename/replaces_file", run: func(t *tester) {
		id, old := t.file(root, "new", "new"), t.file(root, "old", "old")
		f := t.open(old)
		t.rename(root, "new", root, "old", 0)
		t.wantNames(root, "old")
		equal(t, "number", t.lookup(root, "old").ID, id)
		equal(t, "content", t.content(id), "new")
		equal(t, "replaced but open", string(readAll(t.ctx, t, f)), "old")
		equal(t, "links of the replaced", t.attr(old).NLink, 0)
		t.close(f)
		_, err := t.fs.GetAttr(t.ctx, old)
		t.wantErr("attributes of the replaced", err, vfs.ErrNotExist)
	}},
	{name: "rename/replaces_symlink_itself", run: func(t *tester) {
		f := t.file(root, "f", "text")
		t.create(root, "l", vfs.NewNode{Kind: vfs.KindSymlink, Mode: 0o777, Target: "target"})
		t.file(root, "target", "kept")
		t.rename(root, "f", root, "l", 0)
		equal(t, "number", t.lookup(root, "l").ID, f)
		equal(t, "content", t.content(t.lookup(root, "target").ID), "kept")
	}},
	{name: "rename/folder", run: func(t *tester) {
		d, e := t.folder(root, "d"), t.folder(root, "e")
		sub := t.folder(d, "sub")
		f := t.file(sub, "f", "text")
		t.rename(d, "sub", e, "moved", 0)
		parent, err := t.fs.Parent(t.ctx, sub)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "parent", parent, e)
		equal(t, "file in it", t.lookup(sub, "f").ID, f)
		if n := t.attr(e).NLink; n != 1 {
			equal(t, "links of the new parent", n, 3)
			equal(t, "links of the old parent", t.attr(d).NLink, 2)
		}
	}},
	{name: "rename/folder_over_empty_folder", run: func(t *tester) {
		d := t.folder(root, "d")
		t.file(d, "f", "")
		old := t.folder(root, "e")
		t.rename(root, "d", root, "e", 0)
		t.wantNames(root, "e")
		equal(t, "number", t.lookup(root, "e").ID, d)
		t.wantNames(d, "f")
		_, err := t.fs.GetAttr(t.ctx, old)
		t.wantErr("attributes of the replaced", err, vfs.ErrNotExist)
	}},
	{name: "rename/to_itself", run: func(t *tester) {
		id := t.file(root, "a", "text")
		if _, err := t.fs.Link(t.ctx, id, root, "b"); err != nil {
			t.Fatal(err)
		}
		t.rename(root, "a", root, "a", 0)
		t.rename(root, "a", root, "b", 0) // two names of one file: nothing happens
		t.wantNames(root, "a", "b")
		equal(t, "links", t.attr(id).NLink, 2)
	}},
	{name: "rename/one_of_two_names", run: func(t *tester) {
		id := t.file(root, "a", "text")
		t.file(root, "c", "other")
		if _, err := t.fs.Link(t.ctx, id, root, "b"); err != nil {
			t.Fatal(err)
		}
		t.rename(root, "b", root, "c", 0)
		t.wantNames(root, "a", "c")
		equal(t, "number", t.lookup(root, "c").ID, id)
		equal(t, "links", t.attr(id).NLink, 2)
	}},
	{name: "rename/refused", run: func(t *tester) {
		d := t.folder(root, "d")
		sub := t.folder(d, "sub")
		t.file(sub, "f", "")
		t.folder(root, "empty")
		t.file(root, "file", "")
		for _, c := range []struct {
			what     string
			parent   vfs.NodeID
			name     string
			to       vfs.NodeID
			newName  string
			accepted []error
		}{
			{"nothing", root, "x", root, "y", []error{vfs.ErrNotExist}},
			{"folder into itself", root, "d", d, "x", []error{vfs.ErrInvalid}},
			{"folder far into itself", root, "d", sub, "x", []error{vfs.ErrInvalid}},
			{"folder over a full one", root, "empty", root, "d", []error{vfs.ErrNotEmpty}},
			{"folder over the one that it is in", d, "sub", root, "d", []error{vfs.ErrNotEmpty}},
			{"folder over a file", root, "d", root, "file", []error{vfs.ErrNotDir}},
			{"file over a folder", root, "file", root, "empty", []error{vfs.ErrIsDir}},
			{"bad name", root, "file", root, "..", []error{vfs.ErrBadName}},
			{"into a file", root, "d", t.lookup(root, "file").ID, "x", []error{vfs.ErrNotDir}},
		} {
			t.wantErr(c.what, t.fs.Rename(t.ctx, c.parent, c.name, c.to, c.newName, 0), c.accepted...)
		}
		t.wantNames(root, "d", "empty", "file")
		t.wantNames(d, "sub")
		t.wantNames(sub, "f")
	}},
	{name: "rename/no_replace", needs: NoRenameFlags, run: func(t *tester) {
		a, b := t.file(root, "a", "a"), t.file(root, "b", "b")
		t.wantErr("taken", t.fs.Rename(t.ctx, root, "a", root, "b", vfs.RenameNoReplace), vfs.ErrExist)
		equal(t, "a", t.lookup(root, "a").ID, a)
		equal(t, "b", t.lookup(root, "b").ID, b)
		t.rename(root, "a", root, "c", vfs.RenameNoReplace)
		t.wantNames(root, "b", "c")
	}},
	{name: "rename/exchange", needs: NoRenameFlags, run: func(t *tester) {
		d := t.folder(root, "d")
		sub, f := t.folder(d, "sub"), t.file(root, "f", "text")
		t.rename(d, "sub", root, "f", vfs.RenameExchange)
		equal(t, "file", t.lookup(d, "sub").ID, f)
		equal(t, "folder", t.lookup(root, "f").ID, sub)
		parent, err := t.fs.Parent(t.ctx, sub)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "parent", parent, root)
		t.wantErr("with nothing", t.fs.Rename(t.ctx, root, "f", root, "x", vfs.RenameExchange), vfs.ErrNotExist)
		t.wantErr("both flags", t.fs.Rename(t.ctx, root, "f", d, "sub", vfs.RenameExchange|vfs.RenameNoReplace), vfs.ErrInvalid)
		e := t.folder(root, "e")
		t.folder(e, "in")
		t.wantErr("with a folder in it", t.fs.Rename(t.ctx, root, "e", e, "in", vfs.RenameExchange), vfs.ErrInvalid)
		t.wantErr("with the folder that it is in", t.fs.Rename(t.ctx, e, "in", root, "e", vfs.RenameExchange), vfs.ErrInvalid)
	}},
}
