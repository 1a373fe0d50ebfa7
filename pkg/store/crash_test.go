package store

import (
	"bytes"
	"context"
	"errors"
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
	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
)

var (
	seedFlag = flag.Uint64("seed", 0, "seed of random tests; 0: a new one")
	fullFlag = flag.Bool("full", false, "crash at all boundaries, fill the disk at 500 writes in a row, flip 100,000 bits; takes minutes")
)

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

// state of a block as a test knows it.
type state struct {
	what  byte  // 0: absent, 'o' owned, 'c' cached, 't' in the trash
	since int64 // of trash
}

var (
	absent = state{}
	owned  = state{what: 'o'}
	cached = state{what: 'c'}
)

// stateOf asks the store.
func stateOf(s *Store, id block.ID) (state, error) {
	r, ok, err := s.lookup(id)
	isOwned, isCached := s.Has(id)
	switch {
	case err != nil || !ok:
		return absent, err
	case isOwned:
		return owned, nil
	case isCached:
		return cached, nil
	case s.InTrash(id):
		return state{'t', r.since}, nil
	}
	return absent, fmt.Errorf("row %+v is none of the states", r)
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
		c.maybe[k] = maps.Clone(v)
	}
	return c
}

// verify compares a store with the model: nothing acknowledged is lost, nothing wrong is served. What is found stays.
func (m *model) verify(s *Store) error {
	for seed := range uint64(crashSeeds) {
		it := crashItem(seed)
		now, err := stateOf(s, it.name)
		if err != nil || now != m.acked[seed] && !m.maybe[seed][now] {
			return fmt.Errorf("seed %d: state %v, acknowledged %v, possible %v: %w", seed, now, m.acked[seed], m.maybe[seed], err)
		}
		if now != absent {
			if got, err := it.get(s); err != nil || !bytes.Equal(got, it.bytes) {
				return fmt.Errorf("seed %d: get: %d bytes, %w", seed, len(got), err)
			}
		}
		m.acked[seed] = now
		if list, err := s.Fragments(it.of.ID); err != nil || slices.Contains(list, it.of) != (it.isFragment() && now == owned) {
			return fmt.Errorf("seed %d, which is %v, among the fragments %v: %w", seed, now, list, err)
		}
	}
	clear(m.maybe)
	var errs []error
	err := s.Check(context.Background(), func(p Problem) { errs = append(errs, errors.New(p.String())) })
	return errors.Join(append(errs, err)...)
}

const crashSeeds = 32 // different blocks and fragments

// item is a block, or of each fourth seed a fragment.
type item struct {
	name  block.ID
	of    block.Fragment // zero for a block
	bytes []byte
}

func crashItem(seed uint64) item { return testItem(seed, crashLen(seed)) }

func testItem(seed uint64, n int) item {
	if seed%4 != 3 {
		id, b := testBlock(seed, n)
		return item{name: id, bytes: b}
	}
	f, wire := testFragment(seed, n)
	return item{nameOf(f), f, wire}
}

func (it item) isFragment() bool { return isFragment(it.name) }

func (it item) put(s *Store) error {
	if it.isFragment() {
		return s.PutFragment(context.Background(), it.of, it.bytes)
	}
	return s.Put(context.Background(), it.name, it.bytes)
}

func (it item) get(s *Store) ([]byte, error) {
	if it.isFragment() {
		return s.Fragment(context.Background(), it.of)
	}
	return s.Get(context.Background(), it.name)
}

func crashLen(seed uint64) int { return int(seed * seed * 37 % 9000) }

// crash is a file system as a crash may leave it, and what must be found there.
type crash struct {
	fs vfs.FS
	m  *model
}

// verify opens what a crash left: it agrees with the model and no damage is reported; and it is so again when it is used,
// and rewritten, and when the index is lost.
func (c crash) verify(o Options) error {
	for pass, name := range []string{"as it is", "used", "compacted", "index lost"} {
		if pass == 3 {
			if err := c.fs.RemoveAll(testDir + "/index"); err != nil {
				return err
			}
		}
		s, err := Open(c.fs, testDir, o)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if r := s.Recovered(); len(r.Problems) > 0 || r.IndexRebuilt && pass != 0 && pass != 3 {
			err = fmt.Errorf("recovered %+v", r)
		}
		if err == nil {
			err = c.m.verify(s)
		}
		if err == nil {
			err = c.use(s, pass)
		}
		if err := errors.Join(err, s.Close()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// use changes something that the model does not know of.
func (c crash) use(s *Store, pass int) error {
	ctx := context.Background()
	switch pass {
	case 0:
		id, b := testBlock(1000, 700)
		return errors.Join(s.Put(ctx, id, b), s.Sync(ctx), s.Delete(ctx, id))
	case 1:
		_, err := s.Compact(ctx)
		return err
	}
	return nil
}

// TestCrash runs 2,000 random changes and takes clones of the disk at syncs, writes, renames, creations and removals,
// with none, some and all of the unsynced bytes. Which of them are taken is random, without -full.
func TestCrash(t *testing.T) {
	rng := testRand(t)
	every := 100
	if testing.Short() {
		every = 400
	}
	if *fullFlag {
		every = 1
	}
	for run := range 5 {
		t.Run(fmt.Sprint(run), func(t *testing.T) { runCrash(t, rng, every, nil) })
		t.Run(fmt.Sprint(run)+"/locked", func(t *testing.T) { runCrash(t, rng, every, diskcrypt.NewKey()) })
	}
}

// crasher verifies crashes of a file system at its boundaries.
type crasher struct {
	t     *testing.T
	mem   *vfs.MemFS
	m     *model
	o     Options
	every int
	disk  *diskcrypt.Key // nil: the disk is not encrypted

	mu         sync.Mutex // guards the fields below
	rng        *rand.Rand
	boundaries int
	crashes    int
}

// at is called before an operation of the file system.
func (c *crasher) at(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileWrite, errorfs.OpFileWriteAt,
		errorfs.OpRename, errorfs.OpRemove, errorfs.OpCreate, errorfs.OpLink:
	default:
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boundaries++
	for _, percent := range []int{0, 1 + c.rng.IntN(99), 100} {
		if c.rng.IntN(c.every) != 0 || c.t.Failed() {
			continue
		}
		c.crashes++
		clone := crash{locked(c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: c.rng}), c.disk), c.m.clone()}
		if err := clone.verify(c.o); err != nil {
			c.t.Errorf("boundary %d, %v of %s, %d%% of the unsynced: %v", c.boundaries, op.Kind, op.Path, percent, err)
		}
	}
	return nil
}

// locked is a file system that is encrypted under a key, if there is one.
func locked(fs vfs.FS, disk *diskcrypt.Key) vfs.FS {
	if disk == nil {
		return fs
	}
	return diskcrypt.New(fs, disk)
}

func runCrash(t *testing.T, rng *rand.Rand, every int, disk *diskcrypt.Key) {
	clock := &testClock{}
	c := &crasher{
		t: t, mem: vfs.NewCrashableMem(), m: newModel(), every: every, disk: disk,
		o: Options{SegmentBytes: 16 << 10, NeverResume: disk != nil, Clock: clock}, rng: rand.New(rand.NewPCG(rng.Uint64(), 1)),
	}
	if err := c.mem.MkdirAll("home", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/", "home"} {
		if err := syncDir(c.mem, dir); err != nil {
			t.Fatal(err)
		}
	}
	on := errorfs.Toggle{Injector: errorfs.InjectorFunc(c.at)}
	fs := locked(errorfs.Wrap(c.mem, &on), disk)
	for range 2 { // clean reopens between
		s, err := Open(fs, testDir, c.o)
		if err != nil {
			t.Fatal(err)
		}
		on.On()
		w := workload{s: s, m: c.m, clock: clock, rng: rng, last: make(map[uint64]state)}
		for range 200 {
			if err := w.step(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.sync(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		on.Off()
	}
	t.Logf("%d crashes at %d boundaries", c.crashes, c.boundaries)
	if c.boundaries < 300 {
		t.Errorf("only %d boundaries", c.boundaries)
	}
}

// workload makes random changes to a store and tells the model.
type workload struct {
	s     *Store
	m     *model
	clock *testClock
	rng   *rand.Rand
	last  map[uint64]state // what was last made of each seed
}

func (w *workload) sync() error {
	err := w.s.Sync(context.Background())
	if err == nil {
		w.m.ack(w.last)
	}
	return err
}

// step makes one change, or a Sync or a Compact. What fails may have happened or not.
func (w *workload) step() error {
	ctx := context.Background()
	w.clock.seconds.Add(1)
	seed := uint64(w.rng.IntN(crashSeeds))
	it := crashItem(seed)
	id := it.name
	was, err := stateOf(w.s, id)
	if err != nil {
		return err
	}
	// to makes the change, which is possible from before it on, and what is known of the block from then.
	to := func(st state, f func() error) error {
		w.m.change(seed, st)
		err := f()
		now, lerr := stateOf(w.s, id)
		if err == nil && now != st {
			return fmt.Errorf("seed %d was %v, is %v, want %v", seed, was, now, st)
		}
		w.last[seed] = now
		return errors.Join(err, lerr)
	}
	discard := func(_ bool, err error) error { return err }
	trashTime := state{'t', w.clock.Now().Unix()}
	switch n := w.rng.IntN(22); {
	case n >= 20:
		return w.putMany()
	case n < 5:
		return to(owned, func() error { return it.put(w.s) })
	case n < 7 && was != owned && !it.isFragment():
		return to(cached, func() error { return w.s.PutCached(ctx, id, it.bytes) })
	case n < 9:
		return to(absent, func() error { return w.s.Delete(ctx, id) })
	case n < 13 && was == owned:
		return to(trashTime, func() error { return discard(w.s.Trash(ctx, id, nil)) })
	case n < 13 && was.what == 't':
		return to(absent, func() error { return discard(w.s.Drop(ctx, id, nil)) })
	case n < 14 && was == owned:
		return to(absent, func() error { return discard(w.s.DeleteUnless(ctx, id, nil)) })
	case n < 15 && was == owned && !it.isFragment():
		return to(cached, func() error { return w.s.Disown(ctx, id) })
	case n < 16 && was != absent:
		return to(owned, func() error { return w.s.Own(ctx, id) })
	case n < 17 && w.rng.IntN(3) == 0:
		return w.evict()
	case n < 18:
		return w.sync()
	case n < 19 && w.rng.IntN(4) == 0:
		_, err := w.s.Compact(ctx)
		return err
	case n == 19 && w.rng.IntN(8) == 0:
		var errs []error
		err := w.s.RebuildIndex(ctx, func(p Problem) { errs = append(errs, errors.New(p.String())) })
		return errors.Join(append(errs, err)...)
	}
	return nil
}

// putMany puts some blocks at once, one of them twice.
func (w *workload) putMany() error {
	blocks := slices.DeleteFunc(w.rng.Perm(crashSeeds), func(seed int) bool { return crashItem(uint64(seed)).isFragment() })
	seeds := blocks[:1+w.rng.IntN(5)]
	var list []block.Block
	for _, seed := range append(seeds, seeds[0]) {
		w.m.change(uint64(seed), owned)
		it := crashItem(uint64(seed))
		list = append(list, block.Block{ID: it.name, Plain: it.bytes})
	}
	err := w.s.PutMany(context.Background(), list)
	for i, seed := range seeds {
		now, lerr := stateOf(w.s, list[i].ID)
		if err == nil && now != owned {
			err = fmt.Errorf("seed %d is %v after a put of many", seed, now)
		}
		w.last[uint64(seed)] = now
		err = errors.Join(err, lerr)
	}
	return err
}

// evict evicts all cached copies.
func (w *workload) evict() error {
	var seeds []uint64
	for seed := range uint64(crashSeeds) {
		id := crashItem(seed).name
		if st, err := stateOf(w.s, id); err != nil {
			return err
		} else if st == cached {
			w.m.change(seed, absent)
			seeds = append(seeds, seed)
		}
	}
	_, err := w.s.EvictTo(context.Background(), 0)
	for _, seed := range seeds {
		st, lerr := stateOf(w.s, crashItem(seed).name)
		w.last[seed] = st
		err = errors.Join(err, lerr)
	}
	return err
}
