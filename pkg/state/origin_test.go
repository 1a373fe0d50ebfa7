package state

import (
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// importFrom makes a file that came from an origin.
func importFrom(t *testing.T, d *DB, name, text, origin string) Node {
	t.Helper()
	f := newFile(RootIno, name, text)
	f.Content.Origin = []byte(origin)
	out := must[[]Imported](t)(d.Import(t.Context(), []NewFile{f}))
	if out[0].Err != nil {
		t.Fatal(out[0].Err)
	}
	return out[0].Node
}

// wantOrigin says whether what a name shows must be what came from an origin.
func wantOrigin(t *testing.T, d *DB, name, origin string, want bool) {
	t.Helper()
	n, same, err := d.FromOrigin(RootIno, name, []byte(origin))
	if err != nil {
		t.Fatal(err)
	}
	if same != want {
		t.Errorf("%s (inode %d): known again: %t, want %t", name, n.ID, same, want)
	}
}

// hasOrigin says whether there is a record.
func hasOrigin(t *testing.T, d *DB, ino Ino) bool {
	t.Helper()
	return must[[]byte](t)(get(d.db, inoKey(keyOrigin, ino))) != nil
}

// TestOrigin breaks if a file is taken for an unchanged import although its bytes or attributes are others now, or is not known
// again although they are the same.
func TestOrigin(t *testing.T) {
	d := newPods().open(t, 1)
	f := importFrom(t, d, "f", "text", "disk 1")
	wantOrigin(t, d, "f", "disk 1", true)
	wantOrigin(t, d, "f", "disk 2", false)
	wantOrigin(t, d, "f", "", false)
	must[int](t)(d.Commit(t.Context()))
	wantOrigin(t, d, "f", "disk 1", true)

	mode := uint32(0o600)
	must[Node](t)(d.SetAttr(f.ID, vfs.SetAttr{Mode: &mode}))
	wantOrigin(t, d, "f", "disk 1", true)
	must[Node](t)(d.SetXattr(f.ID, "user.a", []byte("b"), 0))
	wantOrigin(t, d, "f", "disk 1", false)
	must[Node](t)(d.RemoveXattr(f.ID, "user.a"))
	wantOrigin(t, d, "f", "disk 1", true)

	must[Node](t)(d.SetContent(f.ID, inline("TEXT")))
	wantOrigin(t, d, "f", "disk 1", false)
	c := inline("other")
	c.Origin = []byte("disk 3")
	must[Node](t)(d.SetContent(f.ID, c))
	wantOrigin(t, d, "f", "disk 1", false)
	wantOrigin(t, d, "f", "disk 3", true)
	check(t, d)

	if _, err := d.Rename(RootIno, "f", RootIno, "g", 0); err != nil {
		t.Fatal(err)
	}
	wantOrigin(t, d, "g", "disk 3", true)
	must[Node](t)(d.Remove(RootIno, "g", false))
	if hasOrigin(t, d, f.ID) {
		t.Error("the record outlives the inode")
	}
	mkfile(t, d, RootIno, "g", "other")
	wantOrigin(t, d, "g", "disk 3", false)
	must[int](t)(d.Commit(t.Context()))
	check(t, d)
}

// TestOriginElsewhere: what other pods do to the file counts as what is done here; the record itself is never told them.
func TestOriginElsewhere(t *testing.T) {
	n := newPods()
	a, b := n.open(t, 1), n.open(t, 2)
	f := importFrom(t, a, "f", "text", "disk")
	g := importFrom(t, a, "g", "text", "disk")
	exchange(t, a, b)
	if hasOrigin(t, b, f.ID) {
		t.Error("the record was replicated")
	}
	wantOrigin(t, a, "f", "disk", true)

	// Both edit: the newest is shown, whoever's it is.
	must[Node](t)(b.SetContent(f.ID, inline("theirs")))
	c := inline("ours")
	c.Origin = []byte("new disk")
	must[Node](t)(a.SetContent(f.ID, c))
	must[Node](t)(b.Remove(RootIno, "g", false))
	exchange(t, a, b)
	shown := textOf(t, must[Node](t)(a.Lookup(RootIno, "f")))
	wantOrigin(t, a, "f", "new disk", shown == "ours")
	wantOrigin(t, a, "f", "disk", false)
	if hasOrigin(t, a, g.ID) {
		t.Error("the record outlives the inode that another pod removed")
	}
	check(t, a)
	check(t, b)
}

// TestOriginCrash: the record is durable exactly when the file is.
func TestOriginCrash(t *testing.T) {
	n := newPods()
	fs := pebblevfs.NewCrashableMem()
	o := n.options(1, fs)
	d, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	importFrom(t, d, "a", "1", "disk")
	must[int](t)(d.Commit(t.Context()))
	lost := importFrom(t, d, "b", "2", "disk")
	o.FS = fs.CrashClone(pebblevfs.CrashCloneCfg{})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again := openWith(t, o)
	wantTree(t, again, map[string]string{"/a": "1"})
	wantOrigin(t, again, "a", "disk", true)
	if hasOrigin(t, again, lost.ID) {
		t.Error("a record of a file that was lost")
	}
	check(t, again)
}

// TestGoldenOrigin pins the bytes of the record, and that each part counts.
func TestGoldenOrigin(t *testing.T) {
	n := fullInode()
	record := originRecord([]byte("disk"), &n.Contents[0], n.Xattrs)
	golden(t, "origin", record)
	seen := map[string]bool{string(record): true}
	for what, other := range map[string][]byte{
		"origin": originRecord([]byte("dusk"), &n.Contents[0], n.Xattrs),
		"size":   originRecord([]byte("disk"), &Content{Size: 6, Body: n.Contents[0].Body}, n.Xattrs),
		"body":   originRecord([]byte("disk"), &Content{Size: 5, Body: []byte("bodyX")}, n.Xattrs),
		"xattr":  originRecord([]byte("disk"), &n.Contents[0], nil),
	} {
		if seen[string(other)] {
			t.Errorf("%s does not count", what)
		}
		seen[string(other)] = true
	}
}
