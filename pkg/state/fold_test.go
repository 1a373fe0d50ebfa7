package state

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// foldTwo is the fold of two concurrent versions, in both orders.
func foldTwo(t *testing.T, a, b *Inode) Folded {
	t.Helper()
	da, db := Dot{actor(1), 9}, Dot{actor(2), 9}
	f := Fold(VerSet[*Inode]{{Dot: da, Value: a}, {Dot: db, Value: b}})
	g := Fold(VerSet[*Inode]{{Dot: da, Value: b}, {Dot: db, Value: a}})
	if d := cmp.Diff(f.Inode, g.Inode); d != "" {
		t.Fatalf("the fold depends on who made which version: %s", d)
	}
	return f
}

// TestFoldRegisters: each field is the latest, whatever the others are.
func TestFoldRegisters(t *testing.T) {
	base := plainInodeAt(1).Stamp(Dot{actor(3), 1})
	base.Xattrs = []Xattr{{Name: "a", Value: []byte("old"), TS: at(1, 1)}, {Name: "b", Value: []byte("old"), TS: at(1, 1)}}
	a, b := base.Clone(), base.Clone()
	a.Mode = Reg[uint32]{Value: 0o600, TS: at(5, 1)}
	b.Mode = Reg[uint32]{Value: 0o777, TS: at(4, 2)}
	b.Owner = Reg[Owner]{Value: Owner{UID: 5}, TS: at(4, 2)}
	a.SetXattr(Xattr{Name: "a", Gone: true, TS: at(5, 1)})
	b.SetXattr(Xattr{Name: "a", Value: []byte("new"), TS: at(4, 2)})
	b.SetXattr(Xattr{Name: "c", Value: []byte("new"), TS: at(4, 2)})
	a.SetFolderMtime(7, at(3, 1))
	b.SetFolderMtime(8, at(4, 2))
	a.Contents[0].Mtime, a.Contents[0].MtimeTS = 100, at(6, 1)
	b.Contents[0].Mtime, b.Contents[0].MtimeTS = 50, at(7, 2)

	want := base.Clone()
	want.Dot = Dot{}
	want.Mode, want.Owner = a.Mode, b.Owner
	want.Xattrs = []Xattr{a.Xattrs[0], base.Xattrs[1], b.Xattrs[2]}
	want.Ext = b.Ext
	want.Contents = b.Contents
	got := foldTwo(t, a, b)
	if d := cmp.Diff(got.Inode, want); d != "" {
		t.Errorf("got - want +\n%s", d)
	}
	if mtime, ts, ok := got.Inode.FolderMtime(); mtime != 8 || ts != at(4, 2) || !ok {
		t.Errorf("folder's mtime: got %d, %v, %v", mtime, ts, ok)
	}
	if _, _, ok := base.FolderMtime(); ok {
		t.Error("a folder's mtime that nobody set")
	}
	if got := got.Inode.Newest(); got != at(7, 2) {
		t.Errorf("ctime: got %v, want that of the last utimes", got)
	}
}

// TestFoldLinks: a rename and an unlink made apart both hold; the links of both are there; each register by its own stamp.
func TestFoldLinks(t *testing.T) {
	base := plainInodeAt(1).Stamp(Dot{actor(3), 1})
	base.Links = append(base.Links, Link{ID: 50, Parent: RootIno, Name: "second", TS: at(2, 1)})
	a, b := base.Clone(), base.Clone()
	l := &a.Links[0] // a renames it over another file, later than b kills it
	l.PrevParent, l.PrevName, l.Name, l.TS, l.Over = l.Parent, l.Name, "renamed", at(6, 1), &Over{Ino: 5, Since: at(1, 2), TS: at(6, 1)}
	b.Links[0].Dead, b.Links[0].DeadTS = true, at(5, 2)
	b.Links = append(b.Links, Link{ID: 60, Parent: RootIno, Name: "third", TS: at(5, 2)})

	first := a.Links[0]
	first.Dead, first.DeadTS = true, at(5, 2)
	got := foldTwo(t, a, b)
	if d := cmp.Diff(got.Inode.Links, []Link{first, base.Links[1], b.Links[2]}); d != "" || got.Dead {
		t.Errorf("dead %v, got - want +\n%s", got.Dead, d)
	}
	a.Links[0].Dead, a.Links[0].DeadTS = false, at(7, 1) // revived, later
	if got := foldTwo(t, a, b); got.Inode.Links[0].Dead {
		t.Error("the later of death and revival does not hold")
	}
	a.Links[0].DeadTS = at(5, 2) // as nobody honest makes it
	if got := foldTwo(t, a, b); !got.Inode.Links[0].Dead {
		t.Error("of a tie, death does not hold")
	}
}

// TestFoldUnlinkApart: each of two names unlinked by one pod: all are dead, and the one that died last is shown.
func TestFoldUnlinkApart(t *testing.T) {
	base := plainInodeAt(1).Stamp(Dot{actor(3), 1})
	base.Links = append(base.Links, Link{ID: 50, Parent: RootIno, Name: "second", TS: at(2, 1)})
	a, b := base.Clone(), base.Clone()
	a.Links[0].Dead, a.Links[0].DeadTS = true, at(5, 1)
	b.Links[1].Dead, b.Links[1].DeadTS = true, at(6, 2)
	got := foldTwo(t, a, b)
	if s := got.Shown(); !got.Dead || len(s) != 1 || s[0].Name != "second" {
		t.Errorf("dead %v, shown %+v, want second", got.Dead, s)
	}
}

// TestFoldContents: an edit replaces what it observed, not what was written apart; a version keeps what it lists against its own seen.
func TestFoldContents(t *testing.T) {
	write := func(n *Inode, d Dot, ms int) *Inode {
		n = n.Clone()
		f := Fold(VerSet[*Inode]{{Dot: Dot{actor(9), 1}, Value: n}})
		n.Seen = f.SeenForUpdate()
		n.SetShown(Content{TS: at(ms, int(d.Actor.Member)), Body: []byte{byte(ms)}}, nil)
		return n.Stamp(d)
	}
	base := plainInodeAt(1).Stamp(Dot{actor(3), 1})
	a, b := write(base, Dot{actor(1), 9}, 5), write(base, Dot{actor(2), 9}, 6)
	both := foldTwo(t, a, b)
	if c := both.Inode.Contents; len(c) != 2 || c[0].Dot.Actor != actor(2) || c[1].Dot.Actor != actor(1) {
		t.Fatalf("both edit: got %+v, want the newest first", c)
	}
	chmod := base.Clone()
	chmod.Mode = Reg[uint32]{TS: at(7, 2)}
	if c := foldTwo(t, a, chmod).Inode.Contents; len(c) != 1 || c[0].Dot.Actor != actor(1) {
		t.Errorf("edit and chmod: got %+v, want the edit", c)
	}
	if d := cmp.Diff(both.SeenForUpdate(), []Dot{{actor(1), 9}, {actor(2), 9}, {actor(3), 1}}); d != "" {
		t.Errorf("seen: got - want +\n%s", d)
	}
	two := write(both.Inode, Dot{actor(3), 9}, 8) // replaces the shown one, keeps the conflict
	if len(two.Contents) != 2 || two.Seen == nil {
		t.Fatalf("got %+v, seen %v", two.Contents, two.Seen)
	}
	if c := foldTwo(t, two, b).Inode.Contents; len(c) != 2 || c[0].Dot.Actor != actor(3) || c[1].Dot.Actor != actor(1) {
		t.Errorf("what was replaced came back: %+v", c)
	}
	k := base.Clone() // two contents of one commit, as a re-labelling can make them: both stay
	k.Contents = append([]Content{{Dot: base.Contents[0].Dot, K: 1, TS: at(2, 3), Body: []byte("k")}}, k.Contents...)
	if c := foldTwo(t, k, k.Clone()).Inode.Contents; len(c) != 2 {
		t.Errorf("two of one dot: got %+v", c)
	}
}

// TestSameBytes: a write to a file replaces all contents with the bytes that it shows, hidden ones too.
func TestSameBytes(t *testing.T) {
	n := plainInode()
	content := func(ms int, body string) Content {
		return Content{Dot: Dot{actor(uint32(ms)), 1}, TS: at(ms, ms), Body: []byte(body)}
	}
	n.Contents = []Content{content(4, "x1"), content(3, "y1"), content(2, "x2"), content(1, "x1")}
	m := n.Clone()
	m.SetShown(Content{TS: at(9, 1)}, nil)
	if len(m.Contents) != 3 || m.Contents[0].TS != at(9, 1) || !m.Contents[0].Dot.IsZero() {
		t.Errorf("by body: got %+v", m.Contents)
	}
	m = n.Clone()
	m.SetShown(Content{TS: at(9, 1)}, func(b []byte) string { return string(b[:min(1, len(b))]) })
	if len(m.Contents) != 2 || string(m.Contents[1].Body) != "y1" {
		t.Errorf("by key: got %+v", m.Contents)
	}
	m.SetShown(Content{TS: at(2, 9)}, nil) // its own uncommitted content is replaced, and its name may be used again
	if len(m.Contents) != 2 || m.Contents[1].K != 0 {
		t.Errorf("again: got %+v", m.Contents)
	}
	m.SetShown(Content{TS: at(9, 9)}, nil)
	if len(m.Contents) != 2 || m.Contents[0].K != 1 {
		t.Errorf("beside an uncommitted one: got %+v, want K 1", m.Contents)
	}
	m.DropContent(ContentName{Dot: Dot{actor(77), 1}}, nil)
	if len(m.Contents) != 2 {
		t.Errorf("a content that is not there was dropped: %+v", m.Contents)
	}
}

// TestFoldFaulty: versions that no honest author makes still fold to an inode that can be written.
func TestFoldFaulty(t *testing.T) {
	f := foldTwo(t, plainFolder(), plainFolder())
	if f.Inode.Kind != vfs.KindFolder || len(f.Inode.Links) != 1 {
		t.Errorf("got %+v", f.Inode)
	}
	s := VerSet[*Inode]{{Dot: Dot{actor(1), 1}, Value: plainFolder()}, {Dot: Dot{actor(2), 1}, Value: fullInode().Stamp(Dot{actor(2), 1})}}
	f = Fold(s)
	if _, err := DecodeInode(AppendInode(nil, f.Inode)); err != nil || len(f.Dots) != 2 || f.Inode.Kind != vfs.KindFolder {
		t.Errorf("kinds that differ: %v, %+v", err, f)
	}
}

func TestFoldWish(t *testing.T) {
	pod := func(n byte) ident.Pod { return ident.Pod(bytes.Repeat([]byte{n}, 32)) }
	a := &Wish{
		Policy: Reg[string]{"none", at(5, 1)}, Durability: Reg[string]{"full", at(1, 1)}, Homes: Reg[[]ident.Pod]{[]ident.Pod{pod(1)}, at(5, 1)},
		Pins: []Pin{{Pod: pod(1), TS: at(5, 1)}, {Pod: pod(2), TS: at(3, 1)}},
	}
	b := &Wish{
		Policy: Reg[string]{"raid1", at(4, 2)}, Durability: Reg[string]{"local", at(2, 2)}, Homes: Reg[[]ident.Pod]{nil, at(6, 2)},
		Pins: []Pin{{Pod: pod(2), Gone: true, TS: at(4, 2)}, {Pod: pod(3), TS: at(4, 2)}},
		Ext:  []Ext{{Field: 1, TS: at(4, 2), Value: []byte("x")}},
	}
	want := Wish{Policy: a.Policy, Durability: b.Durability, Homes: b.Homes, Pins: []Pin{a.Pins[0], b.Pins[0], b.Pins[1]}, Ext: b.Ext}
	for _, s := range []VerSet[*Wish]{{{Dot{actor(1), 1}, a}, {Dot{actor(2), 1}, b}}, {{Dot{actor(1), 1}, b}, {Dot{actor(2), 1}, a}}} {
		if d := cmp.Diff(FoldWish(s), want); d != "" {
			t.Errorf("got - want +\n%s", d)
		}
	}
	if d := cmp.Diff(FoldWish(nil), Wish{}); d != "" {
		t.Errorf("no version: %s", d)
	}
}
