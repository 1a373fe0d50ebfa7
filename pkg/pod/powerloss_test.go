package pod

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// A crash is a disk as a loss of power left it, and what may be found on it.
type crash struct {
	what      string
	mem       *pebblevfs.MemFS
	w         *world
	low, high bounds
	told      toldHead
	again     bool // open it twice
}

// toldHead is the newest commit that other pods were told of.
type toldHead struct {
	seq    uint64
	digest [32]byte
}

// eavesdropper is the network of a pod with one peer, who hears its heads and answers nothing.
type eavesdropper struct {
	offline
	p    *Pod
	mu   sync.Mutex // guards told
	told toldHead
}

// Peers is network's.
func (*eavesdropper) Peers() []p2p.Peer { return []p2p.Peer{{Pod: ident.Pod{1}}} }

// Tell is network's.
func (e *eavesdropper) Tell(_ ident.Pod, kind p2p.Kind, body []byte) {
	if kind != p2p.KindHead {
		return
	}
	head, _, _, err := e.p.readHead(body)
	if err != nil {
		panic(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if head.Seq > e.told.seq {
		e.told = toldHead{head.Seq, head.CommitDigest}
	}
}

func (e *eavesdropper) heard() toldHead {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.told
}

// TestPowerLoss cuts the power at the boundaries of what a pod does to its disk, under a random load of several users, and breaks
// if something acknowledged is lost, something else is shown than was once there, a change that other pods were told of is
// gone, or fsck finds something. Records of the journal that are found are folded, which must change nothing. With -full it is each boundary of some 2,400
// operations, and at each two of the ways to cut the power in turn: none, some and all of what was not synced, of state and store.
func TestPowerLoss(t *testing.T) {
	rng := testRand(t)
	rounds, ops, every := 3, 50, 9
	switch {
	case *fullFlag:
		rounds, ops, every = 8, 100, 1
	case testing.Short():
		rounds, ops, every = 2, 40, 16
	}
	powerLoss(t, rng, nil, rounds, ops, every)
}

// TestPowerLossLocked is TestPowerLoss on a locked disk.
func TestPowerLossLocked(t *testing.T) {
	powerLoss(t, testRand(t), testLocking(t), 2, 40, 16)
}

func powerLoss(t *testing.T, rng *rand.Rand, lock *Locking, rounds, ops, every int) {
	t.Helper()
	dir, mem := crashPod(t, lock)
	v := newVerifier(t, dir)
	if lock != nil {
		v.disk = lock.Key
	}
	for round := range rounds {
		if mem = v.round(mem, rng, ops, every); t.Failed() {
			t.Fatalf("round %d", round)
		}
		t.Logf("round %d of %d: %d operations, %d boundaries, %d power cuts verified", round+1, rounds, v.ops.Load(), v.boundaries.Load(), v.verified.Load())
	}
	v.end()
	t.Logf("%d operations, %d boundaries, %d power cuts verified, with %d journal records", v.ops.Load(), v.boundaries.Load(), v.verified.Load(), v.records.Load())
	if v.verified.Load() < 10 {
		t.Errorf("only %d power cuts", v.verified.Load())
	}
	if v.records.Load() == 0 && !testing.Short() {
		t.Error("no power cut left a record of the journal: replay is not tested")
	}
}

const powerLossUsers = 3

// A verifier opens what crashes left, beside the load that goes on.
type verifier struct {
	t       *testing.T
	dir     string
	disk    *diskcrypt.Key
	crashes chan crash // capacity 1: who cuts the power waits, so that few clones are in memory
	ended   sync.WaitGroup

	ops, boundaries, verified, records atomic.Int64
}

func newVerifier(t *testing.T, dir string) *verifier {
	v := &verifier{t: t, dir: dir, crashes: make(chan crash, 1)}
	for range 2 * max(runtime.GOMAXPROCS(0), 2) { // they wait for timers half of the time
		v.ended.Go(func() {
			for c := range v.crashes {
				if !t.Failed() {
					v.verify(c)
					v.verified.Add(1)
				}
			}
		})
	}
	return v
}

func (v *verifier) end() {
	close(v.crashes)
	v.ended.Wait()
}

// round opens a disk, has users change it, cuts the power now and then, and returns the disk as the last cut left it.
func (v *verifier) round(mem *pebblevfs.MemFS, rng *rand.Rand, ops, every int) *pebblevfs.MemFS {
	t := v.t
	disk := newCrashDisk(mem)
	p, err := Open(quickly(t), Options{Dir: v.dir, Disk: v.disk, Offline: true, FS: disk.fs, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	ear := &eavesdropper{p: p}
	p.net = ear
	tp := run(t, p, v.dir)
	w, users, err := newWorld(t, tp, powerLossUsers)
	if err != nil {
		t.Fatal(err)
	}

	hookRand := rand.New(rand.NewPCG(rng.Uint64(), 2))
	var mu sync.Mutex // guards hookRand
	disk.set(func(op errorfs.Op) error {
		n := v.boundaries.Add(1)
		chance := every
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
			chance = (every + 2) / 3 // more depends on these
		}
		mu.Lock()
		if hookRand.IntN(chance) > 0 || t.Failed() {
			mu.Unlock()
			return nil
		}
		cuts, again := powerCuts(hookRand, int(n)), hookRand.IntN(3) == 0
		mu.Unlock()
		for _, cut := range cuts {
			v.crashes <- takeCrash(fmt.Sprintf("boundary %d, before %v of %s, %v", n, op.Kind, op.Path, cut), v.cut(cut, mem), w, ear, again)
		}
		return nil
	})
	var all sync.WaitGroup
	for _, u := range users {
		u.p, u.fs, u.ctx, u.rng = p, p.FS(), quickly(t), rand.New(rand.NewPCG(rng.Uint64(), 3))
		all.Go(func() {
			for range ops {
				if err := u.step(); err != nil {
					t.Errorf("%s: %v", u.f.name, err)
					return
				}
				v.ops.Add(1)
			}
		})
	}
	all.Wait()
	last := takeCrash("the end of the round", v.cut(powerCuts(rng, 0)[0], mem), w, ear, true)
	next := last.mem.CrashClone(pebblevfs.CrashCloneCfg{}) // verifying it changes it; all that it holds is synced
	v.crashes <- last
	for _, u := range users {
		if err := u.closeAll(); err != nil {
			t.Error(err)
		}
	}
	tp.stop()
	disk.set(nil)
	return next
}

func (v *verifier) cut(c powerCut, mem *pebblevfs.MemFS) func() *pebblevfs.MemFS {
	return func() *pebblevfs.MemFS { return c.of(v.t, mem, v.dir) }
}

// takeCrash cuts the power. What is acknowledged is looked at before, what may be there after.
func takeCrash(what string, cut func() *pebblevfs.MemFS, w *world, ear *eavesdropper, again bool) crash {
	c := crash{what: what, w: w, low: w.acked(), told: ear.heard(), again: again}
	c.mem = cut()
	c.high = w.last()
	return c
}

// run runs a pod until the test ends or stop is called.
func run(t *testing.T, p *Pod, dir string) *testPod {
	t.Helper()
	tp := started(t, p, dir)
	t.Cleanup(tp.stop)
	return tp
}

// verify opens what a crash left, and, now and then, a second time: what the first start made good is good for the second.
func (v *verifier) verify(c crash) {
	first, err := v.open(c.mem, func(p *Pod, found map[string]dumped) error {
		if err := keptCommits(p, c.told); err != nil {
			return err
		}
		return c.w.check(found, c.low, c.high)
	})
	if err == nil && c.again {
		_, err = v.open(c.mem, func(_ *Pod, found map[string]dumped) error {
			if !maps.Equal(found, first) {
				return errors.New("the second start shows something else")
			}
			return nil
		})
	}
	if err != nil {
		v.t.Errorf("%s: %v", c.what, err)
	}
}

// open opens a disk's pod, checks what it shows, and has it run briefly.
func (v *verifier) open(mem *pebblevfs.MemFS, check func(*Pod, map[string]dumped) error) (found map[string]dumped, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	p, err := Open(ctx, Options{Dir: v.dir, Disk: v.disk, Offline: true, FS: mem, Log: testLog(v.t)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	n, err := journalRecords(p)
	if err != nil {
		return nil, err
	}
	v.records.Add(int64(n))
	if found, err = dump(ctx, p.FS(), nil); err != nil {
		return nil, err
	}
	if err := check(p, found); err != nil {
		return nil, err
	}
	return found, runBriefly(ctx, p, found)
}

// runBriefly has a pod run until what was left over is settled: it must show the same, and find nothing wrong with itself.
func runBriefly(ctx context.Context, p *Pod, want map[string]dumped) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(running) }()
	errs := []error{p.foldJournals(ctx, true), p.Settle(ctx)}
	n, err := journalRecords(p)
	if err == nil && n > 0 {
		err = fmt.Errorf("%d journal records are left after a fold", n)
	}
	errs = append(errs, err)
	then, err := dump(ctx, p.FS(), nil)
	if err == nil && !maps.Equal(then, want) {
		err = errors.New("it shows something else once it runs")
	}
	errs = append(errs, err)
	err = p.Fsck(ctx, false, func(pr Problem) { errs = append(errs, fmt.Errorf("fsck: %s: %s", pr.Where, pr.What)) })
	errs = append(errs, err)
	stop()
	return errors.Join(append(errs, <-ended)...)
}

// keptCommits says whether a pod has the commits that others were told of, or has lost them, or made others of their numbers.
func keptCommits(p *Pod, told toldHead) error {
	if told.seq == 0 {
		return nil
	}
	message, err := p.headMessage(context.Background(), nil)
	if err != nil {
		return err
	}
	head, _, _, err := p.readHead(message)
	switch {
	case err != nil:
		return err
	case head.Seq < told.seq:
		return fmt.Errorf("the pod has %d commits and told others of %d", head.Seq, told.seq)
	case head.Seq == told.seq && head.CommitDigest != told.digest:
		return fmt.Errorf("commit %d is another than others were told of", head.Seq)
	}
	return nil
}
