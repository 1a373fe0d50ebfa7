package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/wormhole-fs/wormhole/chunker"
	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// behind is a file of a pod that cuts behind its writers and does nothing else, and what it has to hold.
type behind struct {
	*stillPod

	f    vfs.File
	want []byte
	rng  *rand.Rand
	rnd  *rand.ChaCha8
	stop func()
}

func newBehind(t *testing.T, o Options) *behind {
	t.Helper()
	rng := testRand(t)
	b := &behind{stillPod: openStill(t, o), rng: rng, rnd: rand.NewChaCha8([32]byte{byte(rng.Uint32())})}
	b.begin()
	t.Cleanup(func() { b.stop() })
	b.f = b.open("f")
	return b
}

// begin starts the cutting.
func (b *behind) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	for range cutBehindFiles {
		ended.Go(func() { _ = b.runCutBehind(ctx) }) // ctx's error
	}
	b.stop = func() {
		cancel()
		ended.Wait()
	}
}

func (b *behind) node() *node {
	n := b.f.(*file).n //nolint:forcetypeassert // a view opens only these
	return n
}

// idle waits until the file is not cut behind its writer any more.
func (b *behind) idle() {
	b.t.Helper()
	n := b.node()
	if err := n.lockedHere(quickly(b.t), func() error {
		if n.cutting != nil {
			return errCutting
		}
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *behind) random(n int) []byte {
	data := make([]byte, n)
	_, _ = b.rnd.Read(data) // it never fails
	return data
}

// writes writes in pieces, as the kernel does.
func (b *behind) writes(off int, data []byte) {
	b.t.Helper()
	if grow := off + len(data) - len(b.want); grow > 0 {
		b.want = append(b.want, make([]byte, grow)...)
	}
	copy(b.want[off:], data)
	for at := 0; at < len(data); at += 1 << 20 {
		write(b.stillPod, b.f, int64(off+at), string(data[at:min(at+1<<20, len(data))]))
	}
}

// change does something to the file that never waits.
func (b *behind) change() {
	b.t.Helper()
	size := len(b.want)
	off := b.rng.IntN(size + 1)
	n := 1 + b.rng.IntN(300_000)
	switch b.rng.IntN(8) {
	case 0, 1, 2:
		b.writes(off, b.random(n))
	case 3:
		b.writes(off, b.random(1+n%5000))
	case 4:
		to := b.rng.IntN(size + 1<<20)
		b.resize("f", uint64(to))
		b.want = append(b.want[:min(to, size)], make([]byte, max(0, to-size))...)
	case 5, 6:
		flags := vfs.AllocPunch | vfs.AllocKeepSize
		if b.rng.IntN(2) == 0 {
			flags = vfs.AllocZero | vfs.AllocKeepSize
		}
		if err := b.f.(vfs.Allocator).Allocate(b.t.Context(), int64(off), int64(n), flags); err != nil { //nolint:forcetypeassert // files are
			b.t.Fatal(err)
		}
		clear(b.want[off:min(off+n, size)])
	case 7:
		b.compare(off, min(n, size-off))
	}
}

// compare reads n bytes.
func (b *behind) compare(off, n int) {
	b.t.Helper()
	if n <= 0 {
		return
	}
	got := make([]byte, n)
	m, err := b.f.ReadAt(b.t.Context(), got, int64(off))
	if m != n || err != nil && !errors.Is(err, io.EOF) {
		b.t.Fatalf("read %d of %d bytes at %d: %v", m, n, off, err)
	}
	if want := b.want[off : off+n]; !bytes.Equal(got, want) {
		i := 0
		for got[i] == want[i] {
			i++
		}
		b.t.Fatalf("differs from byte %d on, of %d", off+i, len(b.want))
	}
}

// save closes the file, has its contents named, and opens it.
func (b *behind) save() {
	b.t.Helper()
	b.compare(0, len(b.want))
	if err := errors.Join(b.f.Close(b.t.Context()), b.pass(b.t.Context())); err != nil {
		b.t.Fatal(err)
	}
	b.f = b.open("f")
	b.compare(0, len(b.want))
	if dirty := b.dirtyBytes.Load(); dirty != 0 {
		b.t.Fatalf("%d bytes are dirty after a close", dirty)
	}
}

// chunksOf are the chunks of bytes that more may follow.
func (b *behind) chunksOf(data []byte) (ids []block.ID) {
	for len(data) >= chunker.MaxSize {
		n := b.seal.Load().table.Cut(data)
		ids = append(ids, block.Sum(block.Raw, data[:n]))
		data = data[n:]
	}
	return ids
}

// hold has who puts a block wait until release is called: as for one that is being given up.
func (b *behind) hold(id block.ID) (release func()) {
	b.t.Helper()
	m := b.leaving.mark(id)
	if m == nil || !b.leaving.begin(id, m) {
		b.t.Fatal("the block is held already")
	}
	return func() { b.leaving.done(id, m) }
}

// TestCutBehind holds up the cutting of a file at a random chunk, changes and reads the file meanwhile, and compares it with a plain slice before,
// during and after. It breaks if bytes that are on their way are not seen, or come back over newer ones.
func TestCutBehind(t *testing.T) {
	dir, mem := crashPod(t, nil)
	b := newBehind(t, Options{Dir: dir, FS: mem})
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	for range rounds {
		off := b.rng.IntN(len(b.want) + 1)
		data := b.random(cutFrom + b.rng.IntN(2<<20))
		ids := b.chunksOf(data[:batchBytes-1<<20])
		var small []int
		for at := b.rng.IntN(1 << 20); at < off-100_000 && len(small) < 8; at += 5000 + b.rng.IntN(1<<20) {
			piece := b.random(5000)
			b.writes(at, piece)
			small, ids = append(small, at), append(ids, block.Sum(block.Raw, piece))
		}
		held := ids[b.rng.IntN(len(ids))]
		release := b.hold(held)
		b.writes(off, data)
		if b.rng.IntN(4) > 0 {
			eventually(t, "bytes on their way", func() error {
				n := b.node()
				n.mu.RLock()
				defer n.mu.RUnlock()
				if n.cutting == nil || len(n.ext.claimed) == 0 {
					return errors.New("not yet")
				}
				return nil
			})
		}
		for _, at := range small {
			b.writes(at+b.rng.IntN(4000), b.random(1000))
		}
		for range b.rng.IntN(20) {
			b.change()
		}
		b.compare(0, len(b.want))
		release()
		for range b.rng.IntN(10) {
			b.change()
		}
		b.idle()
		b.compare(0, len(b.want))
		if b.rng.IntN(3) > 0 {
			b.save()
		} else if err := b.stage(t.Context(), b.node()); err != nil {
			t.Fatal(err)
		}
		if b.rng.IntN(4) == 0 {
			b.save()
			b.stop()
			b.stillPod = b.again()
			b.begin()
			b.f = b.open("f")
			b.compare(0, len(b.want))
		}
	}
}

// TestCutBehindLease breaks if a garbage collection takes a chunk that was put and that the body doesn't have yet.
func TestCutBehindLease(t *testing.T) {
	dir, mem := crashPod(t, nil)
	b := newBehind(t, Options{Dir: dir, FS: mem})
	data := b.random(cutFrom)
	ids := b.chunksOf(data)
	if len(ids) < 2 {
		t.Skipf("%d chunks: one is held, another must be put", len(ids))
	}
	held := ids[len(ids)-1]
	release := b.hold(held)
	b.writes(0, data)
	holders := func() (n int) {
		b.leases.mu.Lock()
		defer b.leases.mu.Unlock()
		for _, e := range b.leases.eras {
			n += e.holders
		}
		return n
	}
	eventually(t, "all chunks but one", func() error {
		for _, id := range ids[:len(ids)-1] {
			if ok, _ := b.store.Has(id); !ok {
				return errors.New("not yet")
			}
		}
		for range 1000 { // who has just put one may be about to let go, and who puts the last about to begin
			if n := holders(); n != 2 {
				return fmt.Errorf("%d hold what is put, want 2: who cuts, and who puts a chunk", n)
			}
			runtime.Gosched()
		}
		return nil
	})
	if _, err := b.Collect(quickly(t), CollectOptions{atOnce: true}); err != nil {
		t.Fatal(err)
	}
	release()
	b.idle()
	b.chunks = newChunkCache(plainCacheBytes)
	b.compare(0, len(b.want))
	b.save()
}

// TestCutBehindFull: when the disk is full behind a writer, the next write says so, nothing is lost, and it goes on when there is room.
func TestCutBehindFull(t *testing.T) {
	dir, mem := crashPod(t, nil)
	disk := newCrashDisk(mem)
	b := newBehind(t, Options{Dir: dir, FS: disk.fs})
	var full atomic.Bool
	full.Store(true)
	disk.set(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWriteAt && strings.HasSuffix(op.Path, ".seg") {
			return fmt.Errorf("%s: %w", op.Path, syscall.ENOSPC)
		}
		return nil
	})
	b.writes(0, b.random(cutFrom))
	b.idle()
	for range 3 {
		if _, err := b.f.WriteAt(t.Context(), []byte("more"), 0); !errors.Is(err, vfs.ErrNoSpace) {
			t.Fatalf("write: %v, want %v", err, vfs.ErrNoSpace)
		}
	}
	if err := b.f.Flush(t.Context()); !errors.Is(err, vfs.ErrNoSpace) {
		t.Fatalf("flush: %v, want %v", err, vfs.ErrNoSpace)
	}
	b.compare(0, len(b.want))
	if dirty := b.dirtyBytes.Load(); dirty != cutFrom {
		t.Errorf("%d bytes are dirty, want %d", dirty, cutFrom)
	}
	full.Store(false)
	disk.set(nil)
	b.writes(100, b.random(cutFrom))
	b.save()
}

// TestCutBehindWhere breaks if a file that is written in order is cut elsewhere than one that is there as a whole: then no other file of the same bytes has its chunks.
func TestCutBehindWhere(t *testing.T) {
	dir, mem := crashPod(t, nil)
	b := newBehind(t, Options{Dir: dir, FS: mem})
	b.writes(0, b.random(3*batchBytes+b.rng.IntN(1<<20)))
	b.save()
	var want []block.ID
	for rest := b.want; len(rest) > 0; {
		n := b.seal.Load().table.Cut(rest)
		want, rest = append(want, block.Sum(block.Raw, rest[:n])), rest[n:]
	}
	body := b.node().body
	placed, err := dag.Range(t.Context(), blocks{b.Pod}, body, 0, body.Size)
	if err != nil {
		t.Fatal(err)
	}
	var got []block.ID
	for _, e := range placed {
		got = append(got, e.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("it has %d chunks, as a whole %d, or others", len(got), len(want))
	}
}

// TestCutBehindNothing breaks if a file that was given other contents, after it was handed over, is taken for one with bytes to be cut: what it holds would
// stand in memory beside the contents that the state names, and be shown over newer ones.
func TestCutBehindNothing(t *testing.T) {
	b := newBehind(t, Options{Dir: newStill(t).closed()})
	b.writes(0, []byte("few bytes"))
	b.save()
	n := b.node()
	n.mu.Lock()
	if b.cutBatchLocked(t.Context(), n) || n.body.Inline == nil || n.ext.bytes != 0 {
		t.Errorf("%d bytes to be cut, body %v", n.ext.bytes, n.body)
	}
	n.mu.Unlock()
}

// closed closes the pod and returns its folder.
func (p *stillPod) closed() string {
	p.t.Helper()
	if err := p.Close(); err != nil {
		p.t.Fatal(err)
	}
	return p.dir
}

// TestCutBehindLoad: several files are written, read, synced and closed at once, with more bytes than memory takes; each has one who changes it and others
// who read it. It breaks if they see other bytes than were written, wait for each other for ever, or memory grows.
func TestCutBehindLoad(t *testing.T) {
	p := firstPod(t)
	rng := testRand(t)
	size, files := 40<<20, 3
	if testing.Short() {
		size = 18 << 20
	}
	var all sync.WaitGroup
	for i := range files {
		id, seed := byte(i), rng.Uint64()
		all.Go(func() {
			l := &loaded{p: p, name: fmt.Sprintf("f%d", id), rng: rand.New(rand.NewPCG(seed, 0)), rnd: rand.NewChaCha8([32]byte{id, byte(seed)})}
			if err := l.run(quickly(t), size); err != nil {
				t.Errorf("%s: %v", l.name, err)
			}
		})
	}
	all.Wait()
	if dirty := p.dirtyBytes.Load(); dirty != 0 {
		t.Errorf("%d bytes are dirty after all closes", dirty)
	}
}

// loaded is a file under load, and what it holds.
type loaded struct {
	p    *testPod
	name string
	rng  *rand.Rand
	rnd  *rand.ChaCha8

	mu   sync.RWMutex // guards want, and the file from changes while it is read
	want []byte
}

func (l *loaded) run(ctx context.Context, size int) error {
	a, err := l.p.fs.Create(ctx, vfs.RootID, l.name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o600})
	if err != nil {
		return err
	}
	f, err := l.p.fs.Open(ctx, a.ID)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	var others sync.WaitGroup
	var readErr, syncErr error
	others.Go(func() {
		rng := rand.New(rand.NewPCG(1, 1))
		for readErr == nil {
			select {
			case <-done:
				return
			default:
				readErr = l.check(ctx, f, rng.Float64(), 100_000)
			}
		}
	})
	others.Go(func() {
		for syncErr == nil {
			select {
			case <-done:
				return
			default:
				syncErr = f.Sync(ctx)
			}
		}
	})
	for err == nil && len(l.want) < size {
		err = l.write(ctx, f, 1<<20)
		if dirty := l.p.dirtyBytes.Load(); dirty > allDirtyMax+8<<20 {
			err = errors.Join(err, fmt.Errorf("%d bytes are dirty", dirty))
		}
	}
	close(done)
	others.Wait()
	err = errors.Join(err, readErr, syncErr, l.check(ctx, f, 0, size), f.Close(ctx), l.p.fs.SyncFS(ctx))
	got, readAgain := readFS(ctx, l.p.fs, l.name)
	if err = errors.Join(err, readAgain); err == nil && got != string(l.want) {
		err = errors.New("other bytes after the close")
	}
	return err
}

// write goes on with the file, or goes back and writes over it.
func (l *loaded) write(ctx context.Context, f vfs.File, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	off := len(l.want)
	if l.rng.IntN(6) == 0 {
		off, n = l.rng.IntN(off+1), 1+l.rng.IntN(n)
	}
	data := make([]byte, n)
	_, _ = l.rnd.Read(data) // it never fails
	if grow := off + n - len(l.want); grow > 0 {
		l.want = append(l.want, make([]byte, grow)...)
	}
	copy(l.want[off:], data)
	_, err := f.WriteAt(ctx, data, int64(off))
	return err
}

// check reads n bytes at a place, as far as there are.
func (l *loaded) check(ctx context.Context, f vfs.File, at float64, n int) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	off := int(at * float64(len(l.want)))
	want := l.want[off:min(off+n, len(l.want))]
	got := make([]byte, len(want))
	if m, err := f.ReadAt(ctx, got, int64(off)); m != len(want) || err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %d of %d bytes at %d: %w", m, len(want), off, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("other bytes at %d", off)
	}
	return nil
}
