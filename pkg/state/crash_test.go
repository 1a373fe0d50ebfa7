package state

import (
	"math/rand/v2"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestCrash cuts the power at random points: what was committed is there after that, uncommitted rows are all there up to some
// operation, the index fits, and no number comes twice. If it fails, a crash loses what others rely on.
func TestCrash(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) % 1e9
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	for range rounds {
		crashRound(t, rng, func(fs pebblevfs.FS) pebblevfs.FS { return fs })
	}
}

// TestCrashLocked is TestCrash on an encrypted disk.
func TestCrashLocked(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) % 1e9
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	key := diskcrypt.NewKey()
	for range 5 {
		crashRound(t, rng, func(fs pebblevfs.FS) pebblevfs.FS { return diskcrypt.New(fs, key) })
	}
}

// crashRound cuts the power of a disk again and again; over is the file system that the state sees.
func crashRound(t *testing.T, rng *rand.Rand, over func(pebblevfs.FS) pebblevfs.FS) {
	t.Helper()
	n := newPods()
	other := n.open(t, 2)
	fs := pebblevfs.NewCrashableMem()
	o := n.options(1, over(fs))
	d, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	used := map[Ino]bool{} // numbers given out in committed rows
	for range 4 {
		u := &user{t: t, rng: rng, d: d}
		for i := range rng.IntN(60) {
			u.step(i)
			n.clock.turn(time.Millisecond)
			switch rng.IntN(10) {
			case 0:
				must[int](t)(d.Commit(t.Context()))
			case 1:
				must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
			case 2:
				(&user{t: t, rng: rng, d: other}).step(i)
				must[int](t)(other.Commit(t.Context()))
				pull(t, d, other)
			}
		}
		must[int](t)(d.Commit(t.Context()))
		vv, committed := d.VV(), tree(t, d)
		for range rng.IntN(20) {
			u.step(1)
		}
		after := fs.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		o.FS, fs = over(after), after
		if d, err = Open(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if got := d.VV(); !vv.LessEqual(got) {
			t.Fatalf("vv %v after the crash, %v was published", got, vv)
		}
		check(t, d)
		if !d.Dirty() {
			wantTree(t, d, committed)
		}
		noteNumbers(t, d, used)
	}
	exchange(t, d, other)
	wantSame(t, []*DB{d, other})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// noteNumbers makes a file and checks that its number is new.
func noteNumbers(t *testing.T, d *DB, used map[Ino]bool) {
	t.Helper()
	for range 3 {
		name := ConflictName("n", "", time.Unix(int64(len(used)), 0), "")
		f, err := d.Create(RootIno, name, vfs.NewNode{Kind: vfs.KindFile}, CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if used[f.ID] {
			t.Fatalf("number %d comes twice", f.ID)
		}
		used[f.ID] = true
	}
	must[int](t)(d.Commit(t.Context()))
}
