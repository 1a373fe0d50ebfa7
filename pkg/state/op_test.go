package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestOpErrors: what rename(2), rmdir(2), link(2) … refuse.
func TestOpErrors(t *testing.T) {
	d := newPods().open(t, 1)
	a := mkdir(t, d, RootIno, "a")
	b := mkdir(t, d, a.ID, "b")
	f := mkfile(t, d, RootIno, "f", "f")
	op := func(err error, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	create := func(parent Ino, name string, n vfs.NewNode) error {
		_, err := d.Create(parent, name, n, CreateOptions{})
		return err
	}
	op(create(RootIno, "f", vfs.NewNode{Kind: vfs.KindFile}), vfs.ErrExist)
	op(create(f.ID, "x", vfs.NewNode{Kind: vfs.KindFile}), vfs.ErrNotDir)
	op(create(12345, "x", vfs.NewNode{Kind: vfs.KindFile}), vfs.ErrNotExist)
	op(create(RootIno, "..", vfs.NewNode{Kind: vfs.KindFile}), vfs.ErrBadName)
	op(create(RootIno, strings.Repeat("x", 256), vfs.NewNode{Kind: vfs.KindFile}), vfs.ErrNameTooLong)
	op(create(RootIno, "x", vfs.NewNode{Kind: vfs.KindSymlink}), vfs.ErrInvalid)
	op(create(RootIno, "x", vfs.NewNode{Kind: 9}), vfs.ErrInvalid)
	rename := func(parent Ino, name string, to Ino, toName string, f vfs.RenameFlag) error {
		_, err := d.Rename(parent, name, to, toName, f)
		return err
	}
	op(rename(RootIno, "a", b.ID, "a", 0), vfs.ErrInvalid)
	op(rename(RootIno, "a", a.ID, "a", 0), vfs.ErrInvalid)
	op(rename(RootIno, "f", RootIno, "a", 0), vfs.ErrIsDir)
	op(rename(RootIno, "a", RootIno, "f", 0), vfs.ErrNotDir)
	op(rename(RootIno, "f", RootIno, "a", vfs.RenameNoReplace), vfs.ErrExist)
	op(rename(RootIno, "f", RootIno, "none", vfs.RenameExchange), vfs.ErrNotExist)
	op(rename(RootIno, "none", RootIno, "f", 0), vfs.ErrNotExist)
	op(rename(RootIno, "a", a.ID, "b", vfs.RenameExchange), vfs.ErrInvalid)
	mkdir(t, d, RootIno, "c")
	op(rename(RootIno, "c", RootIno, "a", 0), vfs.ErrNotEmpty)
	_, err := d.Remove(RootIno, "a", true)
	op(err, vfs.ErrNotEmpty)
	_, err = d.Remove(RootIno, "f", true)
	op(err, vfs.ErrNotDir)
	_, err = d.Link(a.ID, RootIno, "x")
	op(err, vfs.ErrNotPermitted)
	_, err = d.Link(f.ID, RootIno, "a")
	op(err, vfs.ErrExist)
	_, err = d.SetContent(a.ID, inline("x"))
	op(err, vfs.ErrIsDir)
	_, err = d.SetContent(f.ID, NewContent{Size: 3, Body: inline("x").Body})
	op(err, vfs.ErrInvalid)
	wantTree(t, d, map[string]string{"/a": "folder", "/a/b": "folder", "/c": "folder", "/f": "f"})
}

func TestRenameKinds(t *testing.T) {
	d := newPods().open(t, 1)
	a, f := mkdir(t, d, RootIno, "a"), mkfile(t, d, RootIno, "f", "f")
	must[Node](t)(d.Rename(RootIno, "f", RootIno, "a", vfs.RenameExchange))
	if got := must[Node](t)(d.Lookup(RootIno, "f")); got.ID != a.ID {
		t.Errorf("after the exchange f is %d", got.ID)
	}
	mkdir(t, d, RootIno, "e")
	if gone := must[Node](t)(d.Rename(RootIno, "f", RootIno, "e", 0)); gone.Kind != vfs.KindFolder || gone.NLink != 0 {
		t.Errorf("replaced %+v", gone.Attr)
	}
	g := mkfile(t, d, RootIno, "g", "g")
	must[Node](t)(d.Link(f.ID, RootIno, "h"))
	if gone := must[Node](t)(d.Rename(RootIno, "g", RootIno, "h", 0)); gone.ID != f.ID || gone.NLink != 1 {
		t.Errorf("replaced %+v", gone.Attr)
	}
	if gone := must[Node](t)(d.Rename(RootIno, "h", RootIno, "a", 0)); gone.ID != f.ID || gone.NLink != 0 {
		t.Errorf("replaced %+v", gone.Attr)
	}
	if _, err := d.Get(f.ID); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("the replaced file: %v", err)
	}
	if got := must[Node](t)(d.Lookup(RootIno, "a")); got.ID != g.ID {
		t.Errorf("a is %d", got.ID)
	}
	wantTree(t, d, map[string]string{"/a": "g", "/e": "folder"})
}

func TestAttributes(t *testing.T) {
	n := newPods()
	d := n.open(t, 1)
	a := mkdir(t, d, RootIno, "a")
	n.clock.turn(time.Second)
	f := mkfile(t, d, a.ID, "f", "f")
	if got := must[Node](t)(d.Get(a.ID)); !n.isNow(got.Mtime) || got.NLink != 2 {
		t.Errorf("folder after a new entry: %+v", got.Attr)
	}
	past := int64(1e18)
	must[Node](t)(d.SetAttr(a.ID, vfs.SetAttr{Mtime: &past}))
	if got := must[Node](t)(d.Get(a.ID)); got.Mtime != past {
		t.Errorf("folder after utimes: %d", got.Mtime)
	}
	n.clock.turn(time.Second)
	mkdir(t, d, a.ID, "sub")
	if got := must[Node](t)(d.Get(a.ID)); !n.isNow(got.Mtime) || got.NLink != 3 {
		t.Errorf("folder after a folder in it: %+v", got.Attr)
	}
	mode, uid := uint32(0o4711), uint32(5)
	got := must[Node](t)(d.SetAttr(f.ID, vfs.SetAttr{Mode: &mode, UID: &uid, Mtime: &past}))
	if got.Mode != mode || got.UID != 5 || got.Mtime != past || got.Size != 1 || !n.isNow(got.Ctime) {
		t.Errorf("file: %+v", got.Attr)
	}
	must[Node](t)(d.SetAttr(RootIno, vfs.SetAttr{Mode: &uid}))
	if got := must[Node](t)(d.Get(RootIno)); got.Mode != 5 {
		t.Errorf("root: %+v", got.Attr)
	}
	must[Node](t)(d.SetXattr(f.ID, "user.b", []byte("1"), vfs.XattrCreate))
	must[Node](t)(d.SetXattr(f.ID, "user.a", nil, 0))
	if _, err := d.SetXattr(f.ID, "user.b", nil, vfs.XattrCreate); !errors.Is(err, vfs.ErrExist) {
		t.Error(err)
	}
	if _, err := d.SetXattr(f.ID, "user.c", nil, vfs.XattrReplace); !errors.Is(err, vfs.ErrNoXattr) {
		t.Error(err)
	}
	if names := must[[]string](t)(d.Xattrs(f.ID)); !slices.Equal(names, []string{"user.a", "user.b"}) {
		t.Errorf("%q", names)
	}
	must[Node](t)(d.RemoveXattr(f.ID, "user.a"))
	if _, err := d.Xattr(f.ID, "user.a"); !errors.Is(err, vfs.ErrNoXattr) {
		t.Error(err)
	}
	if v := must[[]byte](t)(d.Xattr(f.ID, "user.b")); string(v) != "1" {
		t.Errorf("%q", v)
	}
	check(t, d)
}

func TestSymlinks(t *testing.T) {
	d := newPods().open(t, 1)
	for _, target := range []string{"x", strings.Repeat("y", dag.InlineMax), strings.Repeat("z", vfs.TargetMax)} {
		n := must[Node](t)(d.Create(RootIno, target[:1], vfs.NewNode{Kind: vfs.KindSymlink, Target: target}, CreateOptions{}))
		b, err := dag.DecodeBody(n.Body)
		if err != nil || b.Size != uint64(len(target)) {
			t.Errorf("body of a target of %d bytes: %+v, %v", len(target), b, err)
		}
	}
	cp := must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	e, ok, err := dag.LookupFolder(t.Context(), d.o.Blocks, cp.Tree, "x")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if b := must[[]byte](t)(d.o.Blocks.Get(t.Context(), e.Child)); !bytes.Equal(b, dag.InlineBody([]byte("x")).Encode()) {
		t.Errorf("block of the link: %x", b)
	}
}

func TestWishes(t *testing.T) {
	d := newPods().open(t, 1)
	a := mkdir(t, d, RootIno, "a")
	f := mkfile(t, d, a.ID, "f", "f")
	policy, pod := "replica:3", ident.Pod{1}
	if err := errors.Join(d.SetWish(a.ID, WishEdit{Policy: &policy}), d.SetWish(f.ID, WishEdit{Pin: []ident.Pod{pod}})); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w, from, err := d.EffectiveWish(f.ID)
		if err != nil || w.Policy.Value != policy || from != a.ID || len(w.Pins) != 1 || w.Pins[0].Pod != pod {
			t.Errorf("%+v from %d, %v", w, from, err)
		}
		must[int](t)(d.Commit(t.Context()))
	}
	must[Node](t)(d.Remove(a.ID, "f", false))
	must[int](t)(d.Commit(t.Context()))
	if b, err := get(d.db, WishKey(f.ID)); b != nil || err != nil {
		t.Errorf("the wish of a removed file is there: %x, %v", b, err)
	}
	check(t, d)
}

func TestContentsAndLocal(t *testing.T) {
	p := newApart(t)
	nodes, next, err := p.b.Contents(0, 1)
	if err != nil || len(nodes) != 1 {
		t.Fatalf("%v, %v", nodes, err)
	}
	more, last, err := p.b.Contents(next, 0)
	if err != nil || len(more) != 1 || last <= next {
		t.Fatalf("%v, %d after %d, %v", more, last, next, err)
	}
	if none, same, err := p.b.Contents(last, 0); len(none) > 0 || same != last || err != nil {
		t.Errorf("%v, %d, %v", none, same, err)
	}
	p.write(p.a, "f.txt", "A")
	p.write(p.b, "f.txt", "B")
	exchange(t, p.a, p.b)
	if nodes, _, err = p.a.Contents(last, 0); err != nil || len(nodes) != 2 {
		t.Errorf("a content and its copy: %v, %v", nodes, err)
	}
	count := 0
	if err := p.a.EachContent(t.Context(), func(Node) error { count++; return nil }); err != nil || count != 3 {
		t.Errorf("%d contents, %v", count, err)
	}
	if fresh := must[bool](t)(p.a.AddStatement(t.Context(), []byte("s"))); !fresh {
		t.Error("not fresh")
	}
	if fresh := must[bool](t)(p.a.AddStatement(t.Context(), []byte("s"))); fresh {
		t.Error("fresh again")
	}
	if all := must[[][]byte](t)(p.a.Statements()); len(all) != 1 || string(all[0]) != "s" {
		t.Errorf("%q", all)
	}
	if err := p.a.SetLocal(t.Context(), "k", []byte{}); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := p.a.Local("k"); !ok || len(v) != 0 || err != nil {
		t.Error(v, ok, err)
	}
	if err := p.a.SetLocal(t.Context(), "j/1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if all := must[map[string][]byte](t)(p.a.Locals("j/")); len(all) != 1 || string(all["j/1"]) != "x" {
		t.Errorf("locals %q", all)
	}
}

// TestWatch: surfaces hear of every name and node that changed, computed names included.
func TestWatch(t *testing.T) {
	p := newApart(t)
	var heard []vfs.Change
	p.a.Watch(func(c []vfs.Change, _ bool) { heard = append(heard, c...) })
	f := p.ino(p.a, "f.txt")
	p.write(p.a, "f.txt", "A")
	p.write(p.b, "f.txt", "B")
	must[int](t)(p.b.Commit(t.Context()))
	heard = nil
	pull(t, p.a, p.b)
	var copyName string
	for _, e := range must[[]Entry](t)(p.a.List(RootIno, "", 0)) {
		if e.Node.Copy {
			copyName = e.Name
		}
	}
	for _, want := range []vfs.Change{{Node: f.ID}, {Parent: RootIno, Name: "f.txt"}, {Parent: RootIno, Name: copyName}} {
		if !slices.Contains(heard, want) {
			t.Errorf("did not hear of %+v, only of %+v", want, heard)
		}
	}
}

func TestListPages(t *testing.T) {
	p := newApart(t)
	p.write(p.a, "f.txt", "A")
	p.write(p.b, "f.txt", "B")
	p.make(p.a, "g", "A")
	p.make(p.b, "g", "B")
	exchange(t, p.a, p.b)
	all := must[[]Entry](t)(p.a.List(RootIno, "", 0))
	if len(all) != 6 {
		t.Errorf("%d entries", len(all))
	}
	var names, paged []string
	for _, e := range all {
		names = append(names, e.Name)
		if got := must[Node](t)(p.a.Lookup(RootIno, e.Name)); got.ID != e.Node.ID {
			t.Errorf("%s: list has %d, lookup %d", e.Name, e.Node.ID, got.ID)
		}
	}
	for after := ""; ; after = paged[len(paged)-1] {
		page := must[[]Entry](t)(p.a.List(RootIno, after, 1))
		if len(page) == 0 {
			break
		}
		paged = append(paged, page[0].Name)
	}
	if d := cmp.Diff(paged, names); d != "" {
		t.Errorf("one by one: got - want +\n%s", d)
	}
	for limit := range 3 {
		paged = nil
		for after := ""; ; after = paged[len(paged)-1] {
			page := must[[]string](t)(p.a.Names(RootIno, after, limit))
			if limit > 0 && len(page) > limit {
				t.Fatalf("%d names, limit %d", len(page), limit)
			}
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
		}
		if d := cmp.Diff(paged, names); d != "" {
			t.Errorf("names, limit %d: got - want +\n%s", limit, d)
		}
	}
	if _, err := p.a.Names(p.ino(p.a, "f.txt").ID, "", 0); !errors.Is(err, vfs.ErrNotDir) {
		t.Errorf("names in a file: %v", err)
	}
}

// TestReopen: everything that memory knows is read again.
func TestReopen(t *testing.T) {
	n := newPods()
	o := n.options(1, pebblevfs.NewMem())
	d := must[*DB](t)(Open(t.Context(), o))
	mkfile(t, d, RootIno, "f", "f")
	cp := must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	g := mkfile(t, d, RootIno, "g", "g")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Get(RootIno); !errors.Is(err, vfs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	d = openWith(t, o)
	if !d.Dirty() || d.LastCheckpoint().State != cp.State {
		t.Errorf("dirty %v, checkpoint %+v", d.Dirty(), d.LastCheckpoint())
	}
	h := mkfile(t, d, RootIno, "h", "h")
	if h.ID == g.ID {
		t.Errorf("number %d twice", h.ID)
	}
	must[int](t)(d.Commit(t.Context()))
	wantTree(t, d, map[string]string{"/f": "f", "/g": "g", "/h": "h"})
	again := must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	fresh := n.open(t, 9)
	pull(t, fresh, d)
	if cp := must[CheckpointInfo](t)(fresh.Checkpoint(t.Context())); cp.State != again.State || cp.Tree != again.Tree {
		t.Errorf("roots %+v, built at once %+v", again, cp)
	}
	other := o
	other.Network[0]++
	other.FS = pebblevfs.NewMem()
	foreign := must[*DB](t)(Open(t.Context(), other))
	if err := foreign.Close(); err != nil {
		t.Fatal(err)
	}
	other.Network = o.Network
	if _, err := Open(t.Context(), other); !errors.Is(err, ErrForeign) {
		t.Errorf("another network's directory: %v", err)
	}
}

// TestReadOnly: without a key nothing can be done, but commits of others are applied.
func TestReadOnly(t *testing.T) {
	p := newApart(t)
	o := p.n.options(3, pebblevfs.NewMem())
	o.Sign = nil
	d := openWith(t, o)
	pull(t, d, p.a)
	if _, err := d.Create(RootIno, "x", vfs.NewNode{Kind: vfs.KindFile}, CreateOptions{}); !errors.Is(err, vfs.ErrReadOnly) {
		t.Error(err)
	}
	wantSame(t, []*DB{d, p.a})
}

// TestCheckpointMoment: while operations wait for the moment of a checkpoint, nobody syncs the store, unless a row names a chunk that went through PutChunk.
func TestCheckpointMoment(t *testing.T) {
	for _, tt := range []struct {
		name   string
		target string // of a symlink that is made just before the moment
		want   int    // calls while operations wait
	}{
		{"a row", "short", 0},
		{"a row with a chunk", strings.Repeat("long/", 300), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newPods().options(1, pebblevfs.NewMem())
			o.ContentsDurable = true
			var d *DB
			calls, waiting := 0, 0
			o.BeforeCommit = func(context.Context) error {
				if !d.opMu.TryLock() {
					waiting++
					return nil
				}
				d.opMu.Unlock()
				if calls++; calls > 1 {
					return nil
				}
				_, err := d.Create(RootIno, "late", vfs.NewNode{Kind: vfs.KindSymlink, Target: tt.target}, CreateOptions{})
				return err
			}
			d = openWith(t, o)
			mkfile(t, d, RootIno, "early", "text")
			must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
			if waiting != tt.want || calls < 2 {
				t.Errorf("the store was synced %d times while operations waited, want %d, and %d times else", waiting, tt.want, calls)
			}
			if d.Dirty() {
				t.Error("rows are dirty after the checkpoint")
			}
			check(t, d)
		})
	}
}

// TestWrittenWhileCommitted: a second content from the same base comes while the first is committed, of a file that others have removed meanwhile, so that
// there is no other version. The first gets a name by the commit, and so must its copy.
func TestWrittenWhileCommitted(t *testing.T) {
	p := newApart(t)
	f := p.ino(p.a, "f.txt")
	must[Node](t)(p.a.SetAttr(f.ID, vfs.SetAttr{Mode: new(uint32(0o600))}))
	p.tick()
	if _, err := p.b.Remove(RootIno, "f.txt", false); err != nil {
		t.Fatal(err)
	}
	must[int](t)(p.b.Commit(t.Context()))
	pull(t, p.a, p.b)
	write := func(text string) error {
		p.tick()
		c := inline(text)
		c.Over = &f.Content
		_, err := p.a.SetContent(f.ID, c)
		return err
	}
	if err := write("first"); err != nil {
		t.Fatal(err)
	}
	p.a.o.BeforeCommit = func(context.Context) error {
		p.a.o.BeforeCommit = nil
		return write("second")
	}
	must[int](t)(p.a.Commit(t.Context()))
	check(t, p.a)
	exchange(t, p.a, p.b)
	check(t, p.a)
	check(t, p.b)
	if all := must[[]Conflict](t)(p.a.Conflicts(t.Context())); len(all) == 0 {
		t.Error("no conflict")
	}
}

// TestBeforeCommitFails: rows whose blocks are not durable stay uncommitted (I2a).
func TestBeforeCommitFails(t *testing.T) {
	n := newPods()
	o := n.options(1, pebblevfs.NewMem())
	broken := errors.New("disk")
	o.BeforeCommit = func(context.Context) error { return broken }
	d := openWith(t, o)
	mkfile(t, d, RootIno, "f", "f")
	if _, err := d.Commit(t.Context()); !errors.Is(err, broken) || !d.Dirty() || len(d.VV()) > 0 {
		t.Errorf("%v, dirty %v, vv %v", err, d.Dirty(), d.VV())
	}
	broken = nil
	if n := must[int](t)(d.Commit(t.Context())); n != 1 {
		t.Errorf("%d rows", n)
	}
}

// TestCheckFinds breaks the DB in several ways: a Check that sees nothing is worth nothing.
func TestCheckFinds(t *testing.T) {
	for name, breakIt := range map[string]func(t *testing.T, d *DB, b *pebble.Batch, f Ino){
		"row lost":   func(_ *testing.T, _ *DB, b *pebble.Batch, f Ino) { _ = b.Delete(InodeKey(f), nil) },
		"index lost": func(_ *testing.T, _ *DB, b *pebble.Batch, _ Ino) { _ = b.Delete(nameKey(keyIndex, RootIno, "f"), nil) },
		"index too much": func(_ *testing.T, _ *DB, b *pebble.Batch, f Ino) {
			_ = b.Set(nameKey(keyIndex, RootIno, "g"), appendSlots(nil, []slot{{ino: f}}), nil)
		},
		"index other": func(_ *testing.T, _ *DB, b *pebble.Batch, f Ino) {
			_ = b.Set(nameKey(keyIndex, RootIno, "f"), appendSlots(nil, []slot{{ino: f, came: 1}}), nil)
		},
		"name marked": func(_ *testing.T, _ *DB, b *pebble.Batch, _ Ino) {
			_ = b.Set(nameKey(keyIrregular, RootIno, "f"), nil, nil)
		},
		"name marked that is not there": func(_ *testing.T, _ *DB, b *pebble.Batch, _ Ino) {
			_ = b.Set(nameKey(keyIrregular, RootIno, "z"), nil, nil)
		},
		"copy too much": func(_ *testing.T, _ *DB, b *pebble.Batch, f Ino) {
			_ = b.Set(inoKey(keyCopy, f+1), inoKey(0, f)[1:], nil)
		},
		"displaced": func(_ *testing.T, _ *DB, b *pebble.Batch, f Ino) { _ = b.Set(inoKey(keyDisplaced, f), nil, nil) },
		"folder's record": func(_ *testing.T, _ *DB, b *pebble.Batch, _ Ino) {
			_ = b.Set(inoKey(keyFolder, RootIno), (&folderRec{exists: true}).encode(), nil)
		},
		"commit lost": func(_ *testing.T, d *DB, b *pebble.Batch, _ Ino) { _ = b.Delete(logKey(d.o.Actor, 1), nil) },
		"commit changed": func(t *testing.T, d *DB, b *pebble.Batch, _ Ino) {
			v := must[[]byte](t)(get(d.db, logKey(d.o.Actor, 1)))
			v[len(v)-1] ^= 1
			_ = b.Set(logKey(d.o.Actor, 1), v, nil)
		},
		"observed": func(_ *testing.T, d *DB, b *pebble.Batch, f Ino) {
			w := dirtyValue{observed: []Dot{{d.o.Actor, 9}}}
			_ = b.Set(textKey(keyDirty, WishKey(f)), w.encode(), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newPods().open(t, 1)
			f := mkfile(t, d, RootIno, "f", "f")
			must[int](t)(d.Commit(t.Context()))
			check(t, d)
			b := d.db.NewBatch()
			breakIt(t, d, b, f.ID)
			if err := b.Commit(pebble.NoSync); err != nil {
				t.Fatal(err)
			}
			found := 0
			if err := d.Check(t.Context(), func(string) { found++ }); err != nil || found == 0 {
				t.Errorf("%d problems, %v", found, err)
			}
		})
	}
}

// TestCheckMany: of more rows than a replay is held in memory for, those that are others than the newest checkpoint has are found by that.
func TestCheckMany(t *testing.T) {
	n := newJoinPods() // blocks are kept
	d := n.open(t, 1)
	d.checkRows = 2
	f := mkfile(t, d, RootIno, "f", "f")
	for i := range 5 {
		mkfile(t, d, RootIno, fmt.Sprint(i), "text")
	}
	must[int](t)(d.Commit(t.Context()))
	check(t, d) // without any checkpoint
	must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	mkfile(t, d, RootIno, "later", "text")
	must[int](t)(d.Commit(t.Context()))
	check(t, d)
	row := InodeKey(f.ID)
	value := must[[]byte](t)(get(d.db, row))
	set, err := DecodeInodeSet(value)
	if err != nil {
		t.Fatal(err)
	}
	set[0].Value.Mode.Value ^= 0o111
	if err := d.db.Set(row, AppendInodeSet(nil, set), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	var found []string
	if err := d.Check(t.Context(), func(problem string) { found = append(found, problem) }); err != nil || len(found) != 1 {
		t.Errorf("problems %q, %v", found, err)
	}
}

func FuzzLocalValues(f *testing.F) {
	rec := folderRec{exists: true, attached: true, parent: 5, name: "x", entries: 3, came: 7, newest: 9, stale: true, changed: 11}
	f.Add(rec.encode())
	f.Add((&dirtyValue{order: 1, hlc: 2, observed: []Dot{{ident.Actor{Member: 1}, 2}}, value: []byte("v")}).encode())
	f.Add(actorState{seq: 1, digest: [32]byte{2}, hlc: 3}.encode())
	f.Add(appendSlots(nil, []slot{{ino: 1, link: 2, came: 3, multi: true, dir: true}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if rec, err := decodeFolderRec(b); err == nil && !bytes.Equal(rec.encode(), b) {
			t.Errorf("folder record %x is written as %x", b, rec.encode())
		}
		if w, err := decodeDirty(b); err == nil && !bytes.Equal(w.encode(), b) {
			t.Errorf("uncommitted row %x is written as %x", b, w.encode())
		}
		if _, s, err := decodeHeadRow(actorKey(actor(1)), b); err == nil && !bytes.Equal(s.encode(), b) {
			t.Errorf("an actor's last commit %x is written as %x", b, s.encode())
		}
		if slots, err := decodeSlots(b); err == nil && len(slots)*slotLen != len(b) {
			t.Errorf("%d slots from %d bytes", len(slots), len(b))
		}
	})
}

// TestStateRoot holds the bytes of the state root.
func TestStateRoot(t *testing.T) {
	golden(t, "state-root", encodedRoot(ident.Network{1, 2}, block.Sum(block.DagCBOR, []byte("rows")), VV{actor(1): 5, actor(2): 7}))
}
