package state

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// joinPods is a network whose pods find each other's blocks.
type joinPods struct {
	*podsNet

	blocks *memBlocks
}

func newJoinPods() *joinPods { return &joinPods{newPods(), newMemBlocks()} }

func (n *joinPods) options(member uint32, fs pebblevfs.FS) Options {
	o := n.podsNet.options(member, fs)
	o.Blocks = n.blocks
	return o
}

func (n *joinPods) open(t testing.TB, member uint32) *DB {
	t.Helper()
	return openWith(t, n.options(member, pebblevfs.NewMem()))
}

// offer is what a DB shows another one, of its newest checkpoint or of one made now.
func offer(t testing.TB, from, to *DB) Offer {
	t.Helper()
	o, err := from.Offer(t.Context(), to.VV())
	if errors.Is(err, block.ErrNotFound) {
		must[CheckpointInfo](t)(from.Checkpoint(t.Context()))
		o, err = from.Offer(t.Context(), to.VV())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Complete(t.Context(), from.Digests); err != nil {
		t.Fatal(err)
	}
	return o
}

// joinAll joins all that a DB has into another.
func joinAll(t testing.TB, to, from *DB) {
	t.Helper()
	must[CheckpointInfo](t)(from.Checkpoint(t.Context()))
	if from.VV().LessEqual(to.VV()) {
		return
	}
	o := offer(t, from, to)
	if joined, err := to.Join(t.Context(), o); err != nil || !joined {
		t.Fatalf("join: %v, %v", joined, err)
	}
	if !from.VV().LessEqual(to.VV()) {
		t.Fatalf("after a join %v, of %v", to.VV(), from.VV())
	}
}

// catchUpBoth is what a pod does: by the log, or, where that is cut off, by the tree.
func catchUpBoth(t testing.TB, to, from *DB) {
	t.Helper()
	commits, err := from.Log(t.Context(), to.VV(), 1<<30)
	if errors.Is(err, ErrTruncated) {
		joinAll(t, to, from)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	must[int](t)(to.Apply(t.Context(), commits))
}

// stateRoot is a DB's state root as of now.
func stateRoot(t testing.TB, d *DB) block.ID {
	t.Helper()
	return must[CheckpointInfo](t)(d.Checkpoint(t.Context())).State
}

// TestJoinConverges is TestPodsConverge with joins beside deltas, logs that are cut off, and small batches: what comes out is what those have that apply
// every commit. If it fails, a pod that catches up by a tree shows another tree than the others.
func TestJoinConverges(t *testing.T) {
	eachSeed(t, 40, 10, joinConverge)
}

func joinConverge(t *testing.T, seed uint64) {
	n := newJoinPods()
	rng := rand.New(rand.NewPCG(seed, 3))
	users, dbs := threeUsers(t, rng, n.options)
	for _, d := range dbs {
		d.joinRows = 1 + rng.IntN(8)
	}
	witness := n.open(t, 40) // applies every commit
	for i := range 20 + rng.IntN(150) {
		u := users[rng.IntN(len(users))]
		u.step(i)
		u.busy = rng.IntN(3)
		n.clock.turn(time.Duration(rng.IntN(3)) * time.Millisecond)
		from := dbs[rng.IntN(len(dbs))]
		switch rng.IntN(16) {
		case 0, 1, 2:
			must[int](t)(u.d.Commit(t.Context()))
		case 3:
			catchUpBoth(t, u.d, from)
		case 4, 5:
			if from != u.d {
				joinAll(t, u.d, from)
			}
		case 6:
			must[CheckpointInfo](t)(u.d.Checkpoint(t.Context()))
		case 7:
			for _, d := range dbs {
				pullSome(t, witness, d)
			}
			lim := LogLimits{Known: u.d.VV(), Max: int64(rng.IntN(2000))}
			if rng.IntN(2) == 0 {
				lim.Passed = lowest(dbs, witness)
				lim.Keep = int64(rng.IntN(2000))
			}
			must[int64](t)(u.d.Truncate(t.Context(), lim))
		}
		if rng.IntN(30) == 0 {
			check(t, u.d)
		}
		for _, d := range dbs {
			pullSome(t, witness, d)
		}
	}
	for _, u := range users {
		u.busy = 0
	}
	for _, d := range dbs {
		must[int](t)(d.Commit(t.Context()))
		pullSome(t, witness, d)
	}
	for _, to := range dbs {
		for _, from := range dbs {
			catchUpBoth(t, to, from)
		}
	}
	fresh := n.open(t, 50)
	fresh.joinRows = 5
	joinAll(t, fresh, dbs[rng.IntN(len(dbs))])
	wantSame(t, append(slices.Clone(dbs), witness, fresh))
}

// pullSome applies commits as far as the log has them.
func pullSome(t testing.TB, to, from *DB) {
	t.Helper()
	commits, err := from.Log(t.Context(), to.VV(), 1<<30)
	if errors.Is(err, ErrTruncated) {
		return // another one has them
	}
	if err != nil {
		t.Fatal(err)
	}
	must[int](t)(to.Apply(t.Context(), commits))
}

// lowest is what all have seen.
func lowest(dbs []*DB, more ...*DB) VV {
	out := dbs[0].VV()
	for _, d := range append(slices.Clone(dbs), more...) {
		vv := d.VV()
		for a := range out {
			out[a] = min(out[a], vv[a])
		}
	}
	return out
}

// diverged makes three pods that did random things apart, after some they did together.
func diverged(t *testing.T, n *joinPods, rng *rand.Rand) []*DB {
	t.Helper()
	dbs := []*DB{n.open(t, 1), n.open(t, 2), n.open(t, 3)}
	for range 2 {
		for _, d := range dbs {
			u := &user{t: t, rng: rng, d: d}
			for i := range 10 + rng.IntN(30) {
				u.step(i)
				n.clock.turn(time.Millisecond)
				if rng.IntN(6) == 0 {
					must[int](t)(d.Commit(t.Context()))
				}
			}
			must[int](t)(d.Commit(t.Context()))
		}
		if rng.IntN(3) > 0 {
			pull(t, dbs[rng.IntN(3)], dbs[rng.IntN(3)])
		}
	}
	return dbs
}

// TestJoinAlgebra: joins in any order and grouping, once or twice, come to one state, which is that of applying the commits.
func TestJoinAlgebra(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) % 1e9
	t.Logf("seed %d", seed)
	rounds := 30
	if testing.Short() {
		rounds = 8
	}
	for r := range rounds {
		n := newJoinPods()
		dbs := diverged(t, n, rand.New(rand.NewPCG(seed+uint64(r), 4)))
		a, b, c := dbs[0], dbs[1], dbs[2]
		fold := func(member uint32, of ...*DB) *DB {
			d := n.open(t, member)
			d.joinRows = 1 + int(member)%7
			for _, from := range of {
				joinAll(t, d, from)
			}
			return d
		}
		applied := n.open(t, 60)
		for _, d := range dbs {
			pull(t, applied, d)
		}
		want := stateRoot(t, applied)
		bc := fold(10, b, c)
		for name, d := range map[string]*DB{
			"abc": fold(11, a, b, c), "cba": fold(12, c, b, a), "a(bc)": fold(13, a, bc), "(ab)(bc)": fold(14, fold(15, a, b), bc),
			"abcabc": fold(16, a, b, c, a, b, c),
		} {
			if got := stateRoot(t, d); got != want {
				t.Fatalf("round %d: %s comes to %s, applying to %s", r, name, got, want)
			}
			check(t, d)
		}
	}
}

// TestJoinOldRoot breaks if a join takes the head's version vector for the root's: what others wrote between the two would be deleted.
func TestJoinOldRoot(t *testing.T) {
	n := newJoinPods()
	a, b, c := n.open(t, 1), n.open(t, 2), n.open(t, 3)
	mkfile(t, a, RootIno, "a", "1")
	must[CheckpointInfo](t)(a.Checkpoint(t.Context()))
	mkfile(t, b, RootIno, "b", "2")
	exchange(t, b, c)
	pull(t, a, b) // a's head has seen b's file, its root has not
	mkfile(t, a, RootIno, "a2", "3")
	must[int](t)(a.Commit(t.Context()))
	o := offer(t, a, c)
	head, err := DecodeHead(o.Head)
	if err != nil || head.VV[b.o.Actor] == 0 || a.LastCheckpoint().VV[b.o.Actor] != 0 {
		t.Fatalf("the test needs an old root under a newer head: %v, %v", head, err)
	}
	if joined, err := c.Join(t.Context(), o); err != nil || !joined {
		t.Fatal(joined, err)
	}
	wantTree(t, c, map[string]string{"/a": "1", "/b": "2"})
	pull(t, c, a)
	wantTree(t, c, map[string]string{"/a": "1", "/b": "2", "/a2": "3"})
	pull(t, b, a)
	wantSame(t, []*DB{a, b, c})
}

// TestJoinDirty breaks if a join touches what is not committed: it stays beside what comes (I1b).
func TestJoinDirty(t *testing.T) {
	n := newJoinPods()
	a, b := n.open(t, 1), n.open(t, 2)
	f := mkfile(t, a, RootIno, "f", "old")
	exchange(t, a, b)
	must[Node](t)(b.SetContent(f.ID, inline("b's")))
	mkfile(t, b, RootIno, "new", "b's")
	must[Node](t)(a.SetContent(f.ID, inline("a's")))
	mkfile(t, a, RootIno, "new", "a's")
	joinAll(t, a, b)
	if !a.Dirty() {
		t.Fatal("the join committed")
	}
	texts := map[string]int{}
	for _, text := range tree(t, a) {
		texts[text]++
	}
	if len(texts) != 2 || texts["a's"] != 2 || texts["b's"] != 2 {
		t.Fatalf("both edits and both files should be there: %v", tree(t, a))
	}
	check(t, a)
	exchange(t, a, b)
	wantSame(t, []*DB{a, b})
}

// TestJoinRefused: a tree is believed only under signatures. Each case is an attack that would erase or forge the network's files.
func TestJoinRefused(t *testing.T) {
	n := newJoinPods()
	a, b := n.open(t, 1), n.open(t, 2)
	mkfile(t, a, RootIno, "a", "1")
	mkfile(t, b, RootIno, "b", "2")
	exchange(t, a, b)
	mkfile(t, a, RootIno, "c", "3")
	must[CheckpointInfo](t)(a.Checkpoint(t.Context()))
	good := offer(t, a, b)
	far := manyCommits(t, n)
	vv := a.VV()
	signed := func(member uint32, root []byte, vv VV) []byte {
		id := block.Sum(block.DagCBOR, root)
		if err := n.blocks.Put(t.Context(), id, root); err != nil {
			t.Fatal(err)
		}
		key := podKey(member)
		h := Head{Network: n.id, Actor: ident.Actor{Member: member}, VV: vv.Clone(), Checkpoint: id, TreeRoot: id}
		if h.Seq = h.VV[h.Actor]; h.Seq > 0 {
			h.CommitDigest[0] = 1
		}
		return h.Encode(func(msg []byte) []byte { return ed25519.Sign(key, msg) })
	}
	more := vv.Clone()
	more[b.o.Actor]++
	more[actor(7)] = 3
	with := func(head []byte, change func(o *Offer)) Offer {
		o := good
		o.Head, o.Ways = head, slices.Clone(good.Ways)
		if change != nil {
			change(&o)
		}
		return o
	}
	h, err := DecodeHeader(good.Ways[0].Headers[0])
	if err != nil {
		t.Fatal(err)
	}
	// header is the offer with another header of a's last commit, which has the digest that it needs.
	header := func(member uint32, change func(c *Commit)) Offer {
		c := &Commit{Header: *h}
		change(c)
		c.Encode(func(msg []byte) []byte { return ed25519.Sign(podKey(member), msg) })
		return with(good.Head, func(o *Offer) {
			w := &o.Ways[0]
			digest := c.Digest()
			w.Digests = append(slices.Clone(w.Digests[:len(w.Digests)-digestLen]), digest[:]...)
			w.Headers = [][]byte{c.AppendSigned(nil)}
		})
	}
	empty := encodedRoot(n.id, block.ID{}, more)
	flipped := bytes.Clone(good.Head)
	flipped[len(flipped)-1]++
	for name, c := range map[string]struct {
		offer Offer
		want  error
	}{
		"no ways":                           {Offer{Head: good.Head}, block.ErrCorrupt},
		"no headers":                        {with(good.Head, func(o *Offer) { o.Ways[0].Headers = nil }), block.ErrCorrupt},
		"not all headers":                   {far, block.ErrCorrupt},
		"no digests":                        {with(good.Head, func(o *Offer) { o.Ways[0].Digests = nil }), block.ErrCorrupt},
		"a way that leaves out commits":     {with(good.Head, func(o *Offer) { o.Ways[0].From = vv[a.o.Actor] + 1 }), block.ErrCorrupt},
		"no way of what is no news":         {with(good.Head, func(o *Offer) { o.Ways = o.Ways[:1] }), block.ErrCorrupt},
		"other commits than here":           {with(good.Head, func(o *Offer) { o.Ways[1].Digests = make([]byte, digestLen) }), ErrFork},
		"an empty tree with everybody's vv": {Offer{Head: signed(1, empty, more)}, block.ErrCorrupt},
		"the same with what ways there are": {with(signed(1, empty, more), nil), block.ErrCorrupt},
		"the same with ways that nobody signed": {with(signed(1, empty, more), func(o *Offer) {
			o.Ways[1].To++
			o.Ways[1].Digests = append(slices.Clone(o.Ways[1].Digests), make([]byte, digestLen)...)
			o.Ways = append(o.Ways, Way{Label: actor(7), From: 1, To: 3, Digests: make([]byte, 3*digestLen)})
		}), block.ErrCorrupt},
		"a head that nobody signed":             {with(flipped, nil), ErrSignature},
		"a head of no member":                   {with(signed(100, encodedRoot(n.id, block.ID{}, vv), vv), nil), nil},
		"a header that another signed":          {header(2, func(c *Commit) { c.HLC++ }), ErrSignature},
		"a header of another digest":            {with(good.Head, func(o *Offer) { o.Ways[0].Headers = header(1, func(c *Commit) { c.HLC++ }).Ways[0].Headers }), block.ErrCorrupt},
		"a header that rests on another commit": {header(1, func(c *Commit) { c.Deps = []Dep{{Dot: Dot{b.o.Actor, vv[b.o.Actor]}}} }), ErrFork},
		"a header that follows another commit":  {header(1, func(c *Commit) { c.Prev[0]++ }), block.ErrCorrupt},
		"a header from the future":              {header(1, func(c *Commit) { c.HLC = HLCOf(n.clock.Now().Add(time.Hour)) }), ErrFuture},
		"a root beyond its head":                {with(signed(1, encodedRoot(n.id, block.ID{}, more), vv), nil), block.ErrCorrupt},
		"a root of another network":             {with(signed(1, encodedRoot(ident.Network{9}, block.ID{}, vv), vv), nil), ErrForeign},
		"no root":                               {with(signed(1, []byte{0x80}, vv), nil), block.ErrCorrupt},
		"a root that has less than its headers rest on": {
			with(signed(1, encodedRoot(n.id, block.ID{}, VV{a.o.Actor: vv[a.o.Actor]}), vv), nil), block.ErrCorrupt,
		},
	} {
		joined, err := b.Join(t.Context(), c.offer)
		if joined || err == nil || (c.want != nil && !errors.Is(err, c.want)) {
			t.Errorf("%s: %v, %v", name, joined, err)
		}
		wantTree(t, b, map[string]string{"/a": "1", "/b": "2"})
	}
	if joined, err := b.Join(t.Context(), good); !joined || err != nil {
		t.Fatal(err)
	}
	wantTree(t, b, map[string]string{"/a": "1", "/b": "2", "/c": "3"})
}

// manyCommits is an offer of nine commits that leaves out the headers to which the last one's skip links lead.
func manyCommits(t *testing.T, n *joinPods) Offer {
	t.Helper()
	d := n.open(t, 3)
	for i := range 9 {
		mkfile(t, d, RootIno, fmt.Sprint("far ", i), "x")
		must[int](t)(d.Commit(t.Context()))
	}
	o := offer(t, d, n.open(t, 4))
	if len(o.Ways) != 1 || len(o.Ways[0].Headers) < 2 {
		t.Fatalf("%d headers", len(o.Ways[0].Headers))
	}
	o.Ways[0].Headers = o.Ways[0].Headers[:1]
	return o
}

// TestJoinUnstatedBranch: branches are believed only with the statement of the fork. If it fails, whoever gives a root can move others' commits to labels of its own making.
func TestJoinUnstatedBranch(t *testing.T) {
	n := newJoinPods()
	m := n.machine(1)
	m.o.Blocks = n.blocks
	a := openWith(t, m.o)
	mkfile(t, a, RootIno, "before", "x")
	must[int](t)(a.Commit(t.Context()))
	b, c := openWith(t, m.image().o), n.open(t, 3)
	for _, d := range []*DB{a, b} {
		mkfile(t, d, RootIno, "apart", "x")
		must[int](t)(d.Commit(t.Context()))
		must[int](t)(c.Apply(t.Context(), must[[][]byte](t)(d.Log(t.Context(), nil, 1<<20))))
	}
	fresh := n.open(t, 4)
	good := offer(t, c, fresh)
	bad := good
	bad.Forks = nil
	if joined, err := fresh.Join(t.Context(), bad); joined || !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("without its statement: %v, %v", joined, err)
	}
	if joined, err := fresh.Join(t.Context(), good); !joined || err != nil {
		t.Errorf("with it: %v, %v", joined, err)
	}
}

// TestJoinFaultyRows breaks if a root whose last row is faulty is joined in part: the pod could never end that, nor commit anything again.
func TestJoinFaultyRows(t *testing.T) {
	n := newJoinPods()
	a, b := n.open(t, 1), n.open(t, 2)
	for i := range 30 {
		mkfile(t, a, RootIno, fmt.Sprint(i), "x")
	}
	cp := must[CheckpointInfo](t)(a.Checkpoint(t.Context()))
	rows := must[Root](t)(DecodeRoot(must[[]byte](t)(n.blocks.Get(t.Context(), cp.State)))).Rows
	wish := func(dot Dot, ts TS) []byte {
		return AppendWishSet(nil, VerSet[*Wish]{{Dot: dot, Value: &Wish{Policy: Reg[string]{Value: "none", TS: ts}}}})
	}
	last := Ino(1<<40 - 1)
	dot, now := Dot{a.o.Actor, cp.Seq}, TS{HLC: HLCOf(n.clock.Now()), Actor: a.o.Actor}
	missing := block.Sum(block.Raw, []byte("nowhere"))
	for name, e := range map[string]dag.Edit{
		"no row":                          {Key: []byte("z"), Value: []byte{0x80}},
		"no versions":                     {Key: WishKey(last), Value: []byte{0x80}},
		"a version that nobody made":      {Key: WishKey(last), Value: wish(Dot{actor(9), 1}, now)},
		"a stamp after its author's last": {Key: WishKey(last), Value: wish(dot, TS{HLC: now.HLC + 1<<30, Actor: a.o.Actor})},
		"a block that is nowhere":         {Key: WishKey(last), Value: longRowLink(missing)},
		"bytes of nothing":                {Key: WishKey(last), Value: []byte{0xff}},
	} {
		forged := encodedRoot(n.id, must[block.ID](t)(dag.EditTree(t.Context(), n.blocks, rows, []dag.Edit{e})), cp.VV)
		id := block.Sum(block.DagCBOR, forged)
		if err := n.blocks.Put(t.Context(), id, forged); err != nil {
			t.Fatal(err)
		}
		h := Head{Network: n.id, Actor: a.o.Actor, Seq: cp.Seq, CommitDigest: [32]byte{1}, VV: cp.VV, Checkpoint: id, TreeRoot: id}
		b.joinRows = 4
		o := offer(t, a, b)
		o.Head = h.Encode(a.o.Sign)
		if joined, err := b.Join(t.Context(), o); joined || err == nil {
			t.Errorf("%s: %v, %v", name, joined, err)
		}
		if id := must[block.ID](t)(b.Joining()); !id.IsZero() {
			t.Fatalf("%s: a part was joined", name)
		}
		wantTree(t, b, map[string]string{})
	}
	mkfile(t, b, RootIno, "b", "x")
	must[int](t)(b.Commit(t.Context()))
	joinAll(t, b, a)
	pull(t, a, b)
	wantSame(t, []*DB{a, b})
}

// TestCheckpointOvertaken breaks if a checkpoint forgets the tree that a join took as its base while the checkpoint was written: the next ones would lack what came by it.
func TestCheckpointOvertaken(t *testing.T) {
	n := newJoinPods()
	a := n.open(t, 1)
	o := n.options(2, pebblevfs.NewMem())
	var during func()
	o.BeforeCommit = func(context.Context) error { // a checkpoint calls it when its trees are written
		if f := during; f != nil {
			during = nil
			f()
		}
		return nil
	}
	b := openWith(t, o)
	mkfile(t, b, RootIno, "b", "x")
	must[int](t)(b.Commit(t.Context()))
	pull(t, a, b)
	for i := range 30 {
		mkfile(t, a, RootIno, fmt.Sprint(i), "x")
	}
	during = func() { joinAll(t, b, a) }
	made := must[CheckpointInfo](t)(b.Checkpoint(t.Context()))
	if during != nil {
		t.Fatal("nothing was joined meanwhile")
	}
	if want := stateRoot(t, a); made.State != want {
		t.Errorf("state root %s, want %s", made.State, want)
	}
	check(t, b)
	mkfile(t, b, RootIno, "c", "x")
	exchange(t, a, b)
	wantSame(t, []*DB{a, b})
}

// TestJoinDiverged breaks if two states of one history are joined: a fault would spread.
func TestJoinDiverged(t *testing.T) {
	n := newJoinPods()
	a, b := n.open(t, 1), n.open(t, 2)
	mkfile(t, a, RootIno, "a", "1")
	exchange(t, a, b)
	must[CheckpointInfo](t)(b.Checkpoint(t.Context()))
	root := encodedRoot(n.id, block.ID{}, b.VV())
	id := block.Sum(block.DagCBOR, root)
	if err := n.blocks.Put(t.Context(), id, root); err != nil {
		t.Fatal(err)
	}
	h := Head{Network: n.id, Actor: a.o.Actor, Seq: 1, CommitDigest: [32]byte{1}, VV: b.VV(), Checkpoint: id, TreeRoot: id}
	last := must[[]byte](t)(a.Digests(t.Context(), a.o.Actor, 1))
	o := Offer{Head: h.Encode(a.o.Sign), Ways: []Way{{Label: a.o.Actor, From: 1, To: 1, Digests: last}}}
	if joined, err := b.Join(t.Context(), o); joined || !errors.Is(err, ErrDiverged) {
		t.Errorf("%v, %v", joined, err)
	}
	wantTree(t, b, map[string]string{"/a": "1"})
}

// TestJoinCrash cuts the power, or takes blocks away, between the batches of a join: what was there is there, the pod goes on, and in the end it
// has what the others have. If it fails, a crash while a pod catches up leaves it with a state that nobody else has.
func TestJoinCrash(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) % 1e9
	t.Logf("seed %d", seed)
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	half := 0
	for r := range rounds {
		half += joinCrash(t, rand.New(rand.NewPCG(seed+uint64(r), 6)))
	}
	if half == 0 {
		t.Error("no power cut fell into a join")
	}
}

// joinCrash returns how many power cuts fell between the first batch of a join and the last.
func joinCrash(t *testing.T, rng *rand.Rand) (half int) {
	n := newJoinPods()
	dbs := diverged(t, n, rng)
	other := n.open(t, 9)
	joinAll(t, other, dbs[0])
	joinAll(t, other, dbs[1])
	mkfile(t, other, RootIno, "last", "x")
	must[int](t)(other.Commit(t.Context()))
	late := n.open(t, 10) // has by the log what the join brings, and removed some of it
	for _, d := range []*DB{dbs[0], dbs[1], other} {
		pull(t, late, d)
	}
	for _, e := range must[[]Entry](t)(late.List(RootIno, "", 0)) {
		if e.Node.Kind != vfs.KindFolder {
			must[Node](t)(late.Remove(RootIno, e.Name, false))
		}
	}
	must[int](t)(late.Commit(t.Context()))
	fs := pebblevfs.NewCrashableMem()
	o := n.options(5, fs)
	d := openWith(t, o)
	u := &user{t: t, rng: rng, d: d}
	pull(t, d, dbs[1])
	for i := range 20 {
		u.step(i)
	}
	must[int](t)(d.Commit(t.Context()))
	if rng.IntN(2) == 0 {
		must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	}
	vv := d.VV()
	for i := range 5 {
		u.step(i) // uncommitted
	}
	d.joinRows = 1 + rng.IntN(10)
	must[CheckpointInfo](t)(other.Checkpoint(t.Context()))
	of := offer(t, other, d)
	var clones []*pebblevfs.MemFS
	cut := func() {
		if rng.IntN(2) == 0 { // else Pebble may not have written what it was given
			if err := d.db.LogData(nil, pebble.Sync); err != nil {
				t.Error(err)
			}
		}
		clones = append(clones, fs.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: 100 * rng.IntN(2), RNG: rng}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ends := rng.IntN(12)
	d.Watch(func([]vfs.Change, bool) {
		if cut(); len(clones) == ends {
			cancel()
		}
	})
	if _, err := d.Join(ctx, of); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	d.watchers = nil
	cut()
	for i, clone := range clones {
		o.FS = clone
		c := openWith(t, o)
		if !vv.LessEqual(c.VV()) {
			t.Fatalf("clone %d has %v, %v was published", i, c.VV(), vv)
		}
		if check(t, c); !must[block.ID](t)(c.Joining()).IsZero() {
			half++
		}
		if i == len(clones)-1 || rng.IntN(4) == 0 {
			(&user{t: t, rng: rng, d: c}).step(i)
			check(t, c)
			switch rng.IntN(3) { // each ends the join first
			case 0:
				must[int](t)(c.Commit(t.Context()))
			case 1:
				pull(t, c, late)
			case 2:
				must[CheckpointInfo](t)(c.Checkpoint(t.Context()))
			}
			check(t, c)
			must[int](t)(c.Commit(t.Context()))
			catchUpBoth(t, c, other)
			check(t, c)
			fresh := n.open(t, 30)
			joinAll(t, fresh, other)
			catchUpBoth(t, fresh, c)
			wantSame(t, []*DB{c, fresh})
		}
	}
	check(t, d)
	must[int](t)(d.Commit(t.Context()))
	joinAll(t, d, other)
	catchUpBoth(t, other, d)
	wantSame(t, []*DB{d, other})
	return half
}

// TestTruncate: what is dropped can be had by a tree; what comes after it can be had by the log, with its links checked.
func TestTruncate(t *testing.T) {
	n := newJoinPods()
	a, b := n.open(t, 1), n.open(t, 2)
	dir := mkdir(t, a, RootIno, "d")
	files := func(d *DB, from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			mkfile(t, d, dir.ID, fmt.Sprint(i), "x")
			must[int](t)(d.Commit(t.Context()))
		}
	}
	files(a, 0, 20)
	pull(t, b, a)
	old := a.VV()
	files(a, 20, 37)
	if dropped := must[int64](t)(a.Truncate(t.Context(), LogLimits{Passed: old, Known: old})); dropped != 0 {
		t.Fatalf("%d bytes that no checkpoint covers were dropped", dropped)
	}
	must[CheckpointInfo](t)(a.Checkpoint(t.Context()))
	if dropped := must[int64](t)(a.Truncate(t.Context(), LogLimits{Passed: old, Known: old, Max: 1 << 30})); dropped == 0 {
		t.Fatal("nothing was dropped of what all have")
	}
	check(t, a)
	pull(t, b, a) // the rest is there
	fresh := n.open(t, 3)
	if _, err := a.Log(t.Context(), fresh.VV(), 1<<20); !errors.Is(err, ErrTruncated) {
		t.Fatalf("log from the beginning: %v", err)
	}
	joinAll(t, fresh, a)
	files(a, 37, 70)
	must[CheckpointInfo](t)(a.Checkpoint(t.Context()))
	must[int64](t)(a.Truncate(t.Context(), LogLimits{Known: a.VV(), Max: 5000}))
	if o := offer(t, a, fresh); o.LogBytes != -1 {
		t.Errorf("the log to send has %d bytes, and was dropped", o.LogBytes)
	}
	joinAll(t, fresh, a)
	must[int64](t)(a.Truncate(t.Context(), LogLimits{Known: a.VV(), Max: 0}))
	joinAll(t, b, a)
	files(a, 70, 75)
	files(b, 80, 95)
	for _, d := range []*DB{fresh, b} {
		pull(t, d, a)
	}
	pull(t, a, b)
	pull(t, fresh, b)
	wantSame(t, []*DB{a, b, fresh})
	// What others have not seen is kept, however much it is.
	files(a, 100, 130)
	must[CheckpointInfo](t)(a.Checkpoint(t.Context()))
	must[int64](t)(a.Truncate(t.Context(), LogLimits{Known: b.VV(), Max: 0}))
	pull(t, b, a)
	// A log that was cut is opened again.
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := Open(t.Context(), a.o)
	if err != nil {
		t.Fatal(err)
	}
	check(t, a)
	files(a, 130, 131)
	pull(t, b, a)
	wantSame(t, []*DB{a, b})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestJoinNode breaks if the walk of a tree by levels finds other blocks than the tree has, or misses a row that is a block of its own.
func TestRowNodes(t *testing.T) {
	n := newJoinPods()
	a := n.open(t, 1)
	for i := range 1000 {
		mkfile(t, a, RootIno, fmt.Sprint(i), "x")
	}
	big := mkfile(t, a, RootIno, "big", "x")
	var apart []*DB
	// Four versions apart, each within the limits of operations, are more than a value of the tree holds.
	must[int](t)(a.Commit(t.Context()))
	for m := range uint32(4) {
		d := n.open(t, m+10)
		pull(t, d, a)
		for i := range 4 {
			must[Node](t)(d.SetXattr(big.ID, fmt.Sprintf("user.%d.%d", m, i), bytes.Repeat([]byte{1}, 60<<10), 0))
		}
		must[int](t)(d.Commit(t.Context()))
		apart = append(apart, d)
	}
	for _, d := range apart {
		pull(t, a, d)
	}
	must[CheckpointInfo](t)(a.Checkpoint(t.Context()))
	root := must[Root](t)(DecodeRoot(must[[]byte](t)(n.blocks.Get(t.Context(), a.LastCheckpoint().State))))
	want := map[block.ID]bool{}
	if err := a.CheckpointBlocks(t.Context(), func(id block.ID) error { want[id] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	level := []block.ID{root.Rows}
	seen := 0
	for len(level) > 0 {
		var next []block.ID
		for _, id := range level {
			if !want[id] {
				t.Fatalf("%s is not in the checkpoint", id)
			}
			seen++
			if id.Codec() != block.DagCBOR {
				continue
			}
			node := must[RowNode](t)(DecodeRowNode(must[[]byte](t)(n.blocks.Get(t.Context(), id))))
			next = append(next, node.Links...)
		}
		level = next
	}
	if long := want[block.Sum(block.Raw, must[[]byte](t)(get(a.db, InodeKey(big.ID))))]; !long || seen < 8 {
		t.Errorf("%d blocks, a row that is a block: %v", seen, long)
	}
	fresh := n.open(t, 30)
	joinAll(t, fresh, a)
	wantSame(t, []*DB{a, fresh})
}
