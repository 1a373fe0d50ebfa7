package state

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// failing are blocks of which only some more can be had; negative: all.
type failing struct {
	*memBlocks

	left atomic.Int64
}

var (
	cutDBRuns  = flag.Int("cut-db-runs", 12, "random runs of TestCutDBs")
	errFailing = errors.New("no more blocks")
)

// Get is block.Getter's.
func (f *failing) Get(ctx context.Context, id block.ID) ([]byte, error) {
	if f.left.Load() == 0 { // a checkpoint reads by several goroutines at once, but none fails then
		return nil, errFailing
	}
	f.left.Add(-1)
	return f.memBlocks.Get(ctx, id)
}

// cutDBs are DBs of which member 3 loses its right to write; 1 never does, 4 never had it.
type cutDBs struct {
	t      *testing.T
	rng    *rand.Rand
	o      []Options
	blocks []*failing
	dbs    []*DB
	cut    *Cut
	knows  [4]bool
}

func newCutDBs(t *testing.T, seed uint64) *cutDBs {
	c := &cutDBs{t: t, rng: rand.New(rand.NewPCG(seed, 9))}
	n, shared := newPods(), newMemBlocks()
	for i := range 4 {
		o := n.options(uint32(i+1), pebblevfs.NewMem())
		f := &failing{memBlocks: shared}
		f.left.Store(-1)
		o.Blocks, o.JoinRows, o.SignHead = f, 1+c.rng.IntN(3), o.Sign
		c.o, c.blocks = append(c.o, o), append(c.blocks, f)
		c.dbs = append(c.dbs, nil)
		c.open(i)
	}
	t.Cleanup(func() {
		for _, d := range c.dbs {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return c
}

// open opens a DB, again.
func (c *cutDBs) open(i int) {
	if c.dbs[i] != nil {
		if err := c.dbs[i].Close(); err != nil {
			c.t.Fatal(err)
		}
	}
	c.dbs[i] = must[*DB](c.t)(Open(c.t.Context(), c.o[i]))
	c.tell(i)
}

// tell tells a DB what its pod knows.
func (c *cutDBs) tell(i int) {
	if c.knows[i] {
		c.dbs[i].SetCuts([]Cut{*c.cut})
	}
	must[int](c.t)(c.dbs[i].MayWrite(c.t.Context(), i != 3 && (i != 2 || !c.knows[2])))
}

// pull is what a pod does to have what another has.
func (c *cutDBs) pull(i, j int) {
	to, from := c.dbs[i], c.dbs[j]
	for range 10 {
		mine, theirs := to.VV(), from.VV()
		wanted := must[VV](c.t)(to.Wanted(theirs))
		for a, seq := range theirs {
			if wanted[a] < seq && wanted[a] <= mine[a] {
				mine[a] = max(mine[a], seq)
			}
		}
		commits, err := from.Log(c.t.Context(), mine, 2000)
		if errors.Is(err, ErrTruncated) {
			c.join(i, j)
			return
		}
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err := to.Apply(c.t.Context(), commits); err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrGap) {
			c.t.Fatal(err)
		}
	}
}

func (c *cutDBs) offer(i, j int, have VV) (Offer, error) {
	must[CheckpointInfo](c.t)(c.dbs[j].Checkpoint(c.t.Context()))
	o, err := c.dbs[j].Offer(c.t.Context(), have)
	if err != nil {
		return o, err
	}
	back := must[Offer](c.t)(DecodeOffer(o.Encode()))
	return back, back.Complete(c.t.Context(), c.dbs[j].Digests)
}

func (c *cutDBs) join(i, j int) {
	o, err := c.offer(i, j, c.dbs[i].VV())
	if err == nil {
		_, err = c.dbs[i].Join(c.t.Context(), o)
	}
	if err != nil && !errors.Is(err, block.ErrNotFound) && !errors.Is(err, ErrRefused) && !errors.Is(err, vfs.ErrReadOnly) {
		c.t.Fatal(err)
	}
}

// settleCut adopts, or rebuilds from another, which fails in the middle now and then, and the DB is opened anew.
func (c *cutDBs) settleCut(i, j int) (rebuilt, broken bool) {
	d := c.dbs[i]
	must[bool](c.t)(d.Adopt(c.t.Context()))
	if beyond := must[VV](c.t)(d.Beyond()); len(beyond) == 0 || d.signer() != nil {
		return false, false
	}
	o, err := c.offer(i, j, must[VV](c.t)(d.RebuildFrom()))
	if err != nil {
		return false, false
	}
	if c.rng.IntN(2) == 0 {
		c.blocks[i].left.Store(int64(c.rng.IntN(12)))
	}
	rebuilt, err = d.Rebuild(c.t.Context(), o)
	if c.blocks[i].left.Store(-1); errors.Is(err, errFailing) {
		c.open(i)
		return false, true
	}
	if err != nil && !errors.Is(err, block.ErrNotFound) && !errors.Is(err, ErrRefused) {
		c.t.Fatal(err)
	}
	return rebuilt, false
}

// TestCutDBs: a member loses its right to write while pods have more or less of what it did, in databases: with restarts, trees, cut logs and failures in the middle of a rebuild. If it
// fails, pods differ for ever after a revocation, or lose what others did.
func TestCutDBs(t *testing.T) {
	seed, runs := uint64(1), *cutDBRuns
	if testing.Short() {
		runs = 4
	}
	rebuilt, broken := 0, 0
	for ; runs > 0; runs, seed = runs-1, seed+1 {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r, b := cutRun(t, seed)
			rebuilt, broken = rebuilt+r, broken+b
		})
	}
	t.Logf("%d rebuilds, %d that failed in the middle", rebuilt, broken)
	if rebuilt == 0 || broken == 0 && !testing.Short() {
		t.Error("nothing was rebuilt, or never in two parts")
	}
}

func cutRun(t *testing.T, seed uint64) (rebuilt, broken int) {
	c := newCutDBs(t, seed)
	files := 0
	step := func() {
		i, j := c.rng.IntN(4), c.rng.IntN(4)
		switch k := c.rng.IntN(10); {
		case k < 5 && i != 3 && (i != 2 || !c.knows[2]):
			files++
			mkfile(t, c.dbs[i], RootIno, fmt.Sprintf("%d by %d", files, i+1), "text")
			must[int](t)(c.dbs[i].Commit(t.Context()))
		case k < 8 && i != j && (!c.knows[i] || j != 2) && (!c.knows[j] || i != 2):
			c.pull(i, j)
		case k == 8 && i != j && (!c.knows[i] || j != 2):
			c.join(i, j)
		case k == 9:
			c.open(i)
		}
	}
	for range 25 {
		step()
	}
	c.pull(3, 2) // a reader has all that it did so far
	c.cut = &Cut{Member: 3}
	for _, tip := range must[[]Tip](t)(c.dbs[0].Tips()) {
		if tip.Actor.Member == 3 {
			c.cut.Last = append(c.cut.Last, Dep{Dot: tip.Dot, Digest: [8]byte(tip.Digest[:8])})
		}
	}
	c.knows[0] = true
	c.tell(0)
	for i := range 25 {
		step()
		if i == 12 {
			c.knows[1] = true
			c.tell(1)
			must[bool](t)(c.dbs[1].Adopt(t.Context()))
		}
	}
	if seed%2 == 0 {
		must[CheckpointInfo](t)(c.dbs[0].Checkpoint(t.Context()))
		must[int64](t)(c.dbs[0].Truncate(t.Context(), LogLimits{Passed: c.dbs[0].VV(), Known: c.dbs[0].VV()}))
	}
	c.knows = [4]bool{true, true, true, true}
	for i := range 4 {
		c.tell(i)
	}
	others := map[string]bool{}
	for name := range tree(t, c.dbs[0]) {
		others[name] = true
	}
	for range 6 {
		for i := range 4 {
			for j := range 2 {
				if i != j {
					c.pull(i, j)
				}
				c.pull(j, 3)
				r, b := c.settleCut(i, j)
				if r {
					rebuilt++
				}
				if b {
					broken++
				}
			}
		}
	}
	for i, d := range c.dbs {
		if beyond := must[VV](t)(d.Beyond()); len(beyond) > 0 {
			t.Errorf("seed %d: pod %d has what does not count: %v", seed, i+1, beyond)
		}
		check(t, d)
	}
	want := stateRoot(t, c.dbs[0])
	for i, d := range c.dbs[1:] {
		if got := stateRoot(t, d); got != want {
			t.Errorf("seed %d: pod %d: %v, want %v", seed, i+2, d.VV(), c.dbs[0].VV())
		}
	}
	got := tree(t, c.dbs[3])
	for name := range others {
		if _, ok := got[name]; !ok {
			t.Errorf("seed %d: %s was lost", seed, name)
		}
	}
	return rebuilt, broken
}

// A pod that may not write any more drops what it had not committed, and refuses operations; what it made is whole. If it fails, it goes on with what no other pod takes.
func TestMayWrite(t *testing.T) {
	d := newPods().open(t, 1)
	folder := mkdir(t, d, RootIno, "kept")
	must[int](t)(d.Commit(t.Context()))
	sub := mkdir(t, d, folder.ID, "dropped")
	mkfile(t, d, sub.ID, "file", "text")
	if n := must[int](t)(d.MayWrite(t.Context(), false)); n < 2 {
		t.Errorf("%d rows were dropped", n)
	}
	check(t, d)
	wantTree(t, d, map[string]string{"/kept": "folder"})
	if _, err := d.Create(RootIno, "no", vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644}, CreateOptions{}); !errors.Is(err, vfs.ErrReadOnly) {
		t.Errorf("creates: %v", err)
	}
	must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	must[int](t)(d.MayWrite(t.Context(), true))
	mkfile(t, d, folder.ID, "again", "text")
	must[int](t)(d.Commit(t.Context()))
	check(t, d)
	if names := slices.Sorted(func(yield func(string) bool) {
		for n := range tree(t, d) {
			if !yield(n) {
				return
			}
		}
	}); len(names) != 2 {
		t.Errorf("shows %v", names)
	}
}
