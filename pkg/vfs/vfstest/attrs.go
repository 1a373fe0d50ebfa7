package vfstest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// attrCases are the rules of attributes, extended ones included, and of parallel use.
var attrCases = []testCase{
	{name: "attr/set", run: func(t *tester) {
		f, d := t.file(root, "f", "text"), t.folder(root, "d")
		for _, id := range []vfs.NodeID{f, d} {
			before := t.attr(id)
			mode, uid, gid, atime, mtime := uint32(0o4711), uint32(1000), uint32(0xfffffffe), int64(1_650_000_000_000_000_007), int64(1_700_000_000_000_000_001)
			if t.limit&NoSetID != 0 {
				mode = 0o711
			}
			a, err := t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Mode: &mode, UID: &uid, GID: &gid, Atime: &atime, Mtime: &mtime})
			if err != nil {
				t.Fatal(err)
			}
			want := before
			want.Mode, want.UID, want.GID, want.Atime, want.Mtime, want.Ctime = mode, uid, gid, atime, mtime, a.Ctime
			equal(t, "attributes", a, want)
			equal(t, "attributes, read again", t.attr(id), want)
			t.later("ctime", a.Ctime, before.Ctime)
		}
		equal(t, "content", t.content(f), "text")
	}},
	{name: "attr/set_one_keeps_others", run: func(t *tester) {
		id := t.file(root, "f", "text")
		before := t.attr(id)
		mode := uint32(0o600)
		a, err := t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Mode: &mode})
		if err != nil {
			t.Fatal(err)
		}
		want := before
		want.Mode, want.Ctime = mode, a.Ctime
		equal(t, "attributes", a, want)
	}},
	{name: "attr/set_modes", run: func(t *tester) {
		f, d := t.file(root, "f", ""), t.folder(root, "d")
		for _, mode := range []uint32{0, 0o777, 0o1777, 0o2755, 0o4755, 0o7777} {
			for _, id := range []vfs.NodeID{f, d} {
				a, err := t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Mode: &mode})
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "mode", a.Mode, mode)
			}
		}
	}},
	{name: "attr/old_times", run: func(t *tester) {
		id := t.file(root, "f", "")
		for _, mtime := range []int64{0, 1, -1_000_000_000, -86_400_000_000_000, 4_102_444_800_999_999_999} {
			a, err := t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Mtime: &mtime})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "mtime", a.Mtime, mtime)
		}
	}},
	{name: "attr/access_time", run: func(t *tester) { // it is what was set, whatever is read, written or set besides
		file, folder, link := t.file(root, "f", "text"), t.folder(root, "d"), t.create(root, "l", vfs.NewNode{Kind: vfs.KindSymlink, Mode: 0o777, Target: "f"}).ID
		atime, mtime := int64(1_600_000_000_000_000_001), int64(1_500_000_000_000_000_000)
		for _, id := range []vfs.NodeID{file, folder, link} {
			before := t.attr(id)
			a, err := t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Atime: &atime})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "atime", a.Atime, atime)
			equal(t, "mtime", a.Mtime, before.Mtime)
			t.later("ctime", a.Ctime, before.Ctime)
			if a, err = t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Mtime: &mtime}); err != nil {
				t.Fatal(err)
			}
			equal(t, "atime after mtime was set", a.Atime, atime)
		}
		f := t.open(file)
		t.write(f, 0, "more")
		t.close(f)
		t.content(file)
		t.names(folder)
		equal(t, "atime after write and read", t.attr(file).Atime, atime)
		equal(t, "atime after listing", t.attr(folder).Atime, atime)
		f = t.open(file)
		if err := t.fs.Remove(t.ctx, root, "f", false); err != nil {
			t.Fatal(err)
		}
		if _, err := t.fs.SetAttr(t.ctx, file, vfs.SetAttr{Atime: &mtime}); err != nil {
			t.Fatal(err)
		}
		equal(t, "atime of an unlinked file", t.attr(file).Atime, mtime)
		t.close(f)
	}},
	{name: "attr/folder_made_again", run: func(t *tester) { // it has nothing of the one that was removed
		id := t.folder(root, "d")
		old, before := int64(1_600_000_000_000_000_001), t.attr(id)
		if _, err := t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Atime: &old, Mtime: &old}); err != nil {
			t.Fatal(err)
		}
		if err := t.fs.Remove(t.ctx, root, "d", true); err != nil {
			t.Fatal(err)
		}
		again := t.attr(t.folder(root, "d"))
		for what, ns := range map[string]int64{"atime": again.Atime, "mtime": again.Mtime, "ctime": again.Ctime} {
			if ns < before.Ctime {
				t.Fatalf("%s is %d, before the first folder was made, %d", what, ns, before.Ctime)
			}
		}
	}},
	{name: "attr/missing", run: func(t *tester) {
		mode := uint32(0)
		_, err := t.fs.SetAttr(t.ctx, 1<<40, vfs.SetAttr{Mode: &mode})
		t.wantErr("set", err, vfs.ErrNotExist)
	}},
	{name: "xattr/life", run: func(t *tester) {
		for _, id := range []vfs.NodeID{t.file(root, "f", "text"), t.folder(root, "d")} {
			before := t.attr(id)
			for name, value := range map[string]string{"user.b": "two", "user.a": "one\x00\xff", "user.empty": ""} {
				if err := t.fs.SetXattr(t.ctx, id, name, []byte(value), 0); err != nil {
					t.Fatal(err)
				}
				got, err := t.fs.GetXattr(t.ctx, id, name)
				if err != nil || string(got) != value {
					t.Fatalf("%s: got %q, %v, want %q", name, got, err, value)
				}
			}
			t.later("ctime", t.attr(id).Ctime, before.Ctime)
			t.wantXattrs(id, "user.a", "user.b", "user.empty")
			if err := t.fs.SetXattr(t.ctx, id, "user.b", []byte("new"), vfs.XattrReplace); err != nil {
				t.Fatal(err)
			}
			if err := t.fs.RemoveXattr(t.ctx, id, "user.a"); err != nil {
				t.Fatal(err)
			}
			t.wantXattrs(id, "user.b", "user.empty")
			got, err := t.fs.GetXattr(t.ctx, id, "user.b")
			if err != nil || string(got) != "new" {
				t.Fatalf("user.b: %q, %v", got, err)
			}
		}
	}},
	{name: "xattr/refused", run: func(t *tester) {
		id := t.file(root, "f", "")
		_, err := t.fs.GetXattr(t.ctx, id, "user.x")
		t.wantErr("get", err, vfs.ErrNoXattr)
		t.wantErr("remove", t.fs.RemoveXattr(t.ctx, id, "user.x"), vfs.ErrNoXattr)
		t.wantErr("replace", t.fs.SetXattr(t.ctx, id, "user.x", nil, vfs.XattrReplace), vfs.ErrNoXattr)
		if err := t.fs.SetXattr(t.ctx, id, "user.x", []byte("v"), vfs.XattrCreate); err != nil {
			t.Fatal(err)
		}
		t.wantErr("create", t.fs.SetXattr(t.ctx, id, "user.x", nil, vfs.XattrCreate), vfs.ErrExist)
		t.wantErr("long name", t.fs.SetXattr(t.ctx, id, "user."+strings.Repeat("x", vfs.XattrNameMax), nil, 0), vfs.ErrNameTooLong)
		t.wantErr("long value", t.fs.SetXattr(t.ctx, id, "user.y", make([]byte, vfs.XattrMax+1), 0), vfs.ErrTooLarge)
		t.wantXattrs(id, "user.x")
	}},
	{name: "xattr/long", run: func(t *tester) {
		id := t.file(root, "f", "")
		name, value := "user."+strings.Repeat("x", vfs.XattrNameMax-5), bytes.Repeat([]byte{7}, 60_000)
		if err := t.fs.SetXattr(t.ctx, id, name, value, 0); err != nil {
			t.Fatal(err)
		}
		got, err := t.fs.GetXattr(t.ctx, id, name)
		if err != nil || !bytes.Equal(got, value) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}},
	{name: "parallel/one_name", run: func(t *tester) { // of many that make one name, one wins
		const makers = 8
		var mu sync.Mutex
		made := 0
		var wg sync.WaitGroup
		for range makers {
			wg.Go(func() {
				_, err := t.fs.Create(t.ctx, root, "f", newFile)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					made++
				}
			})
		}
		wg.Wait()
		equal(t, "makers that won", made, 1)
	}},
	{name: "parallel/folders", run: func(t *tester) {
		const makers, each = 8, 25
		var wg sync.WaitGroup
		for m := range makers {
			wg.Go(func() {
				for i := range each {
					name := fmt.Sprintf("m%d-%02d", m, i)
					if _, err := t.fs.Create(t.ctx, root, "tmp-"+name, newFile); err != nil {
						t.Error(err)
						return
					}
					if err := t.fs.Rename(t.ctx, root, "tmp-"+name, root, name, 0); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		equal(t, "names", len(t.names(root)), makers*each)
	}},
	{name: "context/ended", run: func(t *tester) { // an operation may still be done, but says so truly
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		_, err := t.fs.Create(ctx, root, "f", newFile)
		if want := err == nil; slices.Contains(t.names(root), "f") != want {
			t.Fatalf("created: %v, but names are %q", want, t.names(root))
		}
	}},
}

// wantXattrs checks the names of all extended attributes of the user's.
func (t *tester) wantXattrs(id vfs.NodeID, want ...string) {
	t.Helper()
	got, err := t.fs.ListXattr(t.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(got) {
		t.Fatalf("attributes are not sorted: %q", got)
	}
	if got = userXattrs(got); !slices.Equal(got, want) {
		t.Fatalf("attributes: got %q, want %q", got, want)
	}
}

// userXattrs leaves out the attributes that a file system computes: user.wh. and what is not the user's.
func userXattrs(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return !strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "user.wh.")
	})
}
