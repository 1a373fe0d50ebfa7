package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// faulty is a pod of which only the commits are seen: it makes what rows it likes.
type faulty struct {
	t      *testing.T
	o      Options
	seq    uint64
	prev   [32]byte
	digest [][32]byte
}

// commit makes a commit of rows.
func (f *faulty) commit(rows ...Row) []byte {
	f.t.Helper()
	f.seq++
	c := &Commit{Header: Header{Network: f.o.Network, Actor: f.o.Actor, Seq: f.seq, Prev: f.prev, HLC: HLCOf(f.o.Clock.Now())}, Rows: rows}
	if s := SkipSeq(f.seq); s > 0 {
		c.Skip = f.digest[s-1]
	}
	b := c.Encode(f.o.Sign)
	f.prev = c.Digest()
	f.digest = append(f.digest, f.prev)
	return b
}

// rowIn is a row that nobody had, at a place.
func (f *faulty) rowIn(ino, parent Ino, name string, observed ...Dot) Row {
	ts := TS{HLC: HLCOf(f.o.Clock.Now()), Actor: f.o.Actor}
	n := &Inode{Kind: vfs.KindFile, Mode: Reg[uint32]{Value: 0o644, TS: ts}, Links: []Link{{Parent: parent, Name: name, TS: ts}}}
	if IsDerived(ino) {
		n.Kind = vfs.KindFolder
	} else {
		c := inline(fmt.Sprint(ino))
		n.Contents = []Content{{TS: ts, Size: c.Size, Body: c.Body, MtimeTS: ts}}
	}
	return Row{Key: InodeKey(ino), Observed: observed, Value: AppendInode(nil, n)}
}

func newFaulty(t *testing.T, n *joinPods, member uint32) *faulty {
	return &faulty{t: t, o: n.options(member, pebblevfs.NewMem())}
}

// TestLostFound: what a row names as its parent, and is not there, is shown in lost+found, with all in it; it is gone from there when the row comes, or nothing is in it any more.
func TestLostFound(t *testing.T) {
	n := newJoinPods()
	d := n.open(t, 1)
	bad := newFaulty(t, n, 2)
	lost, inner := derivedBit|500, derivedBit|600
	apply := func(commits ...[]byte) {
		t.Helper()
		must[int](t)(d.Apply(t.Context(), commits))
		check(t, d)
	}
	apply(bad.commit(bad.rowIn(7, lost, "f"), bad.rowIn(8, inner, "g"), bad.rowIn(inner, lost, "inner")))
	at := "/lost+found/" + LostPlace(lost).Name
	want := map[string]string{"/lost+found": "folder", at: "folder", at + "/f": "7", at + "/inner": "folder", at + "/inner/g": "8"}
	if got := tree(t, d); !cmp.Equal(got, want) {
		t.Fatal(cmp.Diff(got, want))
	}
	before := d.VV()
	cp := must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	if !d.VV().LessEqual(before) {
		t.Error("it was written back")
	}
	// By a tree in small batches, and from the beginning, it is the same.
	for i := range 2 {
		joiner := n.open(t, uint32(10+i))
		joiner.joinRows = 1 + i
		joinAll(t, joiner, d)
		check(t, joiner)
		if got := must[CheckpointInfo](t)(joiner.Checkpoint(t.Context())); got.Tree != cp.Tree {
			t.Errorf("tree root %s, want %s", got.Tree, cp.Tree)
		}
	}
	// It can't be changed; what is in it can be had.
	top := must[Node](t)(d.Lookup(RootIno, "lost+found"))
	folder := must[Node](t)(d.Lookup(top.ID, LostPlace(lost).Name))
	if path := must[string](t)(d.Path(folder.ID)); path != at {
		t.Errorf("path %q", path)
	}
	mode := uint32(0o700)
	for name, err := range map[string]error{
		"mode":        second(d.SetAttr(folder.ID, vfs.SetAttr{Mode: &mode})),
		"xattr":       second(d.SetXattr(top.ID, "user.x", []byte("x"), 0)),
		"new file":    second(d.Create(folder.ID, "new", vfs.NewNode{Kind: vfs.KindFile}, CreateOptions{})),
		"new folder":  second(d.Create(top.ID, "new", vfs.NewNode{Kind: vfs.KindFolder}, CreateOptions{})),
		"rename":      second(d.Rename(RootIno, "lost+found", RootIno, "x", 0)),
		"rename of":   second(d.Rename(top.ID, LostPlace(lost).Name, RootIno, "x", 0)),
		"rename into": second(d.Rename(folder.ID, "f", top.ID, "f", 0)),
	} {
		if !errors.Is(err, vfs.ErrNotPermitted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Remove(RootIno, "lost+found", true); !errors.Is(err, vfs.ErrNotEmpty) {
		t.Errorf("remove: %v", err)
	}
	must[Node](t)(d.Rename(folder.ID, "f", RootIno, "saved", 0))
	check(t, d)
	if got, want := tree(t, d), map[string]string{"/saved": "7", "/lost+found": "folder", at: "folder", at + "/inner": "folder", at + "/inner/g": "8"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(got, want))
	}
	// The row comes, and goes again.
	apply(bad.commit(bad.rowIn(lost, RootIno, "found")))
	if got, want := tree(t, d), map[string]string{"/saved": "7", "/found": "folder", "/found/inner": "folder", "/found/inner/g": "8"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(got, want))
	}
	apply(bad.commit(Row{Key: InodeKey(lost), Observed: []Dot{{bad.o.Actor, 2}}}))
	if got, want := tree(t, d), map[string]string{"/saved": "7", "/lost+found": "folder", at: "folder", at + "/inner": "folder", at + "/inner/g": "8"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(got, want))
	}
	must[Node](t)(d.Rename(folder.ID, "inner", RootIno, "inner", 0))
	check(t, d)
	if got, want := tree(t, d), map[string]string{"/saved": "7", "/inner": "folder", "/inner/g": "8"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(got, want))
	}
	must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	joiner := n.open(t, 20)
	joinAll(t, joiner, d)
	wantSame(t, []*DB{d, joiner})
}

func second[T any](_ T, err error) error { return err }

// TestLostFoundName: a folder that a user made under that name keeps it.
func TestLostFoundName(t *testing.T) {
	n := newJoinPods()
	d := n.open(t, 1)
	dir := mkdir(t, d, RootIno, "lost+found")
	mkfile(t, d, dir.ID, "own", "x")
	must[int](t)(d.Commit(t.Context()))
	bad := newFaulty(t, n, 2)
	must[int](t)(d.Apply(t.Context(), [][]byte{bad.commit(bad.rowIn(7, derivedBit|500, "f"))}))
	check(t, d)
	got := tree(t, d)
	if len(got) != 5 || got["/lost+found/own"] != "x" {
		t.Errorf("%v", got)
	}
	must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	check(t, d)
}

// TestLostFoundRefused: rows that only a faulty author makes, and that could hide others, are not taken in.
func TestLostFoundRefused(t *testing.T) {
	n := newJoinPods()
	d := n.open(t, 1)
	for name, row := range map[string]func(f *faulty) Row{
		"a file in a file":           func(f *faulty) Row { return f.rowIn(7, 8, "f") },
		"a file in lost+found":       func(f *faulty) Row { return f.rowIn(7, LostIno, "f") },
		"lost+found as a row":        func(f *faulty) Row { return f.rowIn(LostIno, RootIno, "x") },
		"a folder in itself is fine": func(f *faulty) Row { return f.rowIn(derivedBit|9, derivedBit|9, "x") },
	} {
		f := newFaulty(t, n, 2)
		_, err := d.Apply(t.Context(), [][]byte{f.commit(row(f))})
		if fine := name == "a folder in itself is fine"; (err == nil) != fine || !fine && !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		check(t, d)
	}
}

// TestLostFoundRandom: rows of a faulty author come, move and go in random order, folders before and after what is in them, in loops and in nothing. The index that is kept is always that
// which is made from scratch, every live inode is shown, and a pod that joins by a tree, in small batches, shows the same.
func TestLostFoundRandom(t *testing.T) {
	eachSeed(t, 25, 6, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 12))
		n := newJoinPods()
		d, bad := n.open(t, 1), newFaulty(t, n, 2)
		var inos []Ino
		for i := range 5 {
			inos = append(inos, Ino(10+i), derivedBit|Ino(100+i))
		}
		parents := append([]Ino{RootIno}, inos...)
		parents = slices.DeleteFunc(parents, func(i Ino) bool { return !isParent(i) })
		live := map[Ino]Dot{}
		for range 30 {
			n.clock.turn(1e6)
			var rows []Row
			rng.Shuffle(len(inos), func(i, j int) { inos[i], inos[j] = inos[j], inos[i] })
			for _, ino := range inos[:1+rng.IntN(4)] {
				var observed []Dot
				if dot, ok := live[ino]; ok {
					observed = []Dot{dot}
				}
				if len(observed) > 0 && rng.IntN(3) == 0 {
					rows = append(rows, Row{Key: InodeKey(ino), Observed: observed})
					delete(live, ino)
					continue
				}
				rows = append(rows, bad.rowIn(ino, parents[rng.IntN(len(parents))], fmt.Sprint("n", rng.IntN(3)), observed...))
				live[ino] = Dot{bad.o.Actor, bad.seq + 1}
			}
			must[int](t)(d.Apply(t.Context(), [][]byte{bad.commit(rows...)}))
			check(t, d)
			shown := map[Ino]bool{}
			var walk func(ino Ino)
			walk = func(ino Ino) {
				if shown[ino] {
					t.Fatalf("folder %d is twice in the view", ino)
				}
				shown[ino] = true
				for _, e := range must[[]Entry](t)(d.List(ino, "", 0)) {
					if shown[e.Node.Ino] = shown[e.Node.Ino] || e.Node.Kind != vfs.KindFolder; e.Node.Kind == vfs.KindFolder {
						walk(e.Node.ID)
					}
				}
			}
			walk(RootIno)
			for ino := range live {
				if !shown[ino] {
					t.Fatalf("inode %d is nowhere: %v", ino, tree(t, d))
				}
			}
			if rng.IntN(6) == 0 {
				joiner := n.open(t, 30)
				joiner.joinRows = 1 + rng.IntN(4)
				joinAll(t, joiner, d)
				wantSame(t, []*DB{d, joiner})
			}
		}
	})
}

// TestLostFoundUnstamped: what was in a folder without a row moves out in the commit that brings the row, whose stamps are zero, as no correct pod makes them: as old
// as an entry of lost+found.
func TestLostFoundUnstamped(t *testing.T) {
	n := newJoinPods()
	d := n.open(t, 1)
	bad := newFaulty(t, n, 2)
	lost := derivedBit | 500
	must[int](t)(d.Apply(t.Context(), [][]byte{bad.commit(bad.rowIn(7, lost, "f"))}))
	folder := Row{Key: InodeKey(lost), Value: AppendInode(nil, &Inode{Kind: vfs.KindFolder, Links: []Link{{Parent: RootIno, Name: "found"}}})}
	must[int](t)(d.Apply(t.Context(), [][]byte{bad.commit(bad.rowIn(7, RootIno, "f", Dot{bad.o.Actor, 1}), folder)}))
	check(t, d)
	if got, want := tree(t, d), map[string]string{"/f": "7", "/found": "folder"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(got, want))
	}
	if _, err := d.Remove(RootIno, "found", true); err != nil {
		t.Error(err)
	}
	check(t, d)
}

// TestLoopAtOnce: folders that were moved into each other apart, one of them removed after that, come by a join, in the order of their numbers: no order makes a loop.
func TestLoopAtOnce(t *testing.T) {
	for i := range 8 {
		n := newPods()
		a, b := n.open(t, 1), n.open(t, 2)
		o := n.options(3, pebblevfs.NewMem())
		o.Blocks = a.o.Blocks
		c := openWith(t, o)
		p, q := fmt.Sprint("p", i), fmt.Sprint("q", i)
		mkdir(t, a, RootIno, p)
		qID := mkdir(t, a, RootIno, q).ID
		must[int](t)(a.Commit(t.Context()))
		catchUp(t, b, a, 1<<20)
		pID := must[Node](t)(a.Lookup(RootIno, p)).ID
		n.clock.turn(time.Second)
		must[Node](t)(a.Rename(RootIno, q, pID, q, 0))
		n.clock.turn(time.Second)
		must[Node](t)(b.Rename(RootIno, p, qID, p, 0))
		must[Node](t)(b.Remove(qID, p, true))
		meetAll(t, a, b)
		want := map[string]string{"/" + p: "folder", "/" + p + "/" + q: "folder"}
		wantTree(t, a, want)
		wantTree(t, b, want)
		must[CheckpointInfo](t)(a.Checkpoint(t.Context()))
		joinAll(t, c, a)
		check(t, c)
		wantTree(t, c, want)
		wantSame(t, []*DB{a, b, c})
	}
}

// TestLoopInIndex: an index with a loop of folders, which only damage or a fault of ours can bring about, is told, and nothing climbs in it for ever.
func TestLoopInIndex(t *testing.T) {
	d := newPods().open(t, 1)
	a := mkdir(t, d, RootIno, "a")
	b := mkdir(t, d, a.ID, "b")
	must[int](t)(d.Commit(t.Context()))
	rec := must[*folderRec](t)(view{d: d, r: d.db}.folder(a.ID))
	rec.parent = b.ID
	if err := d.db.Set(inoKey(keyFolder, a.ID), rec.encode(), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"checkpoint": second(d.Checkpoint(t.Context())),
		"path":       second(d.Path(b.ID)),
		"rename":     second(d.Rename(RootIno, "a", b.ID, "x", 0)),
	} {
		if !errors.Is(err, block.ErrCorrupt) && !errors.Is(err, vfs.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	found := 0
	if err := d.Check(t.Context(), func(string) { found++ }); err != nil || found == 0 {
		t.Errorf("%d problems, %v", found, err)
	}
}
