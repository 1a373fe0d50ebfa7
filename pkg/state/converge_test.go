package state

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "first seed of TestPodsConverge; 0: a new one each time")
	roundsFlag = flag.Int("rounds", 0, "rounds of TestPodsConverge; 0: as many as fit into a test run")
)

// user does random things to a DB.
type user struct {
	t   *testing.T
	rng *rand.Rand
	d   *DB

	busy   int  // how much is to be done while the next commit runs
	behind bool // no contents are given: they would belong before the fence
}

// beforeCommit does things while a commit runs. Within one commit once: the last one of a checkpoint holds operations up.
func (u *user) beforeCommit(context.Context) error {
	n := u.busy
	u.busy = 0
	for i := range n {
		u.step(1000 + i)
	}
	return nil
}

// pick is a random node of the view: its folder, name and the node; it may be the root itself (name "").
func (u *user) pick() (parent Ino, name string, n Node) {
	n = must[Node](u.t)(u.d.Get(RootIno))
	parent = RootIno
	for range 1 + u.rng.IntN(4) {
		if n.Kind != vfs.KindFolder {
			break
		}
		all := must[[]Entry](u.t)(u.d.List(n.ID, "", 0))
		if len(all) == 0 {
			break
		}
		e := all[u.rng.IntN(len(all))]
		parent, name, n = n.ID, e.Name, e.Node
	}
	return parent, name, n
}

// folder is a random folder.
func (u *user) folder() Ino {
	for range 10 {
		if _, _, n := u.pick(); n.Kind == vfs.KindFolder {
			return n.ID
		}
	}
	return RootIno
}

func (u *user) name() string { return string('a' + rune(u.rng.IntN(5))) }

// step does one thing; what the file system refuses is fine, what it finds corrupt is not.
func (u *user) step(i int) {
	u.t.Helper()
	if err := u.try(i); errors.Is(err, block.ErrCorrupt) {
		u.t.Fatal(err)
	}
}

func (u *user) try(i int) (err error) {
	text := fmt.Sprintf("%d %d", u.d.o.Actor.Member, i)
	if u.rng.IntN(8) == 0 {
		text = "same"
	}
	parent, name, n := u.pick()
	c := inline(text)
	o := CreateOptions{Content: &c}
	if u.behind {
		o.Content = nil
	}
	switch u.rng.IntN(14) {
	case 0, 1:
		_, err = u.d.Create(u.folder(), u.name(), vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644}, o)
	case 2, 3:
		_, err = u.d.Create(u.folder(), u.name(), vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}, CreateOptions{})
	case 4, 5:
		if !u.behind {
			_, err = u.d.SetContent(n.ID, c)
		}
	case 6, 7, 8:
		f := vfs.RenameFlag(0)
		if u.rng.IntN(5) == 0 {
			f = vfs.RenameExchange
		}
		to, toName := u.folder(), u.name()
		if u.rng.IntN(2) == 0 {
			to, toName, _ = u.pick()
		}
		_, err = u.d.Rename(parent, name, to, toName, f)
	case 9, 10:
		_, err = u.d.Remove(parent, name, n.Kind == vfs.KindFolder)
	case 11:
		_, err = u.d.Link(n.ID, u.folder(), u.name())
	case 12:
		mode, mtime := uint32(u.rng.IntN(0o777)), int64(u.rng.IntN(1<<30))
		_, err = u.d.SetAttr(n.ID, vfs.SetAttr{Mode: &mode, Mtime: &mtime})
	case 13:
		_, err = u.d.SetXattr(n.ID, "user."+u.name(), []byte(text), 0)
		policy := text
		err = errors.Join(err, u.d.SetWish(n.ID, WishEdit{Policy: &policy}))
	}
	return err
}

// TestPodsConverge: pods that do random things apart, and hear of each other now and then, have in the end the same rows, the same
// view and the same roots, and an index that fits; so has one that hears of all at once. If it fails, pods show different trees for good.
func TestPodsConverge(t *testing.T) {
	eachSeed(t, 60, 15, converge)
}

// eachSeed runs a test of random doings for some seeds, fewer in short runs, or for those that -seed and -rounds ask for, until one fails.
func eachSeed(t *testing.T, rounds, short int, run func(t *testing.T, seed uint64)) {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1e9
	}
	if testing.Short() {
		rounds = short
	}
	if *roundsFlag != 0 {
		rounds = *roundsFlag
	}
	for r := range rounds {
		seed := seed + uint64(r)
		if ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { run(t, seed) }); !ok {
			return
		}
	}
}

// threeUsers are users of three pods, which have nothing yet.
func threeUsers(t *testing.T, rng *rand.Rand, options func(member uint32, fs pebblevfs.FS) Options) (users []*user, dbs []*DB) {
	t.Helper()
	for i := range 3 {
		u := &user{t: t, rng: rng}
		o := options(uint32(i+1), pebblevfs.NewMem())
		o.BeforeCommit = u.beforeCommit
		u.d = openWith(t, o)
		users, dbs = append(users, u), append(dbs, u.d)
	}
	return users, dbs
}

func converge(t *testing.T, seed uint64) {
	n := newPods()
	rng := rand.New(rand.NewPCG(seed, 1))
	users, dbs := threeUsers(t, rng, n.options)
	for i := range 20 + rng.IntN(150) {
		u := users[rng.IntN(len(users))]
		u.step(i)
		u.busy = rng.IntN(3)
		n.clock.turn(time.Duration(rng.IntN(3)) * time.Millisecond)
		switch rng.IntN(12) {
		case 0, 1, 2:
			must[int](t)(u.d.Commit(t.Context()))
		case 3, 4:
			from := dbs[rng.IntN(len(dbs))]
			commits := must[[][]byte](t)(from.Log(t.Context(), u.d.VV(), 1+rng.IntN(4000)))
			must[int](t)(u.d.Apply(t.Context(), commits))
		case 5:
			must[CheckpointInfo](t)(u.d.Checkpoint(t.Context()))
		case 6:
			u.d.Fence(func() {})
		}
		if rng.IntN(40) == 0 {
			check(t, u.d)
		}
	}
	for _, u := range users {
		u.busy = 0
		u.d.Fence(func() {}) // in place of one before which there may be too little
	}
	exchange(t, dbs...)
	fresh := n.open(t, 50)
	pull(t, fresh, dbs[0])
	wantSame(t, append(slices.Clone(dbs), fresh))
}

// wantSame says that all have the same state, view and roots, and an index that fits.
func wantSame(t *testing.T, dbs []*DB) {
	t.Helper()
	var first CheckpointInfo
	view := tree(t, dbs[0])
	for i, d := range dbs {
		check(t, d)
		cp := must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
		if i == 0 {
			first = cp
		}
		if diff := cmp.Diff(tree(t, d), view); diff != "" {
			t.Fatalf("view of %d: got - want +\n%s", i, diff)
		}
		if diff := cmp.Diff(cp.VV, first.VV); diff != "" {
			t.Fatalf("vv of %d: got - want +\n%s", i, diff)
		}
		if cp.State != first.State {
			t.Errorf("state root of %d: %s, of 0: %s", i, cp.State, first.State)
		}
		if cp.Tree != first.Tree {
			t.Errorf("tree root of %d: %s, of 0: %s", i, cp.Tree, first.Tree)
		}
	}
}
