package state

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// dbPeer is a DB as another asks it.
type dbPeer struct {
	*DB

	page int // bytes of a Log answer
}

func (p dbPeer) Forks(context.Context) ([][]byte, error) { return p.DB.Forks() }

func (p dbPeer) Tips(context.Context) ([]Tip, error) { return p.DB.Tips() }

func (p dbPeer) Log(ctx context.Context, have VV) ([][]byte, error) {
	return p.DB.Log(ctx, have, p.page)
}

func (p dbPeer) Now(context.Context) (time.Time, error) { return p.o.Clock.Now(), nil }

// catchUp has a DB take over what another has, as a pod does that meets it.
func catchUp(t testing.TB, to, from *DB, page int) {
	t.Helper()
	peer := dbPeer{from, page}
	for tries := 0; ; tries++ {
		if err := to.Reconcile(t.Context(), peer); err != nil {
			t.Fatal(err)
		}
		err := fetchAll(t, to, from, page)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrFork) && !errors.Is(err, ErrGap) || tries > 10 {
			t.Fatal(err)
		}
		if err := from.Reconcile(t.Context(), dbPeer{to, page}); err != nil { // it may not know a fork yet
			t.Fatal(err)
		}
	}
}

func fetchAll(t testing.TB, to, from *DB, page int) error {
	for {
		commits := must[[][]byte](t)(from.Log(t.Context(), to.VV(), page))
		if len(commits) == 0 {
			return nil
		}
		if n, err := to.Apply(t.Context(), commits); err != nil || n == 0 {
			return err
		}
	}
}

// meetAll exchanges everything between all, whatever copies they are.
func meetAll(t testing.TB, dbs ...*DB) {
	t.Helper()
	for _, d := range dbs {
		must[int](t)(d.Commit(t.Context()))
	}
	for range 3 {
		for _, to := range dbs {
			for _, from := range dbs {
				if from != to {
					catchUp(t, to, from, 1<<20)
				}
			}
		}
	}
}

// machine is a pod's disk.
type machine struct {
	o  Options
	fs *pebblevfs.MemFS
}

func (n *podsNet) machine(member uint32) *machine {
	fs := pebblevfs.NewCrashableMem()
	return &machine{o: n.options(member, fs), fs: fs}
}

// image is the disk as a copy of all that is synced.
func (m *machine) image() *machine {
	fs := m.fs.CrashClone(pebblevfs.CrashCloneCfg{})
	c := &machine{o: m.o, fs: fs}
	c.o.FS, c.o.Blocks = fs, m.o.Blocks
	return c
}

// TestClone: a pod's directory is copied, and both go on under one key, each with another neighbour. All that each did is everywhere in the end,
// with one root, and files that both made have numbers of their own.
func TestClone(t *testing.T) {
	n := newPods()
	m := n.machine(1)
	a := openWith(t, m.o)
	mkfile(t, a, RootIno, "before", "x")
	must[int](t)(a.Commit(t.Context()))
	c, d := n.open(t, 3), n.open(t, 4)
	catchUp(t, c, a, 1<<20)
	catchUp(t, d, a, 1<<20)
	b := openWith(t, m.image().o)
	mkfile(t, a, RootIno, "of a", "a")
	mkfile(t, b, RootIno, "of b", "b")
	must[int](t)(a.Commit(t.Context()))
	must[int](t)(b.Commit(t.Context()))
	mkfile(t, a, RootIno, "more of a", "a2")
	must[int](t)(a.Commit(t.Context()))
	catchUp(t, c, a, 1<<20)
	catchUp(t, d, b, 1<<20)
	// Their neighbours build on what they got.
	e := must[Node](t)(c.Lookup(RootIno, "of a"))
	must[Node](t)(c.SetContent(e.ID, inline("a edited by c")))
	must[Node](t)(d.Rename(RootIno, "of b", RootIno, "of b, moved", 0))
	must[Node](t)(d.Remove(RootIno, "before", false))
	mkfile(t, d, RootIno, "uncommitted", "u")
	must[int](t)(c.Commit(t.Context()))
	must[int](t)(d.Commit(t.Context()))
	e = must[Node](t)(d.Lookup(RootIno, "of b, moved"))
	must[Node](t)(d.SetContent(e.ID, inline("b edited by d")))
	meetAll(t, a, b, c, d)
	want := map[string]string{"/of a": "a edited by c", "/more of a": "a2", "/of b, moved": "b edited by d", "/uncommitted": "u"}
	for _, x := range []*DB{a, b, c, d} {
		wantTree(t, x, want)
	}
	wantSame(t, []*DB{a, b, c, d})
	if a.Actor() == b.Actor() || a.Actor() == m.o.Actor {
		t.Errorf("both go on as %s and %s", a.Actor(), b.Actor())
	}
	mkfile(t, a, RootIno, "after a", "1")
	mkfile(t, b, RootIno, "after b", "2")
	meetAll(t, a, b, c, d)
	wantSame(t, []*DB{a, b, c, d})
	if got := len(must[[][]byte](t)(d.Forks())); got != 1 {
		t.Errorf("%d forks", got)
	}
	if x := tree(t, c); x["/after a"] != "1" || x["/after b"] != "2" {
		t.Errorf("%v", x)
	}
	again := openWith(t, m.image().o)
	defer check(t, again)
}

// TestSetBack: a pod is set back to an older copy of its directory. It gets back what others have of it, goes on under another incarnation, and what it does
// before it meets anybody is kept beside.
func TestSetBack(t *testing.T) {
	for _, early := range []bool{false, true} {
		t.Run(fmt.Sprintf("early=%v", early), func(t *testing.T) {
			n := newPods()
			m := n.machine(1)
			a := openWith(t, m.o)
			f := mkfile(t, a, RootIno, "f", "1")
			must[int](t)(a.Commit(t.Context()))
			old := m.image()
			must[Node](t)(a.SetContent(f.ID, inline("2")))
			must[int](t)(a.Commit(t.Context()))
			c := n.open(t, 3)
			catchUp(t, c, a, 1<<20)
			back := openWith(t, old.o)
			want := map[string]string{"/f": "2", "/new": "n"}
			if early {
				mkfile(t, back, RootIno, "early", "e")
				must[int](t)(back.Commit(t.Context()))
				want["/early"] = "e"
			}
			catchUp(t, back, c, 1<<20)
			mkfile(t, back, RootIno, "new", "n")
			meetAll(t, back, c)
			wantTree(t, back, want)
			wantTree(t, c, want)
			wantSame(t, []*DB{back, c})
			if forks := must[[][]byte](t)(c.Forks()); (len(forks) == 1) != early {
				t.Errorf("%d forks", len(forks))
			}
			if back.Actor() == m.o.Actor {
				t.Error("it goes on as before")
			}
		})
	}
}

// TestCompareHead: a pod that was set back learns it from a head of its own alone, and goes on under a new incarnation, once. A head that it has caught up
// with, or has been past, says nothing.
func TestCompareHead(t *testing.T) {
	n := newPods()
	m := n.machine(1)
	d := openWith(t, m.o)
	ctx := t.Context()
	headOf := func(d *DB) *Head {
		t.Helper()
		must[int](t)(d.Commit(ctx))
		return must[*Head](t)(DecodeHead(must[[]byte](t)(d.Head(ctx))))
	}
	mkfile(t, d, RootIno, "f", "text")
	old := headOf(d)
	image := m.image()
	mkfile(t, d, RootIno, "g", "text")
	newer := headOf(d)
	if !newer.Newer(old) || old.Newer(newer) || newer.Newer(newer) {
		t.Error("the order of heads is wrong")
	}
	for _, h := range []*Head{old, newer} {
		if renewed, err := d.CompareHead(ctx, h); renewed || err != nil {
			t.Errorf("own head at %d: %v, %v", h.Seq, renewed, err)
		}
	}
	back := openWith(t, image.o)
	self := back.Actor()
	if renewed, err := back.CompareHead(ctx, old); renewed || err != nil {
		t.Errorf("the head at which it was set back: %v, %v", renewed, err)
	}
	fork := image.image()
	if renewed, err := back.CompareHead(ctx, newer); !renewed || err != nil || back.Actor() == self {
		t.Errorf("set back: %v, %v, actor %s", renewed, err, back.Actor())
	}
	if renewed, err := back.CompareHead(ctx, newer); renewed || err != nil {
		t.Errorf("again: %v, %v", renewed, err)
	}
	n.clock.turn(time.Second)
	mkfile(t, back, RootIno, "h", "text")
	if h := headOf(back); !h.Newer(newer) || newer.Newer(h) {
		t.Error("a head of the new incarnation is not newer")
	}
	other := openWith(t, fork.o)
	mkfile(t, other, RootIno, "i", "text")
	must[int](t)(other.Commit(ctx))
	if renewed, err := other.CompareHead(ctx, newer); !renewed || err != nil {
		t.Errorf("another commit at its place: %v, %v", renewed, err)
	}
}

// TestOtherCopy: a directory that is opened on another machine goes on under another incarnation from the start.
func TestOtherCopy(t *testing.T) {
	n := newPods()
	m := n.machine(1)
	m.o.Copy = []byte("disk 1")
	d := must[*DB](t)(Open(t.Context(), m.o))
	mkfile(t, d, RootIno, "f", "")
	must[int](t)(d.Commit(t.Context()))
	if d.Actor() != m.o.Actor {
		t.Errorf("the first is %s", d.Actor())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = must[*DB](t)(Open(t.Context(), m.o))
	if d.Actor() != m.o.Actor {
		t.Errorf("the same is %s", d.Actor())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	m.o.Copy = []byte("disk 2")
	d = must[*DB](t)(Open(t.Context(), m.o))
	second := d.Actor()
	if second == m.o.Actor || second.Member != 1 || second.IsBranch() {
		t.Errorf("another is %s", second)
	}
	mkfile(t, d, RootIno, "g", "")
	must[int](t)(d.Commit(t.Context()))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openWith(t, m.o)
	if d.Actor() != second {
		t.Errorf("the next time it is %s, was %s", d.Actor(), second)
	}
	check(t, d)
	if h := must[*Head](t)(DecodeHead(must[[]byte](t)(d.Head(t.Context())))); h.Actor != second || h.Seq != 1 {
		t.Errorf("head of %s at %d", h.Actor, h.Seq)
	}
}

// TestLearnForkGoesOn: a pod that hears by a statement alone that its incarnation forked goes on under another. If it fails, it goes on making commits
// that nobody takes.
func TestLearnForkGoesOn(t *testing.T) {
	n := newPods()
	m := n.machine(1)
	a := openWith(t, m.o)
	mkfile(t, a, RootIno, "before", "x")
	must[int](t)(a.Commit(t.Context()))
	b, c := openWith(t, m.image().o), n.open(t, 3)
	for _, d := range []*DB{a, b} {
		mkfile(t, d, RootIno, "apart", "x")
		must[int](t)(d.Commit(t.Context()))
		must[int](t)(c.Apply(t.Context(), must[[][]byte](t)(d.Log(t.Context(), nil, 1<<20))))
	}
	forks := must[[][]byte](t)(c.Forks())
	if len(forks) != 1 {
		t.Fatalf("%d forks", len(forks))
	}
	for _, d := range []*DB{a, b} {
		if fresh, err := d.LearnFork(t.Context(), forks[0]); !fresh || err != nil {
			t.Fatal(fresh, err)
		}
		if d.Actor() == m.o.Actor || d.Actor().IsBranch() {
			t.Errorf("it goes on as %s", d.Actor())
		}
		mkfile(t, d, RootIno, "after", "x")
		must[int](t)(d.Commit(t.Context()))
		pull(t, c, d)
	}
	if got := len(tree(t, c)); got != 5 {
		t.Errorf("%d files", got)
	}
}

// TestCopiesChooseApart: copies of a pod that don't know of each other take new incarnations that are not alike. If it fails, they fork again and again.
func TestCopiesChooseApart(t *testing.T) {
	n := newPods()
	m := n.machine(1)
	m.o.Copy = []byte("disk")
	d := openWith(t, m.o)
	mkfile(t, d, RootIno, "f", "")
	must[int](t)(d.Commit(t.Context()))
	chosen := map[ident.Actor]bool{}
	for i := range 10 {
		o := m.image().o
		o.Copy = fmt.Append(nil, "disk ", i)
		chosen[openWith(t, o).Actor()] = true
	}
	if len(chosen) != 10 || chosen[m.o.Actor] {
		t.Errorf("ten copies go on as %v", chosen)
	}
}

// TestForksInAnyOrder: a pod was copied twice, and others hear of the later fork first, last, or with the commits. They end with one state.
func TestForksInAnyOrder(t *testing.T) {
	n := newPods()
	m := n.machine(1)
	a := openWith(t, m.o)
	commitFiles(t, a, "first ", 3)
	b := openWith(t, m.image().o)
	commitFiles(t, a, "second ", 3)
	c := openWith(t, m.image().o)
	commitFiles(t, a, "of a ", 3)
	dbs := []*DB{a, n.open(t, 3), n.open(t, 4), n.open(t, 5)}
	for _, d := range dbs[1:] {
		pull(t, d, a)
	}
	commitFiles(t, b, "of b ", 2)
	commitFiles(t, c, "of c ", 2)
	meetAll(t, dbs[1], b, c)
	forks := must[[][]byte](t)(dbs[1].Forks())
	if len(forks) != 2 {
		t.Fatalf("%d forks", len(forks))
	}
	for i, order := range [][]int{{0, 1}, {1, 0}} {
		for _, k := range order {
			if fresh, err := dbs[2+i].LearnFork(t.Context(), forks[k]); !fresh || err != nil {
				t.Fatal(fresh, err)
			}
			check(t, dbs[2+i])
		}
	}
	if diff := cmp.Diff(dbs[2].VV(), dbs[3].VV()); diff != "" {
		t.Errorf("learned in two orders: -one +other\n%s", diff)
	}
	wantSame(t, dbs[2:])
	meetAll(t, append(dbs, b, c)...)
	wantSame(t, append(dbs, b, c))
}

// TestForksConverge: pods that do random things are copied, set back and cut off, and meet each other now and then. In the end all have the same rows, view and
// roots, and an index and a log that fit; so has one that hears of all at once.
func TestForksConverge(t *testing.T) {
	eachSeed(t, 8, 3, forksConverge)
}

func forksConverge(t *testing.T, seed uint64) {
	n := newPods()
	rng := rand.New(rand.NewPCG(seed, 9))
	var machines, images []*machine
	var users []*user
	start := func(m *machine) *user {
		u := &user{t: t, rng: rng}
		m.o.BeforeCommit = u.beforeCommit
		if rng.IntN(3) == 0 {
			m.o.Copy = fmt.Append(nil, rng.IntN(3))
		}
		u.d = openWith(t, m.o)
		return u
	}
	for i := range 3 {
		m := n.machine(uint32(i + 1))
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
		case 6, 7, 8, 9:
			if from != u.d {
				catchUp(t, u.d, from, 1+rng.IntN(4000))
			}
		case 10: // without having met: it is refused at worst
			commits := must[[][]byte](t)(from.Log(t.Context(), u.d.VV(), 1+rng.IntN(4000)))
			if _, err := u.d.Apply(t.Context(), commits); err != nil && !errors.Is(err, ErrFork) && !errors.Is(err, ErrGap) {
				t.Fatal(err)
			}
		case 11, 12:
			must[CheckpointInfo](t)(u.d.Checkpoint(t.Context()))
		case 13:
			images = append(images, m.image())
		case 14: // set back
			if len(images) > 0 {
				at := rng.IntN(len(images))
				i := slices.IndexFunc(machines, func(m *machine) bool { return m.o.Actor == images[at].o.Actor })
				machines[i] = images[at].image()
				users[i] = start(machines[i])
			}
		case 15: // copied
			if len(users) < 6 {
				m := m.image()
				machines, users = append(machines, m), append(users, start(m))
			}
		}
		if rng.IntN(60) == 0 {
			check(t, u.d)
		}
	}
	dbs := make([]*DB, len(users))
	for i, u := range users {
		u.busy = 0
		dbs[i] = u.d
	}
	meetAll(t, dbs...)
	fresh := n.open(t, 9)
	catchUp(t, fresh, dbs[rng.IntN(len(dbs))], 1<<20)
	wantSame(t, append(slices.Clone(dbs), fresh))
}

// TestLearnForkRefuses: what proves no fork is not believed.
func TestLearnForkRefuses(t *testing.T) {
	n := newPods()
	d := n.open(t, 5)
	sign := func(text string, seq uint64, prev byte, member uint32) *Header {
		c := &Commit{Header: Header{Network: n.id, Actor: actor(1), Seq: seq, HLC: 9}}
		if seq > 1 {
			c.Prev, c.Skip = [32]byte{prev}, [32]byte{prev}
		}
		if SkipSeq(seq) == 0 {
			c.Skip = [32]byte{}
		}
		c.Rows = []Row{{Key: SnapKey(text), Value: AppendSnap(nil, testRoot(text))}}
		c.Encode(n.options(member, nil).Sign)
		return &c.Header
	}
	a, b := sign("a", 3, 1, 1), sign("b", 3, 1, 1)
	good := must[*Fork](t)(NewFork(a, b)).Encode()
	if fresh, err := d.LearnFork(t.Context(), good); !fresh || err != nil {
		t.Errorf("%v, %v", fresh, err)
	}
	if fresh, err := d.LearnFork(t.Context(), good); fresh || err != nil {
		t.Errorf("again: %v, %v", fresh, err)
	}
	if list := must[[][]byte](t)(d.Forks()); len(list) != 1 || string(list[0]) != string(good) {
		t.Errorf("%d statements", len(list))
	}
	for name, pair := range map[string][2]*Header{
		"one commit":             {a, a},
		"two numbers":            {a, sign("b", 5, 1, 1)},
		"they parted before":     {a, sign("b", 3, 2, 1)},
		"signed by someone else": {a, sign("b", 3, 1, 2)},
	} {
		f, err := NewFork(pair[0], pair[1])
		if err == nil {
			_, err = d.LearnFork(t.Context(), f.Encode())
		}
		if !errors.Is(err, ErrSignature) && !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	word := newForkWord(n.id, forkPoint{actor: actor(1), seq: 7, digest: [32]byte{1}}, n.options(2, nil).Sign)
	if fresh, err := d.LearnFork(t.Context(), word.Encode()); fresh || !errors.Is(err, ErrSignature) {
		t.Errorf("the word of somebody else: %v, %v", fresh, err)
	}
	foreign := *n
	foreign.id[0]++
	if _, err := foreign.open(t, 5).LearnFork(t.Context(), good); !errors.Is(err, ErrForeign) {
		t.Errorf("of another network: %v", err)
	}
}

// TestTips: tips are read as they are written.
func TestTips(t *testing.T) {
	want := []Tip{{Dot{actor(1), 3}, [32]byte{1}}, {Dot{ident.BranchOf(1, [32]byte{7}), 9}, [32]byte{2}}}
	b := AppendTips(nil, want)
	if got := must[[]Tip](t)(DecodeTips(b)); !cmp.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	for i := range b {
		if _, err := DecodeTips(b[:i]); !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%d bytes: %v", i, err)
		}
	}
}

func FuzzTips(f *testing.F) {
	f.Add(AppendTips(nil, []Tip{{Dot{actor(1), 3}, [32]byte{1}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tips, err := DecodeTips(b); err == nil && string(AppendTips(nil, tips)) != string(b) {
			t.Fatal("written again it is something else")
		}
	})
}

// commitFiles makes k files, each a commit of its own.
func commitFiles(t *testing.T, d *DB, name string, k int) {
	t.Helper()
	for i := range k {
		mkfile(t, d, RootIno, fmt.Sprint(name, i), "x")
		must[int](t)(d.Commit(t.Context()))
	}
}
