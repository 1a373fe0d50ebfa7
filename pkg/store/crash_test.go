package store

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

var fullFlag = flag.Bool("full", false, "tests of crashes, flipped bits and full disks leave nothing out")

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
	trashed // and the time of it, in seconds
)

// stateOf is the state of a block in a store.
func stateOf(s *Store, id block.ID) state {
	r, ok, err := s.lookup(id)
	isOwned, isCached := s.Has(id)
	switch {
	case err == nil && ok && s.InTrash(id) && !isOwned && !isCached:
		return trashed + state(r.since)
	case isOwned:
		return owned
	case isCached:
		return cached
	}
	return absent
}

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
			now := stateOf(s, id)
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

// TestCrash runs random changes and takes clones of the disk before every sync, write, rename, creation and removal, with
// none, a random part and all of the unsynced bytes; of 2,000 changes with -full, else of a sample.
func TestCrash(t *testing.T) {
	rng := testRand(t)
	runs, one := 10, 24 // of so many boundaries a clone is taken at one
	switch {
	case *fullFlag:
		runs, one = 50, 1
	case testing.Short():
		runs, one = 3, 24
	}
	total := 0
	for run := range runs {
		t.Run(fmt.Sprint(run), func(t *testing.T) { total += runCrash(t, rng, one) })
	}
	t.Logf("%d crashes in %d changes", total, runs*crashLives*crashChanges)
	if total < 10*runs {
		t.Errorf("only %d crashes", total)
	}
}

const (
	crashLives   = 2  // clean reopens in a run
	crashChanges = 20 // in each life
)

// boundary says whether an operation changes what a crash leaves.
func boundary(k errorfs.OpKind) bool {
	switch k {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpFileWrite, errorfs.OpFileWriteAt,
		errorfs.OpRename, errorfs.OpCreate, errorfs.OpRemove, errorfs.OpRemoveAll, errorfs.OpLink, errorfs.OpMkdirAll:
		return true
	default:
		return false
	}
}

func runCrash(t *testing.T, rng *rand.Rand, one int) int {
	mem := vfs.NewCrashableMem()
	m := newModel()
	var mu sync.Mutex // guards the fields below
	var crashes []crash
	cloneRand := rand.New(rand.NewPCG(rng.Uint64(), 1))
	on := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !boundary(op.Kind) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if cloneRand.IntN(one) > 0 {
			return nil
		}
		for _, percent := range []int{0, 1 + cloneRand.IntN(99), 100} {
			crashes = append(crashes, crash{
				what: fmt.Sprintf("crash %d at %v of %s, %d%% of the unsynced", len(crashes), op.Kind, op.Path, percent),
				fs:   mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: cloneRand}),
				m:    m.clone(),
			})
		}
		return nil
	})}
	o := Options{SegmentBytes: 16 << 10, Clock: &testClock{}}
	if err := mem.MkdirAll("home", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/", "home"} {
		if err := syncDir(mem, dir); err != nil {
			t.Fatal(err)
		}
	}
	fs := errorfs.Wrap(mem, &on)
	for range crashLives {
		on.On()
		s, err := Open(fs, testDir, o)
		if err != nil {
			t.Fatal(err)
		}
		changes(t, s, m, rng)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		on.Off()
	}
	for _, c := range crashes {
		verifyCrash(t, c, o)
	}
	return len(crashes)
}

// changes makes random changes and Syncs, and tells the model.
func changes(t *testing.T, s *Store, m *model, rng *rand.Rand) {
	t.Helper()
	clock := s.o.Clock.(*testClock)
	w := worker{s: s, m: m, last: make(map[uint64]state)}
	for range crashChanges {
		clock.seconds.Add(1)
		if err := w.change(rng); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.sync(); err != nil {
		t.Fatal(err)
	}
}

// worker changes a store, and tells the model of it.
type worker struct {
	s    *Store
	m    *model
	last map[uint64]state // what was made of blocks since the last Sync
}

func (w *worker) sync() error {
	err := w.s.Sync(context.Background())
	if err == nil {
		w.m.ack(w.last)
	}
	return err
}

// to notes what is about to become of a block; the returned function does it, and notes that it is so.
func (w *worker) to(seed uint64, to state, do func() error) error {
	w.m.change(seed, to)
	err := do()
	if err == nil {
		w.last[seed] = to
	}
	return err
}

// change makes one random change.
func (w *worker) change(rng *rand.Rand) error {
	ctx := context.Background()
	s := w.s
	seed := uint64(rng.IntN(crashSeeds))
	id, b := testBlock(seed, crashLen(seed))
	was := stateOf(s, id)
	keepOr := func(to state, from ...state) state {
		if slices.Contains(from, was) || was >= trashed && slices.Contains(from, trashed) {
			return to
		}
		return was
	}
	done := func(_ bool, err error) error { return err }
	switch rng.IntN(18) {
	case 0, 1, 2, 3:
		return w.to(seed, owned, func() error { return s.Put(ctx, id, b) })
	case 4, 5:
		return w.to(seed, keepOr(cached, absent, trashed), func() error { return s.PutCached(ctx, id, b) })
	case 6, 7:
		return w.to(seed, absent, func() error { return s.Delete(ctx, id) })
	case 8, 9, 10:
		return w.to(seed, keepOr(trashed+state(s.unix()), owned), func() error { return done(s.Trash(ctx, id, nil)) })
	case 11:
		return w.to(seed, keepOr(absent, trashed), func() error { return done(s.Drop(ctx, id, nil)) })
	case 12:
		return w.to(seed, keepOr(absent, owned), func() error { return done(s.DeleteUnless(ctx, id, nil)) })
	case 13:
		if was != absent {
			return w.to(seed, owned, func() error { return s.Own(ctx, id) })
		}
	case 14:
		if was == owned || was == cached {
			return w.to(seed, cached, func() error { return s.Disown(ctx, id) })
		}
	case 15:
		return w.evict(ctx)
	case 16:
		if rng.IntN(3) > 0 {
			return w.sync()
		}
		if _, err := s.Compact(ctx); err != nil {
			return err
		}
	case 17:
		if rng.IntN(4) > 0 {
			return w.sync()
		}
		return s.RebuildIndex(ctx, func(p Problem) { panic(p.String()) })
	}
	return nil
}

// evict evicts cached copies.
func (w *worker) evict(ctx context.Context) error {
	var copies []uint64
	for seed := range uint64(crashSeeds) {
		if id, _ := testBlock(seed, crashLen(seed)); stateOf(w.s, id) == cached {
			copies = append(copies, seed)
			w.m.change(seed, absent)
		}
	}
	_, err := w.s.EvictTo(ctx, 5000)
	for _, seed := range copies {
		id, _ := testBlock(seed, crashLen(seed))
		w.last[seed] = stateOf(w.s, id)
	}
	return err
}
