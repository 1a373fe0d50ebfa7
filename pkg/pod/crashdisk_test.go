package pod

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

var (
	seedFlag = flag.Uint64("seed", 0, "seed of random tests; 0: a new one")
	onlyFlag = flag.Int("n", 0, "tests that count operations of the disk try this number alone")
	fullFlag = flag.Bool("full", false, "crash tests try every boundary of the disk, for many minutes")
)

// testRand is a random generator whose seed is printed when the test fails.
func testRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1e9
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// A crashDisk is a disk in memory of which clones can be taken, as a loss of power would leave it. Before each operation that
// changes the disk it calls hook, which may return an error in its place. Only store and state are on it; the keys of a pod are
// read from the operating system's files.
type crashDisk struct {
	mem *pebblevfs.MemFS
	fs  pebblevfs.FS

	mu   sync.Mutex // guards hook
	hook func(errorfs.Op) error
}

func newCrashDisk(mem *pebblevfs.MemFS) *crashDisk {
	d := &crashDisk{mem: mem}
	d.fs = errorfs.Wrap(mem, errorfs.InjectorFunc(d.before))
	return d
}

func (d *crashDisk) set(hook func(errorfs.Op) error) {
	d.mu.Lock()
	d.hook = hook
	d.mu.Unlock()
}

func (d *crashDisk) before(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpFileWrite, errorfs.OpFileWriteAt,
		errorfs.OpRename, errorfs.OpRemove, errorfs.OpRemoveAll, errorfs.OpCreate, errorfs.OpLink, errorfs.OpReuseForWrite,
		errorfs.OpMkdirAll, errorfs.OpFilePreallocate:
	default:
		return nil
	}
	d.mu.Lock()
	hook := d.hook
	d.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(op)
}

// crashPod makes a network with one pod: dir has its keys, the disk its state.
func crashPod(t *testing.T, lock *Locking) (dir string, mem *pebblevfs.MemFS) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "crashing", Lock: lock}); err != nil {
		t.Fatal(err)
	}
	return dir, diskOf(t, dir)
}

// diskOf is a disk with what a pod's folder holds, all of it synced.
func diskOf(t *testing.T, dir string) *pebblevfs.MemFS {
	t.Helper()
	mem := pebblevfs.NewCrashableMem()
	if err := mem.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"state", "segments", "index"} {
		part = filepath.Join(dir, part)
		if _, err := pebblevfs.Clone(pebblevfs.Default, mem, part, part); err != nil {
			t.Fatal(err)
		}
	}
	return mem.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))})
}

// A powerCut keeps, of what was not synced, a share of the state's and a share of the store's blocks and names: none, some or all.
type powerCut struct {
	state, store int // percent
	seed         uint64
}

func (c powerCut) String() string {
	return fmt.Sprintf("%d%% of the unsynced state and %d%% of the unsynced store (seed %d)", c.state, c.store, c.seed)
}

// of is the disk after the cut; dir is the pod's.
func (c powerCut) of(t *testing.T, mem *pebblevfs.MemFS, dir string) *pebblevfs.MemFS {
	rng := rand.New(rand.NewPCG(c.seed, 1))
	state := mem.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: c.state, RNG: rng})
	if c.store == c.state {
		return state
	}
	// The state is of an earlier moment than the store, if they are of two: what it names is in the store, at least.
	out := mem.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: c.store, RNG: rng})
	part := filepath.Join(dir, "state")
	if err := out.RemoveAll(part); err != nil {
		t.Error(err)
	}
	if _, err := pebblevfs.Clone(state, out, part, part); err != nil {
		t.Error(err)
	}
	return out.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
}

// powerCuts are ways to cut the power at the nth place: one of them, or, in a full run, the two whose turn it is, of five.
func powerCuts(rng *rand.Rand, n int) []powerCut {
	some := 1 + rng.IntN(99)
	all := []powerCut{
		{0, 0, rng.Uint64()},
		{some, some, rng.Uint64()},
		{100, 100, rng.Uint64()},
		{100, 0, rng.Uint64()}, // the log was written back, the segments were not
		{0, 100, rng.Uint64()},
	}
	if *fullFlag {
		return []powerCut{all[n%5], all[(n+2)%5]}
	}
	i := []int{0, 1, 1, 2, 3, 3, 3, 4}[rng.IntN(8)]
	return all[i : i+1]
}
