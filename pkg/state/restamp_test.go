package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
)

// TestRestamp: a pod works alone while its clock is ten years ahead. When the clock is right again and it meets others, they take what it did, stamped with
// the present, and later changes win over it.
func TestRestamp(t *testing.T) {
	n := newPods()
	m := n.machine(1)
	a, b := openWith(t, m.o), n.open(t, 2)
	f := mkfile(t, a, RootIno, "f", "before")
	must[int](t)(a.Commit(t.Context()))
	catchUp(t, b, a, 1<<20)
	const years = 10 * 365 * 24 * time.Hour
	n.clock.turn(years)
	must[Node](t)(a.SetContent(f.ID, inline("from the future")))
	must[int](t)(a.Commit(t.Context()))
	g := mkfile(t, a, mkdir(t, a, RootIno, "folder").ID, "g", "1")
	must[int](t)(a.Commit(t.Context()))
	must[Node](t)(a.SetContent(g.ID, inline("2")))
	must[Node](t)(a.Rename(RootIno, "f", RootIno, "f, moved", 0))
	policy := "replica:3"
	if err := a.SetWish(g.ID, WishEdit{Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	must[int](t)(a.Commit(t.Context()))
	mkfile(t, a, RootIno, "uncommitted", "u")
	n.clock.turn(-years)

	if err := fetchAll(t, b, a, 1<<20); !errors.Is(err, ErrFuture) {
		t.Fatalf("commits of ten years ahead: %v", err)
	}
	if err := a.Reconcile(t.Context(), dbPeer{b, 1 << 20}); err != nil {
		t.Fatal(err)
	}
	check(t, a)
	if a.Actor() == m.o.Actor {
		t.Error("it has its old incarnation")
	}
	meetAll(t, a, b)
	want := map[string]string{"/f, moved": "from the future", "/folder": "folder", "/folder/g": "2", "/uncommitted": "u"}
	wantTree(t, a, want)
	wantTree(t, b, want)
	wantSame(t, []*DB{a, b})
	n.clock.turn(time.Minute)
	must[Node](t)(b.Rename(RootIno, "f, moved", RootIno, "f, moved by b", 0))
	must[Node](t)(a.SetContent(g.ID, inline("3")))
	meetAll(t, a, b)
	for _, d := range []*DB{a, b} {
		if x := tree(t, d); x["/f, moved by b"] != "from the future" || x["/folder/g"] != "3" {
			t.Errorf("%v", x)
		}
		check(t, d)
	}
	if again, err := a.Restamp(t.Context(), nil, n.clock.Now()); again != 0 || err != nil {
		t.Errorf("again: %d, %v", again, err)
	}
	if at := must[Node](t)(a.Lookup(RootIno, "folder")).Mtime; at > n.clock.Now().UnixNano() {
		t.Errorf("the folder's mtime is %v", time.Unix(0, at))
	}
}

// TestRestampKeeps: what a commit of somebody else rests on is never made anew, nor what was taken.
func TestRestampKeeps(t *testing.T) {
	n := newPods()
	a, b := n.open(t, 1), n.open(t, 2)
	n.clock.turn(time.Hour)
	f := mkfile(t, a, RootIno, "f", "1")
	must[int](t)(a.Commit(t.Context()))
	catchUp(t, b, a, 1<<20) // its clock is ahead, too
	must[Node](t)(b.SetContent(f.ID, inline("2")))
	must[int](t)(b.Commit(t.Context()))
	catchUp(t, a, b, 1<<20)
	n.clock.turn(-time.Hour)
	if got := must[int](t)(a.Restamp(t.Context(), nil, n.clock.Now())); got != 0 {
		t.Errorf("%d commits that another rests on", got)
	}
	c := n.open(t, 3)
	n.clock.turn(time.Hour)
	mkfile(t, c, RootIno, "g", "1")
	must[int](t)(c.Commit(t.Context()))
	n.clock.turn(-time.Hour)
	if got := must[int](t)(c.Restamp(t.Context(), VV{actor(3): 1}, n.clock.Now())); got != 0 {
		t.Errorf("%d commits that were taken", got)
	}
}

// TestRestampBehind: a pod whose clock is wrong now, and was right when it made its commits, makes none anew: others have them, or will take them.
func TestRestampBehind(t *testing.T) {
	n := newPods()
	o, own := n.options(1, pebblevfs.NewMem()), &turned{now: n.clock.Now()}
	o.Clock = own
	a, b, c := openWith(t, o), n.open(t, 2), n.open(t, 3)
	mkfile(t, a, RootIno, "f", "1")
	g := mkfile(t, a, RootIno, "g", "1")
	must[int](t)(a.Commit(t.Context()))
	catchUp(t, b, a, 1<<20)
	own.turn(-365 * 24 * time.Hour)
	before := a.Actor()
	if err := a.Reconcile(t.Context(), dbPeer{c, 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if a.Actor() != before {
		t.Error("what others have was made anew, since its clock is behind")
	}
	must[Node](t)(a.Remove(RootIno, "g", false))
	must[int](t)(a.Commit(t.Context()))
	meetAll(t, b, a)
	if _, err := b.Get(g.ID); err == nil {
		t.Error("what was removed is there")
	}
}

// TestRestampInVain: what others did that was taken with the same wrong clock is as far ahead: new stamps would be refused as the old ones are.
func TestRestampInVain(t *testing.T) {
	n := newPods()
	a, b, c := n.open(t, 1), n.open(t, 2), n.open(t, 3)
	n.clock.turn(time.Hour)
	mkfile(t, b, RootIno, "f", "1")
	must[int](t)(b.Commit(t.Context()))
	catchUp(t, a, b, 1<<20) // its clock is ahead, too
	mkfile(t, a, RootIno, "g", "1")
	must[int](t)(a.Commit(t.Context()))
	n.clock.turn(-time.Hour)
	if err := a.Reconcile(t.Context(), dbPeer{c, 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if a.Actor() != actor(1) {
		t.Error("it was made anew with stamps as far ahead")
	}
}

// TestRestampConverges: pods whose clocks go wrong in between do random things. In the end all have the same, and rows, index and log fit.
func TestRestampConverges(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) % 1e9
	t.Logf("seed %d", seed)
	for r := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed+r, 11))
		n := newPods()
		var users []*user
		var dbs []*DB
		for i := range 3 {
			u := &user{t: t, rng: rng}
			u.d = openWith(t, n.options(uint32(i+1), pebblevfs.NewMem()))
			users, dbs = append(users, u), append(dbs, u.d)
		}
		for i := range 60 {
			u := users[rng.IntN(3)]
			ahead := time.Duration(0)
			if rng.IntN(4) == 0 {
				ahead = time.Duration(1+rng.IntN(3)) * time.Hour
			}
			n.clock.turn(ahead)
			u.step(i)
			if rng.IntN(3) == 0 {
				must[int](t)(u.d.Commit(t.Context()))
			}
			n.clock.turn(-ahead + time.Millisecond)
			if from := dbs[rng.IntN(3)]; from != u.d && rng.IntN(4) == 0 {
				if err := u.d.Reconcile(t.Context(), dbPeer{from, 1 << 20}); err != nil {
					t.Fatal(err)
				}
				if err := fetchAll(t, u.d, from, 1<<20); err != nil && !errors.Is(err, ErrFuture) {
					t.Fatal(err)
				}
				check(t, u.d)
			}
		}
		for range 2 {
			for _, d := range dbs {
				must[int](t)(d.Commit(t.Context()))
				must[int](t)(d.Restamp(t.Context(), nil, n.clock.Now()))
			}
		}
		n.clock.turn(5 * time.Hour) // what was not made anew, since others rest on it
		meetAll(t, dbs...)
		wantSame(t, dbs)
	}
}

// TestJoinOutdated: between its question and the answer a pod makes own commits anew, which the pod it asked has taken. The answer, which shows only what
// it lacked then, is no proof any more, and no lie either: it asks again, and joins that. If it fails, pods call each other liars after clocks went wrong.
func TestJoinOutdated(t *testing.T) {
	for name, before := range map[string]int{"the only commit": 0, "the last commit": 3} {
		t.Run(name, func(t *testing.T) {
			n := newJoinPods()
			a, b := n.open(t, 1), n.open(t, 2)
			for i := range before {
				mkfile(t, a, RootIno, fmt.Sprintf("before %d", i), "x")
				must[int](t)(a.Commit(t.Context()))
			}
			n.clock.turn(time.Hour)
			mkfile(t, a, RootIno, "ahead", "1")
			must[int](t)(a.Commit(t.Context()))
			catchUp(t, b, a, 1<<20) // its clock is ahead, too
			mkfile(t, b, RootIno, "of b", "2")
			must[int](t)(b.Commit(t.Context()))
			asked := a.VV()
			o := offer(t, b, a)
			o.Asked = asked
			n.clock.turn(-time.Hour)
			if got := must[int](t)(a.Restamp(t.Context(), nil, n.clock.Now())); got != 1 {
				t.Fatalf("%d commits are made anew", got)
			}
			n.clock.turn(time.Hour)
			if joined, err := a.Join(t.Context(), o); joined || !errors.Is(err, ErrOutdated) {
				t.Errorf("an answer to what was asked before: %v, %v", joined, err)
			}
			o = offer(t, b, a)
			o.Asked = a.VV()
			if joined, err := a.Join(t.Context(), o); !joined || err != nil {
				t.Errorf("asked again: %v, %v", joined, err)
			}
			meetAll(t, a, b)
			check(t, a)
			wantSame(t, []*DB{a, b})
		})
	}
}
