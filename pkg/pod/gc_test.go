package pod

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// gcTime is how long TestCollectRace runs.
var gcTime = flag.Duration("gctime", 4*time.Second, "how long garbage is collected against writers")

// fastClock is a clock that runs faster than the world's.
type fastClock struct {
	begin time.Time
	times int64
}

// Now is the fast time.
func (c fastClock) Now() time.Time {
	return c.begin.Add(time.Duration(int64(time.Since(c.begin)) * c.times))
}

// NewTimer fires when the fast time has come.
func (c fastClock) NewTimer(d time.Duration) *time.Timer {
	return time.NewTimer(time.Duration(int64(d) / c.times))
}

// lonePod makes a network of one pod without a network, on a fast clock.
func lonePod(t *testing.T, o Options) *testPod {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "pod")
		if _, err := Create(quickly(t), o.Dir, CreateOptions{NetworkName: "test", PodName: "lone"}); err != nil {
			t.Fatal(err)
		}
	}
	o.Offline = true
	return runPod(t, o)
}

// remove removes a file.
func (p *testPod) remove(path string) {
	p.t.Helper()
	parent, name, err := vfs.ResolveParent(quickly(p.t), p.fs, path)
	if err == nil {
		err = p.fs.Remove(quickly(p.t), parent, name, false)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// collect collects garbage.
func (p *testPod) collect(o CollectOptions) Collected {
	p.t.Helper()
	got, err := p.Collect(quickly(p.t), o)
	if err != nil {
		p.t.Fatal(err)
	}
	return got
}

func randomText(seed uint64, n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(b)
	return string(b)
}

// TestCollect breaks if what is deleted never leaves the disk, leaves it before its time, or takes something live along.
func TestCollect(t *testing.T) {
	p := lonePod(t, Options{Clock: fastClock{time.Now(), 1000}, TrashAfter: time.Hour})
	keep, gone := randomText(1, 3<<20), randomText(2, 3<<20)
	p.write("/keep", keep)
	p.write("/gone", gone)
	p.settle()
	before := p.usage()
	p.remove("/gone")
	p.settle()
	if got := p.collect(CollectOptions{DryRun: true}); got.GarbageBytes < 3<<20 || got.FreedBytes != 0 {
		t.Errorf("dry run: %+v", got)
	}
	if u := p.usage(); u.Trash != 0 {
		t.Errorf("a dry run moves %d bytes to the trash", u.Trash)
	}
	got := p.collect(CollectOptions{})
	if got.GarbageBytes < 3<<20 || got.GarbageBytes > 4<<20 || got.FreedBytes != 0 {
		t.Errorf("collected: %+v", got)
	}
	if u := p.usage(); u.Trash != got.GarbageBytes || u.Live > before.Live-3<<20+64<<10 || u.Live < 3<<20 { // but for nodes of checkpoints
		t.Errorf("after: %+v, before: %+v", u, before)
	}
	p.write("/back", gone) // out of the trash
	p.settle()
	if got := p.collect(CollectOptions{}); got.GarbageBytes != 0 || got.KeptBytes > 1<<20 {
		t.Errorf("what was put again is garbage: %+v", got)
	}
	p.forget()
	p.reads("/back", gone)
	p.remove("/back")
	p.settle()
	p.collect(CollectOptions{})
	if u := p.usage(); u.Trash < 3<<20 {
		t.Errorf("the trash is not kept: %+v", u)
	}
	eventually(t, "the trash goes in the end", func() error {
		p.collect(CollectOptions{})
		if u := p.usage(); u.Trash > 0 || u.Stored > 4<<20 {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
	p.forget()
	p.reads("/keep", keep)
	p.stop()
	again := lonePod(t, Options{Dir: p.dir})
	again.reads("/keep", keep)
	again.clean()
}

// TestCollectOpen breaks if bytes of files that are open, removed or not, are collected.
func TestCollectOpen(t *testing.T) {
	p := lonePod(t, Options{Clock: fastClock{time.Now(), 1000}, TrashAfter: 1})
	text := randomText(3, 5<<20)
	p.write("/f", text)
	p.settle()
	ctx := quickly(t)
	attr, err := vfs.Resolve(ctx, p.fs, "/f")
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.fs.Open(ctx, attr.ID)
	if err != nil {
		t.Fatal(err)
	}
	p.remove("/f")
	p.settle()
	for range 3 {
		p.collect(CollectOptions{Now: true})
	}
	p.forget()
	got := make([]byte, len(text))
	if n, err := f.ReadAt(ctx, got, 0); err != nil && !errors.Is(err, io.EOF) || string(got[:n]) != text {
		t.Errorf("an open file that was removed: %d bytes, %v", n, err)
	}
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
	p.collect(CollectOptions{Now: true})
	if u := p.usage(); u.Stored > 1<<20 {
		t.Errorf("after its close %+v", u)
	}
}

// TestCollectDurable breaks if bytes are deleted before the removal of what names them is durable: a loss of power would bring the file back without them.
// The pod does not run, so that nothing else syncs the removal.
func TestCollectDurable(t *testing.T) {
	dir, mem := crashPod(t, nil)
	ctx := quickly(t)
	open := func(fs pebblevfs.FS) *Pod {
		p, err := Open(ctx, Options{Dir: dir, Offline: true, FS: fs, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	text := randomText(5, 2<<20)
	first := started(t, open(mem), dir)
	first.write("/f", text)
	first.settle()
	first.stop()

	disk := newCrashDisk(mem)
	p := open(disk.fs)
	if err := p.FS().Remove(ctx, vfs.RootID, "f", false); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var crashes []*pebblevfs.MemFS
	disk.set(func(errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		crashes = append(crashes, mem.CrashClone(pebblevfs.CrashCloneCfg{}))
		return nil
	})
	if got, err := p.Collect(ctx, CollectOptions{atOnce: true}); err != nil || got.FreedBytes < 2<<20 {
		t.Fatalf("collected %+v, %v", got, err)
	}
	disk.set(nil)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	for i, crashed := range crashes {
		again := started(t, open(crashed), dir)
		if got, err := again.read("/f"); err == nil && got != text || err != nil && !errors.Is(err, vfs.ErrNotExist) {
			t.Errorf("power lost at boundary %d of %d: %d bytes, %v", i, len(crashes), len(got), err)
		}
		again.stop()
	}
	if len(crashes) < 3 {
		t.Errorf("only %d boundaries", len(crashes))
	}
}

// TestCollectMembers breaks if something is deleted that a pod which was away may have built on, or is kept for ever.
func TestCollectMembers(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	text := randomText(4, 2<<20)
	a.write("/f", text)
	ctx := quickly(t)
	if err := errors.Join(a.SyncWait(ctx, vfs.RootID), b.SyncWait(ctx, vfs.RootID)); err != nil {
		t.Fatal(err)
	}
	b.stop()
	a.remove("/f")
	a.settle()
	got := a.collect(CollectOptions{Now: true})
	if got.GarbageBytes < 2<<20 || got.FreedBytes != 0 || len(got.Waiting) != 1 || got.Waiting[0] != "second" {
		t.Errorf("while the other pod is away: %+v", got)
	}
	b = openPodOffline(t, b.dir)
	attr, err := vfs.Resolve(ctx, b.fs, "/f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.CopyFile(ctx, attr.ID, vfs.RootID, "copy", FileMeta{Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	b.stop()
	b = openPod(t, b.dir)
	eventually(t, "the copy that was made apart is seen", func() error {
		_, err := vfs.Resolve(ctx, a.fs, "/copy")
		return err
	})
	a.collect(CollectOptions{Now: true})
	if u := a.usage(); u.Live < 2<<20 || u.Trash > 1<<20 {
		t.Errorf("what the other pod built on: %+v", u)
	}
	a.forget()
	a.reads("/copy", text)
	b.remove("/copy")
	b.settle()
	eventually(t, "all is deleted in the end", func() error {
		for _, p := range []*testPod{a, b} {
			p.collect(CollectOptions{Now: true})
			if u := p.usage(); u.Stored > 1<<20 {
				return fmt.Errorf("%s: %+v", p.Info().Name, u)
			}
		}
		return nil
	})
}

// TestCollectRace breaks if a collection takes a block that a writer uses: put before the collection or meanwhile, found in the store by another's
// put, copied, held by an open file, or named while the rows are read. What is collected is deleted at once, and nothing is read from memory.
func TestCollectRace(t *testing.T) {
	p := lonePod(t, Options{Clock: fastClock{time.Now(), 2000}, TrashAfter: 1})
	seed := rand.Uint64()
	t.Log("seed", seed)
	ctx, cancel := context.WithTimeout(context.Background(), *gcTime)
	defer cancel()
	late, cancelLate := context.WithTimeout(context.Background(), 10**gcTime)
	defer cancelLate()
	var wg sync.WaitGroup
	var freed atomic.Int64
	rounds := 0
	// It goes on until something was collected: a busy machine may do little in the time.
	goesOn := func() bool { return ctx.Err() == nil || freed.Load() == 0 && late.Err() == nil }
	wg.Go(func() {
		for goesOn() {
			got, err := p.Collect(context.WithoutCancel(ctx), CollectOptions{atOnce: true})
			if err != nil {
				t.Error(err)
				return
			}
			freed.Add(got.FreedBytes)
			rounds++
		}
	})
	writers := make([]*raceWriter, 4)
	for i := range writers {
		w := &raceWriter{t: t, p: p, r: rand.New(rand.NewPCG(seed, uint64(i))), files: map[string]int{}}
		a, err := p.fs.Create(ctx, vfs.RootID, fmt.Sprint("d", i), vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
		if err != nil {
			t.Fatal(err)
		}
		w.dir, writers[i] = a.ID, w
		wg.Go(func() {
			for goesOn() && !t.Failed() {
				if err := w.step(context.WithoutCancel(ctx)); err != nil {
					t.Errorf("writer %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	p.settle()
	p.stop()
	again := lonePod(t, Options{Dir: p.dir, Clock: fastClock{time.Now(), 2000}, TrashAfter: 1})
	steps := 0
	for _, w := range writers {
		w.p = again
		steps += w.steps
		for name, text := range w.files {
			if err := w.check(quickly(t), name, text); err != nil {
				t.Error(err)
			}
		}
	}
	again.clean()
	t.Logf("%d steps; %d collections freed %d bytes meanwhile", steps, rounds, freed.Load())
	if freed.Load() == 0 {
		t.Error("nothing was collected meanwhile")
	}
	for _, w := range writers {
		for name := range w.files {
			if err := again.fs.Remove(quickly(t), w.dir, name, false); err != nil {
				t.Error(err)
			}
		}
	}
	again.settle()
	eventually(t, "the space comes back", func() error { // what is in the trash is there for a second at least
		again.collect(CollectOptions{Now: true})
		if u := again.usage(); u.Stored > 256<<10 {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
}

// TestWaited breaks if something leaves the trash before its time, before all members passed the moment in which it came there, or before what it was
// replaced by was safe.
func TestWaited(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		name         string
		since        time.Time
		passed, safe time.Time
		now, want    bool
	}{
		{"long ago", ago(2 * time.Hour), ago(time.Minute), ago(time.Minute), false, true},
		{"too soon", ago(30 * time.Minute), ago(time.Minute), ago(time.Minute), false, false},
		{"too soon, but asked for", ago(30 * time.Minute), ago(time.Minute), ago(time.Minute), true, true},
		{"a member was away", ago(2 * time.Hour), ago(3 * time.Hour), ago(time.Minute), true, false},
		{"a member was never met", ago(2 * time.Hour), time.Time{}, ago(time.Minute), true, false},
		{"not safe since", ago(2 * time.Hour), ago(time.Minute), ago(3 * time.Hour), true, false},
		{"never safe", ago(2 * time.Hour), ago(time.Minute), time.Time{}, false, false},
		{"within the second", ago(2 * time.Hour), ago(2 * time.Hour).Add(time.Second / 2), ago(time.Minute), true, false},
	} {
		col := &collection{
			p: &Pod{reg: newRegistry([32]byte{}), o: Options{TrashAfter: time.Hour}}, o: CollectOptions{Now: c.now}, start: now,
			passed: passed{at: c.passed}, safe: c.safe,
		}
		if got := col.waited(c.since); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}

// raceWriter works in a folder of its own. All writers take their contents from the same few, so that they meet each other's garbage.
type raceWriter struct {
	t     *testing.T
	p     *testPod
	r     *rand.Rand
	dir   vfs.NodeID
	files map[string]int // the content of each
	steps int
}

// raceTexts are the contents in use, of all sizes.
var raceTexts = sync.OnceValue(func() []string {
	var out []string
	for i, n := range []int{0, 10, 900, 2000, 70_000, 70_000, 300_000, 1 << 20, 5 << 20, 9 << 20} {
		out = append(out, randomText(uint64(100+i), n))
	}
	return out
})

func (w *raceWriter) step(ctx context.Context) error {
	w.steps++
	name := fmt.Sprint("f", w.r.IntN(12))
	text := w.r.IntN(len(raceTexts()))
	old, there := w.files[name]
	switch w.r.IntN(7) {
	case 0: // import
		_, err := w.p.PutFile(ctx, w.dir, name, FileMeta{Mode: 0o644}, int64(len(raceTexts()[text])), bytes.NewReader([]byte(raceTexts()[text])))
		w.files[name] = text
		return err
	case 1: // write through an open file, in pieces
		w.files[name] = text
		return w.write(ctx, name, raceTexts()[text])
	case 2: // copy
		if !there {
			return nil
		}
		a, err := w.p.fs.Lookup(ctx, w.dir, name)
		if err != nil {
			return err
		}
		to := fmt.Sprint("f", w.r.IntN(12))
		_, err = w.p.CopyFile(ctx, a.ID, w.dir, to, FileMeta{Mode: 0o644})
		w.files[to] = old
		return err
	case 3: // a removed file that is still open keeps its bytes
		if !there {
			return nil
		}
		return w.removeOpen(ctx, name, old)
	case 4:
		if !there {
			return nil
		}
		delete(w.files, name)
		return w.p.fs.Remove(ctx, w.dir, name, false)
	case 5:
		if !there {
			return nil
		}
		to := fmt.Sprint("f", w.r.IntN(12))
		if to == name {
			return nil
		}
		delete(w.files, name)
		w.files[to] = old
		return w.p.fs.Rename(ctx, w.dir, name, w.dir, to, 0)
	default:
		if !there {
			return nil
		}
		return w.check(ctx, name, old)
	}
}

func (w *raceWriter) write(ctx context.Context, name, text string) error {
	a, err := w.p.fs.Lookup(ctx, w.dir, name)
	if errors.Is(err, vfs.ErrNotExist) {
		a, err = w.p.fs.Create(ctx, w.dir, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	}
	if err != nil {
		return err
	}
	f, err := w.p.fs.Open(ctx, a.ID)
	if err != nil {
		return err
	}
	size := uint64(len(text))
	for off := 0; off < len(text) && err == nil; off += 1 << 20 {
		_, err = f.WriteAt(ctx, []byte(text[off:min(len(text), off+1<<20)]), int64(off))
	}
	if err == nil {
		_, err = w.p.fs.SetAttr(ctx, a.ID, vfs.SetAttr{Size: &size})
	}
	if err == nil && w.r.IntN(2) == 0 {
		err = f.Sync(ctx)
	}
	return errors.Join(err, f.Close(ctx))
}

func (w *raceWriter) open(ctx context.Context, name string) (vfs.File, error) {
	a, err := w.p.fs.Lookup(ctx, w.dir, name)
	if err != nil {
		return nil, err
	}
	return w.p.fs.Open(ctx, a.ID)
}

func (w *raceWriter) removeOpen(ctx context.Context, name string, text int) error {
	f, err := w.open(ctx, name)
	if err != nil {
		return err
	}
	delete(w.files, name)
	err = w.p.fs.Remove(ctx, w.dir, name, false)
	for range 3 {
		time.Sleep(time.Duration(w.r.IntN(20)) * time.Millisecond)
		err = errors.Join(err, w.same(ctx, f, text))
	}
	return errors.Join(err, f.Close(ctx))
}

func (w *raceWriter) check(ctx context.Context, name string, text int) error {
	f, err := w.open(ctx, name)
	if err != nil {
		return err
	}
	if err := w.same(ctx, f, text); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return f.Close(ctx)
}

func (w *raceWriter) same(ctx context.Context, f vfs.File, text int) error {
	w.p.forget()
	want := raceTexts()[text]
	got := make([]byte, len(want)+1)
	n, err := f.ReadAt(ctx, got, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if string(got[:n]) != want {
		return fmt.Errorf("%d bytes that are not content %d: %w", n, text, block.ErrCorrupt)
	}
	return nil
}
