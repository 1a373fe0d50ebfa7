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
func crashPod(t *testing.T) (dir string, mem *pebblevfs.MemFS) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "crashing"}); err != nil {
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

// A cut of the power keeps a share of what was not synced.
type powerCut struct {
	percent int // none, some or all of the blocks and names that were not synced
	seed    uint64
}

func (c powerCut) String() string {
	return fmt.Sprintf("%d%% of the unsynced (seed %d)", c.percent, c.seed)
}

func (c powerCut) of(mem *pebblevfs.MemFS) *pebblevfs.MemFS {
	return mem.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: rand.New(rand.NewPCG(c.seed, 1))})
}

// powerCuts are the ways to cut the power at one place: one of them, or, in a full run, all.
func powerCuts(rng *rand.Rand) []powerCut {
	all := []powerCut{{0, rng.Uint64()}, {1 + rng.IntN(99), rng.Uint64()}, {100, rng.Uint64()}}
	if *fullFlag {
		return all
	}
	i := rng.IntN(len(all))
	return all[i : i+1]
}
