package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// meet has a DB compare its numbers with another one, and take over what that has by the log, or, if tree or where the log is cut off, by its tree. It says
// whether all came: if commits parted where no log reaches, a pod of the author must meet one of the two first; of a fork that only one knows, it tells the other.
func meet(t testing.TB, to, from *DB, tree bool) (done bool) {
	t.Helper()
	ctx := t.Context()
	for range 8 {
		if err := to.Reconcile(ctx, dbPeer{from, 4000}); errors.Is(err, ErrFork) {
			return false
		} else if err != nil {
			t.Fatal(err)
		}
		err := fetchAllLog(t, to, from)
		if err == nil && tree {
			_, err = joinOffer(t, to, from)
		} else if errors.Is(err, ErrTruncated) {
			_, err = joinOffer(t, to, from)
		}
		switch {
		case err == nil && from.VV().LessEqual(to.VV()):
			return true
		case errors.Is(err, block.ErrNotFound), errors.Is(err, ErrFork), errors.Is(err, ErrGap):
			if err := from.Reconcile(ctx, dbPeer{to, 4000}); err != nil && !errors.Is(err, ErrFork) {
				t.Fatal(err)
			}
		case err != nil:
			t.Fatal(err)
		}
	}
	return false
}

// fetchAllLog is fetchAll, of a log that may be cut off.
func fetchAllLog(t testing.TB, to, from *DB) error {
	t.Helper()
	for {
		commits, err := from.Log(t.Context(), to.VV(), 4000)
		if err != nil || len(commits) == 0 {
			return err
		}
		if n, err := to.Apply(t.Context(), commits); err != nil || n == 0 {
			return err
		}
	}
}

// joinOffer joins what a DB offers, of a checkpoint made now.
func joinOffer(t testing.TB, to, from *DB) (joined bool, err error) {
	t.Helper()
	must[CheckpointInfo](t)(from.Checkpoint(t.Context()))
	o, err := from.Offer(t.Context(), to.VV())
	if errors.Is(err, block.ErrNotFound) {
		return false, nil // nothing is lacking
	}
	if err != nil {
		t.Fatal(err)
	}
	back := must[Offer](t)(DecodeOffer(o.Encode()))
	if err := back.Complete(t.Context(), from.Digests); err != nil {
		t.Fatal(err)
	}
	return to.Join(t.Context(), back)
}

// cutAll drops all rows from a DB's log that a checkpoint covers, however few others have them.
func cutAll(t testing.TB, d *DB) {
	t.Helper()
	must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	must[int64](t)(d.Truncate(t.Context(), LogLimits{Known: d.VV()}))
}

// settleAll has all meet until all have everything.
func settleAll(t testing.TB, rng *rand.Rand, dbs []*DB) {
	t.Helper()
	for _, d := range dbs {
		must[int](t)(d.Commit(t.Context()))
	}
	for range 8 {
		all := true
		for _, to := range dbs {
			for _, from := range dbs {
				if from != to {
					all = meet(t, to, from, rng.IntN(3) == 0) && all
				}
			}
		}
		for _, d := range dbs[1:] {
			all = all && len(must[[][]byte](t)(d.Forks())) == len(must[[][]byte](t)(dbs[0].Forks())) && d.VV().LessEqual(dbs[0].VV()) && dbs[0].VV().LessEqual(d.VV())
		}
		if all {
			return
		}
	}
	for _, d := range dbs {
		t.Logf("%s: %v", d.Actor(), d.VV())
	}
	t.Fatal("pods that meet each other don't get everything")
}

// TestJoinForked: two clones go on apart, their neighbours take what they did by tree, all logs are cut, and only then all meet. If it fails, a network in
// which a machine was once cloned takes in no new pod, or loses what one of the clones did.
func TestJoinForked(t *testing.T) {
	for _, mode := range []string{"logs", "trees", "cut", "trees and cut"} {
		t.Run(mode, func(t *testing.T) {
			n := newJoinPods()
			m := n.machine(1)
			m.o.Blocks = n.blocks
			a := openWith(t, m.o)
			for i := range 9 {
				mkfile(t, a, RootIno, fmt.Sprint("before ", i), "x")
				must[int](t)(a.Commit(t.Context()))
			}
			b := openWith(t, m.image().o)
			c, d := n.open(t, 3), n.open(t, 4)
			for i := range 5 {
				mkfile(t, a, RootIno, fmt.Sprint("of a ", i), "a")
				mkfile(t, b, RootIno, fmt.Sprint("of b ", i), "b")
				must[int](t)(a.Commit(t.Context()))
				must[int](t)(b.Commit(t.Context()))
			}
			must[Node](t)(b.Remove(RootIno, "before 3", false))
			must[int](t)(b.Commit(t.Context()))
			trees, cut := mode == "trees" || mode == "trees and cut", mode == "cut" || mode == "trees and cut"
			for _, pair := range [][2]*DB{{c, a}, {d, b}} {
				if trees {
					joinAll(t, pair[0], pair[1])
				} else {
					pull(t, pair[0], pair[1])
				}
			}
			mkfile(t, c, RootIno, "of c", "c")
			mkfile(t, d, RootIno, "of d", "d")
			e := must[Node](t)(d.Lookup(RootIno, "of b 4"))
			must[Node](t)(d.SetContent(e.ID, inline("b edited by d")))
			must[int](t)(c.Commit(t.Context()))
			must[int](t)(d.Commit(t.Context()))
			if cut {
				for _, x := range []*DB{a, b, c, d} {
					cutAll(t, x)
					check(t, x)
				}
			}
			// The two headers that prove the fork are in the logs of neighbours that got all by log, and keep it.
			if done := meet(t, c, d, false); done != (mode == "logs") || meet(t, d, c, true) != done {
				t.Errorf("neighbours of the clones meet, and settle it: %v", done)
			}
			settleAll(t, rand.New(rand.NewPCG(1, 1)), []*DB{a, b, c, d})
			fresh := n.open(t, 5)
			if joined, err := joinOffer(t, fresh, d); !joined || err != nil {
				t.Fatalf("a new pod: %v, %v", joined, err)
			}
			all := []*DB{a, b, c, d, fresh}
			wantSame(t, all)
			x := tree(t, fresh)
			if len(x) != 8+5+5+2 || x["/of b 4"] != "b edited by d" || x["/of c"] != "c" || x["/before 3"] != "" {
				t.Errorf("%v", x)
			}
			if got := len(must[[][]byte](t)(fresh.Forks())); got != 1 {
				t.Errorf("%d forks", got)
			}
			// And it goes on: logs are cut again, by who joined too, and what is new comes by log and by tree.
			for _, x := range all {
				cutAll(t, x)
				check(t, x)
			}
			mkfile(t, fresh, RootIno, "of fresh", "f")
			mkfile(t, a, RootIno, "more of a", "a")
			settleAll(t, rand.New(rand.NewPCG(1, 2)), all)
			wantSame(t, all)
		})
	}
}

// TestLearnForkBehindTree: a pod that joined by a tree, and has no commit of what it joined, hears of a fork that lies before that. What it has gets its label by the digests.
func TestLearnForkBehindTree(t *testing.T) {
	n := newJoinPods()
	m := n.machine(1)
	m.o.Blocks = n.blocks
	a := openWith(t, m.o)
	commitFiles(t, a, "both", 40)
	b := openWith(t, m.image().o)
	commitFiles(t, a, "a", 60)
	commitFiles(t, b, "b", 3)
	cutAll(t, a)
	joiner, second := n.open(t, 3), n.open(t, 4)
	joinAll(t, joiner, a)
	pull(t, second, b)
	if !meet(t, b, a, true) {
		t.Fatal("the author does not settle it")
	}
	was := joiner.VV()
	for _, f := range must[[][]byte](t)(b.Forks()) {
		if fresh, err := joiner.LearnFork(t.Context(), f); err != nil || !fresh {
			t.Fatal(fresh, err)
		}
	}
	check(t, joiner)
	if now := joiner.VV(); was[m.o.Actor] != 100 || now[m.o.Actor] != 40 || len(now) != 2 {
		t.Errorf("it had %v, and has %v", was, now)
	}
	settleAll(t, rand.New(rand.NewPCG(1, 3)), []*DB{joiner, second, b, a})
	wantSame(t, []*DB{a, b, joiner, second})
	if got := len(tree(t, second)); got != 103 {
		t.Errorf("%d files", got)
	}
}

// TestJoinForksConverge is TestForksConverge with trees, and with logs that are cut off, early and late.
func TestJoinForksConverge(t *testing.T) {
	eachSeed(t, 30, 6, joinForksConverge)
}

func joinForksConverge(t *testing.T, seed uint64) {
	n := newJoinPods()
	rng := rand.New(rand.NewPCG(seed, 11))
	var machines, images []*machine
	var users []*user
	start := func(m *machine) *user {
		u := &user{t: t, rng: rng}
		m.o.BeforeCommit = u.beforeCommit
		if rng.IntN(3) == 0 {
			m.o.Copy = fmt.Append(nil, rng.IntN(3))
		}
		u.d = openWith(t, m.o)
		u.d.joinRows = 1 + rng.IntN(40)
		return u
	}
	for i := range 3 {
		m := n.machine(uint32(i + 1))
		m.o.Blocks = n.blocks
		machines, users = append(machines, m), append(users, start(m))
	}
	for i := range 30 + rng.IntN(150) {
		k := rng.IntN(len(users))
		u, m := users[k], machines[k]
		u.step(i)
		u.busy = rng.IntN(3)
		n.clock.turn(time.Duration(rng.IntN(3)) * time.Millisecond)
		from := users[rng.IntN(len(users))].d
		switch rng.IntN(24) {
		case 0, 1, 2, 3, 4, 5:
			must[int](t)(u.d.Commit(t.Context()))
		case 6, 7, 8:
			if from != u.d {
				meet(t, u.d, from, rng.IntN(2) == 0)
			}
		case 9: // without having met: it is refused at worst
			if from == u.d {
				break
			}
			if _, err := joinOffer(t, u.d, from); err != nil && !errors.Is(err, ErrFork) && !errors.Is(err, block.ErrNotFound) {
				t.Fatal(err)
			}
		case 10, 11:
			if rng.IntN(2) == 0 {
				cutAll(t, u.d)
				break
			}
			must[int64](t)(u.d.Truncate(t.Context(), LogLimits{Known: u.d.VV(), Max: int64(rng.IntN(4000))}))
		case 12:
			images = append(images, m.image())
		case 13: // set back
			if len(images) > 0 {
				at := rng.IntN(len(images))
				i := slices.IndexFunc(machines, func(m *machine) bool { return m.o.Actor == images[at].o.Actor })
				machines[i] = images[at].image()
				users[i] = start(machines[i])
			}
		case 14: // copied
			if len(users) < 6 {
				m := m.image()
				machines, users = append(machines, m), append(users, start(m))
			}
		}
		if rng.IntN(40) == 0 {
			check(t, u.d)
		}
	}
	dbs := make([]*DB, len(users))
	for i, u := range users {
		u.busy = 0
		dbs[i] = u.d
	}
	settleAll(t, rng, dbs)
	fresh, byLog := n.open(t, 9), n.open(t, 10)
	from := dbs[rng.IntN(len(dbs))]
	if _, err := joinOffer(t, fresh, from); err != nil {
		t.Fatal(err)
	}
	if !meet(t, byLog, from, false) {
		t.Fatal("a new pod does not get everything")
	}
	wantSame(t, append(slices.Clone(dbs), fresh, byLog))
}

// TestDisputed: a pod hears from another one's tips that it has to say where its commits part.
func TestDisputed(t *testing.T) {
	n := newJoinPods()
	a, b := n.open(t, 1), n.open(t, 2)
	mkfile(t, a, RootIno, "f", "x")
	exchange(t, a, b)
	tips := must[[]Tip](t)(a.Tips())
	for name, c := range map[string]struct {
		d      *DB
		change func(tip *Tip)
		want   bool
	}{
		"the same":             {a, func(*Tip) {}, false},
		"another commit":       {a, func(tip *Tip) { tip.Digest[0]++ }, true},
		"one that is not here": {a, func(tip *Tip) { tip.Digest[0]++; tip.Seq++ }, false},
		"of somebody else":     {b, func(tip *Tip) { tip.Digest[0]++ }, false},
		"of a branch":          {a, func(tip *Tip) { tip.Actor = ident.BranchOf(1, tip.Digest) }, false},
	} {
		theirs := slices.Clone(tips)
		c.change(&theirs[0])
		if got := must[bool](t)(c.d.Disputed(theirs)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestJoinOutdatedByFork: between its question and the answer a pod learns a fork behind which both it and the pod it asked have commits. If it fails, it calls that one a liar.
func TestJoinOutdatedByFork(t *testing.T) {
	n := newJoinPods()
	m := n.machine(1)
	m.o.Blocks = n.blocks
	a := openWith(t, m.o)
	mkfile(t, a, RootIno, "before", "x")
	must[int](t)(a.Commit(t.Context()))
	clone := openWith(t, m.image().o)
	b, c := n.open(t, 2), n.open(t, 3)
	for i := range 3 {
		mkfile(t, a, RootIno, fmt.Sprint("of a ", i), "a")
		must[int](t)(a.Commit(t.Context()))
	}
	catchUp(t, c, a, 1<<20)
	mkfile(t, a, RootIno, "last", "a")
	must[int](t)(a.Commit(t.Context()))
	catchUp(t, b, a, 1<<20)
	o := offer(t, b, c)
	o.Asked = c.VV()
	mkfile(t, clone, RootIno, "of the clone", "b")
	must[int](t)(clone.Commit(t.Context()))
	if err := c.Reconcile(t.Context(), dbPeer{clone, 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if forks := must[[][]byte](t)(c.Forks()); len(forks) != 1 {
		t.Fatalf("%d forks are known", len(forks))
	}
	if joined, err := c.Join(t.Context(), o); joined || !errors.Is(err, ErrOutdated) {
		t.Errorf("an answer to what was asked before: %v, %v", joined, err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	dbs := []*DB{a, clone, b, c}
	settleAll(t, rng, dbs)
	wantSame(t, dbs)
}
