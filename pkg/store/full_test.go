package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fullDisk is a file system that may be full: fails says for a write of n bytes whether it is, and how many of the bytes
// are stored all the same, as real ones do.
type fullDisk struct {
	vfs.FS
	fails func(n int) (part int, fails bool)
	avail func() int64 // nil: not known
}

// fromNth finds the disk full from the n-th write on, until there is room again.
type fromNth struct {
	mu     sync.Mutex // guards the fields below
	rng    *rand.Rand
	writes int
	from   int // the first write that fails
	to     int // the first one after it that does not
	failed int
}

func (d *fromNth) fails(n int) (part int, fails bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes++
	if d.writes < d.from || d.writes >= d.to {
		return 0, false
	}
	d.failed++
	return d.rng.IntN(n + 1), true
}

func (d *fromNth) written() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes
}

// room ends it.
func (d *fromNth) room() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = 0
}

// budget finds the disk full when its files take so many bytes, the ballast included.
type budget struct {
	fs      vfs.FS
	ballast int64
	bytes   int64 // 0: no limit
}

func (d *budget) used(dir string) (n int64) {
	names, _ := d.fs.List(dir) // none in a folder that goes just then
	for _, name := range names {
		path := d.fs.PathJoin(dir, name)
		info, err := d.fs.Stat(path)
		switch {
		case err != nil:
		case info.IsDir():
			n += d.used(path)
		case name == "ballast": // MemFS preallocates nothing
			n += d.ballast
		default:
			n += info.Size()
		}
	}
	return n
}

func (d *budget) avail() int64 {
	if d.bytes == 0 {
		return 1 << 40
	}
	return d.bytes - d.used("home")
}

func (d *budget) fails(n int) (part int, fails bool) {
	left := d.avail()
	return int(max(left, 0)), left < int64(n)
}

func (d *fullDisk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if _, fails := d.fails(0); fails {
		return nil, &vfsError{"create " + name}
	}
	return d.file(d.FS.Create(name, category))
}

func (d *fullDisk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.file(d.FS.OpenReadWrite(name, category, opts...))
}

func (d *fullDisk) MkdirAll(dir string, perm os.FileMode) error {
	if _, fails := d.fails(0); fails {
		return &vfsError{"mkdir " + dir}
	}
	return d.FS.MkdirAll(dir, perm)
}

func (d *fullDisk) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	if d.avail == nil {
		return d.FS.GetDiskUsage(path)
	}
	return vfs.DiskUsage{AvailBytes: uint64(max(d.avail(), 0))}, nil
}

func (d *fullDisk) Unwrap() vfs.FS { return d.FS }

func (d *fullDisk) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &fullFile{f, d}, nil
}

// vfsError is ENOSPC.
type vfsError struct{ what string }

func (e *vfsError) Error() string { return e.what + ": " + syscall.ENOSPC.Error() }
func (e *vfsError) Unwrap() error { return syscall.ENOSPC }

type fullFile struct {
	vfs.File
	d *fullDisk
}

func (f *fullFile) Write(b []byte) (int, error) {
	if part, fails := f.d.fails(len(b)); fails {
		n, err := f.File.Write(b[:part])
		return n, errors.Join(err, &vfsError{"write"})
	}
	return f.File.Write(b)
}

func (f *fullFile) WriteAt(b []byte, off int64) (int, error) {
	if part, fails := f.d.fails(len(b)); fails {
		n, err := f.File.WriteAt(b[:part], off)
		return n, errors.Join(err, &vfsError{"write"})
	}
	return f.File.WriteAt(b, off)
}

func (f *fullFile) Preallocate(off, length int64) error {
	if _, fails := f.d.fails(int(length)); fails {
		return &vfsError{"preallocate"}
	}
	return f.File.Preallocate(off, length)
}

// TestNoSpaceAnywhere fills the disk at the n-th write of a mixed workload, for a while: whatever is told to be done is
// done, nothing else is told than that there is no space, nothing is damaged, and once there is room all works, in the same
// life, in a new one, and after a crash.
func TestNoSpaceAnywhere(t *testing.T) {
	rng := testRand(t)
	step := 25
	switch {
	case *fullFlag:
		step = 1
	case testing.Short():
		step = 100
	}
	failed, poisoned := 0, 0
	for nth := 1 + rng.IntN(step); nth <= 500; nth += step {
		d := &fromNth{rng: rand.New(rand.NewPCG(rng.Uint64(), 2)), from: nth, to: nth + 1 + rng.IntN(60)}
		if runFull(t, d, rng) {
			poisoned++
		}
		failed += d.failed
		if t.Failed() {
			t.Fatalf("no space from write %d to %d of %d", nth, d.to, d.writes)
		}
	}
	t.Logf("%d writes failed, %d times the store was opened anew", failed, poisoned)
	if failed < 500/step {
		t.Error("few writes failed")
	}
}

func runFull(t *testing.T, d *fromNth, rng *rand.Rand) (reopened bool) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	fs := &fullDisk{FS: mem, fails: d.fails}
	if err := mem.MkdirAll("home", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/", "home"} {
		if err := syncDir(mem, dir); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{SegmentBytes: 8 << 10, ReserveBytes: 1 << 20, CapacityBytes: 16 << 20, Clock: &testClock{}}
	w := worker{m: newModel(), last: make(map[uint64]state)}
	for range 2000 {
		if d.written() > max(d.to+20, 520) {
			break
		}
		if w.s == nil {
			s, err := Open(fs, testDir, o)
			if errors.Is(err, ErrNoSpace) {
				continue
			}
			if err != nil {
				t.Errorf("open: %v", err)
				return reopened
			}
			w.s = s
		}
		o.Clock.(*testClock).seconds.Add(1)
		err := w.change(rng)
		switch {
		case errors.Is(err, ErrPoisoned) && errors.Is(err, ErrNoSpace):
			reopened = true
			_ = w.s.Close() // the error is the one that it has
			w.s = nil
		case err != nil && !errors.Is(err, ErrNoSpace):
			t.Errorf("change: %v", err)
			return reopened
		}
	}
	d.room()
	if w.s == nil {
		w.s = openAt(t, fs, o)
	}
	crashed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: d.rng})
	verifyCrash(t, crash{what: "crash on a full disk", fs: crashed, m: w.m.clone()}, o)
	for seed := range uint64(crashSeeds) {
		id, b := testBlock(seed, crashLen(seed))
		if err := w.to(seed, owned, func() error { return w.s.Put(context.Background(), id, b) }); err != nil {
			t.Errorf("put when there is room: %v", err)
			return reopened
		}
	}
	if err := errors.Join(w.sync(), w.s.Close()); err != nil {
		t.Errorf("sync and close when there is room: %v", err)
		return reopened
	}
	verifyCrash(t, crash{what: fmt.Sprint("reopened, ", reopened), fs: mem, m: w.m}, o)
	return reopened
}

// TestOpenFull opens what a crash left on a disk that is full from the n-th write on, for a while: that ends with ErrNoSpace
// or an open store, and once there is room all is there. With no room at all it ends at once.
func TestOpenFull(t *testing.T) {
	rng := testRand(t)
	mem := vfs.NewCrashableMem()
	if err := mem.MkdirAll("home", 0o700); err != nil {
		t.Fatal(err)
	}
	o := Options{SegmentBytes: 8 << 10, Clock: &testClock{}}
	m := newModel()
	s := openAt(t, mem, o)
	changes(t, s, m, rng)
	changes(t, s, m, rng)
	for _, dir := range []string{"/", "home"} {
		if err := syncDir(mem, dir); err != nil {
			t.Fatal(err)
		}
	}
	opened := 0
	for nth := range 40 {
		left := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		d := &fromNth{rng: rng, from: nth, to: nth + 8}
		if nth == 0 {
			d.to = math.MaxInt
		}
		s, err := Open(&fullDisk{FS: left, fails: d.fails}, testDir, o)
		switch {
		case err == nil:
			opened++
			if err := s.Close(); err != nil {
				t.Errorf("full from write %d on: close: %v", nth, err)
			}
		case !errors.Is(err, ErrNoSpace):
			t.Errorf("full from write %d on: %v", nth, err)
		}
		verifyCrash(t, crash{what: fmt.Sprintf("full from write %d on", nth), fs: left, m: m.clone()}, o)
	}
	if opened == 0 || opened == 40 {
		t.Errorf("opened %d times", opened)
	}
	mustClose(t, s)
}

// TestNoFreeByte: with no byte free but the ballast, trash is made, dropped and rewritten, and the space comes back.
func TestNoFreeByte(t *testing.T) {
	const n = 3001 // odd seeds don't compress
	ctx := context.Background()
	mem := vfs.NewMem()
	d := &budget{fs: mem, ballast: 1 << 20}
	s := openAt(t, &fullDisk{FS: mem, fails: d.fails, avail: d.avail}, Options{ReserveBytes: 1 << 20, CapacityBytes: 1 << 30, SegmentBytes: 30_000})
	for seed := range uint64(40) {
		mustPut(t, s, 2*seed+1, n)
	}
	mustSync(t, s)
	if _, err := mem.Stat(testDir + "/ballast"); err != nil {
		t.Fatalf("no ballast: %v", err)
	}
	d.bytes = d.used("home")
	id, b := testBlock(1001, n)
	wantErr(t, "put", s.Put(ctx, id, b), ErrNoSpace)
	for seed := range uint64(40) {
		id, _ := testBlock(2*seed+1, n)
		if seed%4 == 0 {
			continue
		}
		if done, err := s.Trash(ctx, id, nil); !done || err != nil {
			t.Fatalf("trash: %t, %v", done, err)
		}
	}
	mustSync(t, s)
	for seed := range uint64(40) {
		id, _ := testBlock(2*seed+1, n)
		if seed%4 == 0 || seed%4 == 1 {
			continue
		}
		if done, err := s.Drop(ctx, id, nil); !done || err != nil {
			t.Fatalf("drop: %t, %v", done, err)
		}
	}
	mustSync(t, s)
	freed, err := s.Compact(ctx)
	if err != nil || freed < 15*n {
		t.Fatalf("compact freed %d, %v", freed, err)
	}
	if err := s.Put(ctx, id, b); err != nil {
		t.Errorf("put after that: %v", err)
	}
	wantBlock(t, s, 1, n)
	wantBlock(t, s, 3, n)
	wantCheck(t, s, nil)
	mustClose(t, s)
}
