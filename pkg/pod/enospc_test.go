package pod

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestNoSpace fills the disk before the n-th write of a pod, for a while, and breaks if something is acknowledged that is not
// there, if an operation that failed leaves something else than the old or the new state, if an error is another than "no space",
// or if the pod doesn't go on by itself when there is room again. With -full n is 1 to 500, else some of these.
func TestNoSpace(t *testing.T) {
	rng := testRand(t)
	dir, base := crashPod(t, nil)
	if *onlyFlag != 0 {
		fillDisk(t, rng, dir, base, *onlyFlag)
		return
	}
	var list []int
	switch {
	case *fullFlag:
		for n := range 500 {
			list = append(list, n+1)
		}
	case testing.Short():
		list = []int{1 + rng.IntN(60), 60 + rng.IntN(200)}
	default:
		for range 8 {
			list = append(list, 1+rng.IntN(60), 1+rng.IntN(500))
		}
	}
	for _, n := range list {
		fillDisk(t, rng, dir, base.CrashClone(pebblevfs.CrashCloneCfg{}), n)
		if t.Failed() {
			return
		}
	}
}

// fullFor is a disk that is full from the n-th write on, until so many writes have failed.
func fullFor(disk *crashDisk, n, failures int64) (failed *atomic.Int64) {
	failed = new(atomic.Int64)
	var writes atomic.Int64
	disk.set(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpRemove, errorfs.OpRemoveAll:
			return nil
		default:
		}
		if writes.Add(1) < n || failed.Load() >= failures {
			return nil
		}
		failed.Add(1)
		return fmt.Errorf("%v %s: %w", op.Kind, op.Path, syscall.ENOSPC)
	})
	return failed
}

func fillDisk(t *testing.T, rng *rand.Rand, dir string, mem *pebblevfs.MemFS, n int) {
	t.Helper()
	failures := 1 + rng.IntN(8)
	what := fmt.Sprintf("full at write %d, for %d writes", n, failures)
	disk := newCrashDisk(mem)
	failed := fullFor(disk, int64(n), int64(failures))
	p, err := Open(quickly(t), Options{Dir: dir, Offline: true, FS: disk.fs, Log: testLog(t)})
	if err != nil {
		if failed.Load() == 0 || !isFull(err) {
			t.Errorf("%s: open: %v", what, err)
		}
		// The process ends, and another begins when there is room.
		disk = newCrashDisk(mem.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng}))
		if p, err = Open(quickly(t), Options{Dir: dir, Offline: true, FS: disk.fs, Log: testLog(t)}); err != nil {
			t.Fatalf("%s: open when there is room: %v", what, err)
		}
	}
	tp := started(t, p, dir)
	defer tp.stop()
	w, u := fullWorld(t, tp, rng)
	for range 40 {
		before := u.ended()
		if err := u.step(); err != nil {
			if !errors.Is(err, vfs.ErrNoSpace) {
				t.Errorf("%s: %v: want %v", what, err, vfs.ErrNoSpace)
			}
			if left := u.resync(before); left != nil {
				t.Errorf("%s: after %v: %v", what, err, left)
				return
			}
		}
	}
	disk.set(nil)
	eventually(t, what+": room again", p.guard.err)
	for range 10 {
		if err := u.step(); err != nil {
			t.Errorf("%s: when there is room again: %v", what, err)
			return
		}
	}
	if err := errors.Join(u.closeAll(), u.settle(p.Settle)); err != nil {
		t.Errorf("%s: when there is room again: %v", what, err)
	}
	found, err := dump(u.ctx, u.fs, nil)
	if err = errors.Join(err, w.check(found, w.ended(), w.last())); err != nil {
		t.Errorf("%s: when there is room again, the pod shows: %v", what, err)
	}
	tp.clean()
	v := &verifier{t: t, dir: dir}
	v.verify(takeCrash(what+", then a power cut", v.cut(powerCuts(rng, rng.IntN(5))[0], disk.mem), w, &eavesdropper{}, true))
}

// fullWorld is a world with one user, made while the disk may be full.
func fullWorld(t *testing.T, p *testPod, rng *rand.Rand) (*world, *user) {
	t.Helper()
	var w *world
	var users []*user
	eventually(t, "a folder", func() (err error) {
		if w, users, err = newWorld(t, p, 1); err != nil && !errors.Is(err, vfs.ErrNoSpace) {
			t.Error(err)
		}
		return err
	})
	u := users[0]
	u.p, u.fs, u.ctx, u.rng = p.Pod, p.FS(), quickly(t), rand.New(rand.NewPCG(rng.Uint64(), 3))
	return w, u
}

// ended is where the user's own histories are.
func (u *user) ended() folderBounds {
	for i, f := range u.w.folders {
		if f == u.f {
			return u.w.ended()[i]
		}
	}
	return folderBounds{}
}

// resync finds out what an operation that failed has done: all, nothing, or one of its steps, and goes on from there.
func (u *user) resync(before folderBounds) error {
	bytesOf := map[string][]byte{}
	all, err := dump(u.ctx, u.fs, func(p string, data []byte) { bytesOf[p] = data })
	if err != nil {
		return err
	}
	found := map[string]dumped{}
	for p, d := range all {
		if rest, ok := strings.CutPrefix(p, u.f.name+"/"); ok {
			found[rest] = d
		}
	}
	u.w.mu.Lock()
	defer u.w.mu.Unlock()
	high := folderBounds{names: len(u.f.names) - 1}
	for _, o := range u.f.objects {
		high.contents = append(high.contents, len(o.versions)-1)
	}
	var first error
	for k := high.names; k >= before.names; k-- {
		err := u.f.matches(u.f.names[k], found, before, high)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		now := u.f.names[k].clone()
		now.by = "what was left of " + u.op
		u.f.names = append(u.f.names, now)
		for p, obj := range now.paths {
			d, o := found[p], u.f.objects[obj]
			o.id = d.id
			if d.kind == vfs.KindFile {
				o.versions = append(o.versions, version{sum: d.sum, size: d.size, mtime: d.mtime, by: now.by})
				u.data[obj] = bytesOf[u.f.name+"/"+p]
			}
		}
		return nil
	}
	return fmt.Errorf("it shows neither the state before nor the one after: %w", first)
}
