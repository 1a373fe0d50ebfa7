package store

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

var seedFlag = flag.Uint64("seed", 0, "seed of random tests; 0: a new one")

// testRand is a random generator whose seed is printed when the test fails.
func testRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// state of a block as a crash test knows it.
type state int

const (
	absent state = iota
	owned
	cached
)

// model is what is acknowledged, and what a crash may leave instead.
type model struct {
	mu    sync.Mutex
	acked map[uint64]state          // by seed: durable
	maybe map[uint64]map[state]bool // states that changes since then made
}

func newModel() *model {
	return &model{acked: make(map[uint64]state), maybe: make(map[uint64]map[state]bool)}
}

func (m *model) change(seed uint64, to state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.maybe[seed] == nil {
		m.maybe[seed] = make(map[state]bool)
	}
	m.maybe[seed][to] = true
}

// ack is called with what was last made of each seed, once it is synced.
func (m *model) ack(last map[uint64]state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.acked, last)
	clear(m.maybe)
}

func (m *model) clone() *model {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := newModel()
	maps.Copy(c.acked, m.acked)
	for k, v := range m.maybe {
		c.maybe[k] = make(map[state]bool)
		for st := range v {
			c.maybe[k][st] = true
		}
	}
	return c
}

// crash is a file system as a crash may leave it, and what must be found there.
type crash struct {
	what string
	fs   *vfs.MemFS
	m    *model
}

const crashSeeds = 24 // different blocks

func crashLen(seed uint64) int { return int(seed * seed * 37 % 9000) }

// verifyCrash opens what a crash left: nothing acknowledged is lost, nothing wrong is served,
// no damage is reported; and it is so again when the index is rebuilt, and after more writes.
func verifyCrash(t *testing.T, c crash, o Options) {
	t.Helper()
	ctx := context.Background()
	for pass, index := range []string{"as it is", "reopened", "index lost"} {
		if pass == 2 {
			if err := c.fs.RemoveAll(testDir + "/index"); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(c.fs, testDir, o)
		if err != nil {
			t.Fatalf("%s, %s: open: %v", c.what, index, err)
		}
		if r := s.Recovered(); len(r.Problems) > 0 {
			t.Fatalf("%s, %s: problems %v", c.what, index, r.Problems)
		}
		for seed := range uint64(crashSeeds) {
			id, _ := testBlock(seed, crashLen(seed))
			now := absent
			if isOwned, isCached := s.Has(id); isOwned {
				now = owned
			} else if isCached {
				now = cached
			}
			if now != c.m.acked[seed] && !c.m.maybe[seed][now] {
				t.Fatalf("%s, %s: seed %d: state %d, acknowledged %d, possible %v", c.what, index, seed, now, c.m.acked[seed], c.m.maybe[seed])
			}
			if now != absent {
				wantBlock(t, s, seed, crashLen(seed))
			}
			// What is found from here on stays.
			c.m.acked[seed] = now
		}
		clear(c.m.maybe)
		wantCheck(t, s, nil)
		if pass == 0 {
			id := mustPut(t, s, 1000, 700)
			mustSync(t, s)
			if err := s.Delete(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatalf("%s, %s: close: %v", c.what, index, err)
		}
		if t.Failed() {
			t.Fatalf("%s, %s", c.what, index)
		}
	}
}

// TestCrash runs random changes and takes a clone of the disk at every sync and write, with none,
// some or all of the unsynced bytes.
func TestCrash(t *testing.T) {
	rng := testRand(t)
	runs := 4
	if testing.Short() {
		runs = 1
	}
	for run := range runs {
		t.Run(fmt.Sprint(run), func(t *testing.T) { runCrash(t, rng) })
	}
}

func runCrash(t *testing.T, rng *rand.Rand) {
	mem := vfs.NewCrashableMem()
	m := newModel()
	var mu sync.Mutex // guards the fields below
	var crashes []crash
	cloneRand := rand.New(rand.NewPCG(rng.Uint64(), 1))
	on := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		isSync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpRemove
		if !isSync && (op.Kind != errorfs.OpFileWriteAt || !strings.HasSuffix(op.Path, ".seg")) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if !isSync && cloneRand.IntN(8) > 0 {
			return nil
		}
		percent := []int{0, 50, 90, 100}[cloneRand.IntN(4)]
		crashes = append(crashes, crash{
			what: fmt.Sprintf("crash %d at %v of %s, %d%% of the unsynced", len(crashes), op.Kind, op.Path, percent),
			fs:   mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: cloneRand}),
			m:    m.clone(),
		})
		return nil
	})}
	o := Options{SegmentBytes: 16 << 10}
	if err := mem.MkdirAll("home", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/", "home"} {
		if err := syncDir(mem, dir); err != nil {
			t.Fatal(err)
		}
	}
	fs := errorfs.Wrap(mem, &on)
	for range 3 { // clean reopens between
		s, err := Open(fs, testDir, o)
		if err != nil {
			t.Fatal(err)
		}
		on.On()
		changes(t, s, m, rng)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		on.Off()
	}
	t.Logf("%d crashes", len(crashes))
	if len(crashes) < 10 {
		t.Errorf("only %d crashes", len(crashes))
	}
	for i, c := range crashes {
		if testing.Short() && i%4 > 0 {
			continue
		}
		verifyCrash(t, c, o)
	}
}

// changes makes random changes and Syncs, and tells the model.
func changes(t *testing.T, s *Store, m *model, rng *rand.Rand) {
	t.Helper()
	ctx := context.Background()
	last := make(map[uint64]state)
	for range 120 {
		seed := uint64(rng.IntN(crashSeeds))
		id, b := testBlock(seed, crashLen(seed))
		was := absent
		if isOwned, isCached := s.Has(id); isOwned {
			was = owned
		} else if isCached {
			was = cached
		}
		var err error
		to := was
		switch rng.IntN(12) {
		case 0, 1, 2, 3:
			to = owned
			m.change(seed, to)
			err = s.Put(ctx, id, b)
		case 4:
			if was == absent {
				to = cached
			}
			m.change(seed, to)
			err = s.PutCached(ctx, id, b)
		case 5, 6, 7:
			to = absent
			m.change(seed, to)
			err = s.Delete(ctx, id)
		case 8:
			if was == cached {
				to = owned
				m.change(seed, to)
				err = s.Own(ctx, id)
			}
		case 9:
			if was == owned {
				to = cached
				m.change(seed, to)
				err = s.Disown(ctx, id)
			}
		case 10:
			err = s.Sync(ctx)
			m.ack(last)
		case 11:
			if rng.IntN(5) == 0 {
				if _, err = s.Compact(ctx); err == nil {
					err = s.Sync(ctx)
					m.ack(last)
				}
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		last[seed] = to
	}
	if err := s.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	m.ack(last)
}
