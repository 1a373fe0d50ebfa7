package state

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

func newFile(parent Ino, name, text string) NewFile {
	body := dag.InlineBody([]byte(text))
	mtime := int64(12345)
	return NewFile{
		Parent: parent, Name: name, Node: vfs.NewNode{Kind: vfs.KindFile, Mode: 0o640, UID: 7},
		CreateOptions: CreateOptions{Content: &NewContent{Size: body.Size, Body: body.Encode()}, Mtime: &mtime},
	}
}

// TestImport: each file of a list is made as Create would make it, or has an error of its own and leaves nothing.
func TestImport(t *testing.T) {
	for _, faulty := range []bool{false, true} {
		d := newPods().open(t, 1)
		a := mkdir(t, d, RootIno, "a")
		f := mkfile(t, d, a.ID, "taken", "old")
		list := []NewFile{
			newFile(a.ID, "one", "1"), newFile(a.ID, "taken", "2"), newFile(a.ID, "one", "3"),
			newFile(f.ID, "x", "4"), newFile(a.ID, "..", "5"), newFile(RootIno, "two", "6"),
		}
		want := []error{nil, vfs.ErrExist, vfs.ErrExist, vfs.ErrNotDir, vfs.ErrBadName, nil}
		if faulty {
			bad := newFile(a.ID, "bad", "7")
			bad.Xattrs = map[string][]byte{strings.Repeat("x", vfs.XattrNameMax+1): nil}
			list, want = append(list, bad, newFile(a.ID, "three", "8")), append(want, vfs.ErrNameTooLong, nil)
		}
		out, err := d.Import(t.Context(), list)
		if err != nil || len(out) != len(list) {
			t.Fatalf("%d results, %v; want %d", len(out), err, len(list))
		}
		for i, o := range out {
			if !errors.Is(o.Err, want[i]) {
				t.Errorf("file %d: got %v, want %v", i, o.Err, want[i])
			}
			if o.Err != nil {
				continue
			}
			got, err := d.Lookup(list[i].Parent, list[i].Name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(o.Node, got); diff != "" {
				t.Errorf("file %d as it was made, and as it is (+):\n%s", i, diff)
			}
			if got.Mode != 0o640 || got.UID != 7 || got.Mtime != 12345 {
				t.Errorf("file %d: %+v", i, got.Attr)
			}
		}
		must[int](t)(d.Commit(t.Context()))
		files := map[string]string{"/a": "folder", "/a/taken": "old", "/a/one": "1", "/two": "6"}
		if faulty {
			files["/a/three"] = "8"
		}
		wantTree(t, d, files)
		check(t, d)
	}
}

// TestImportNames: a name is taken or free as Lookup says, in whatever order names come, between which links they lie, and whose folder it is.
func TestImportNames(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	d := newPods().open(t, 1)
	folders := []Ino{RootIno, mkdir(t, d, RootIno, "a").ID, mkdir(t, d, RootIno, "b").ID}
	names := []string{"a", "ab", "abc", "b", "\x01", "m", "mm", "z", "zz\xff"}
	made := map[place]bool{{RootIno, "a"}: true, {RootIno, "b"}: true}
	for range 40 {
		var list []NewFile
		for range 1 + rng.IntN(8) {
			list = append(list, newFile(folders[rng.IntN(3)], names[rng.IntN(len(names))], "x"))
		}
		if rng.IntN(2) == 0 {
			slices.SortFunc(list, func(a, b NewFile) int { return strings.Compare(a.Name, b.Name) })
		}
		out := must[[]Imported](t)(d.Import(t.Context(), list))
		for i := range list {
			at := place{list[i].Parent, list[i].Name}
			if want := made[at]; errors.Is(out[i].Err, vfs.ErrExist) != want || !want && out[i].Err != nil {
				t.Fatalf("%q in %d: %v, taken %v", at.name, at.parent, out[i].Err, want)
			}
			made[at] = true
		}
		for at := range made {
			if rng.IntN(3) == 0 && at.parent != RootIno {
				if _, err := d.Remove(at.parent, at.name, false); err != nil {
					t.Fatal(err)
				}
				delete(made, at)
			}
		}
	}
	must[int](t)(d.Commit(t.Context()))
	check(t, d)
}

// TestImportCrash: files that Import made are there after a crash if a commit followed, and none of them is there in part.
func TestImportCrash(t *testing.T) {
	n := newPods()
	fs := pebblevfs.NewCrashableMem()
	o := n.options(1, fs)
	d, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	must[[]Imported](t)(d.Import(t.Context(), []NewFile{newFile(RootIno, "a", "1"), newFile(RootIno, "b", "2")}))
	must[int](t)(d.Commit(t.Context()))
	must[[]Imported](t)(d.Import(t.Context(), []NewFile{newFile(RootIno, "c", "3"), newFile(RootIno, "d", "4")}))
	o.FS = fs.CrashClone(pebblevfs.CrashCloneCfg{})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	wantTree(t, openWith(t, o), map[string]string{"/a": "1", "/b": "2"})
}
