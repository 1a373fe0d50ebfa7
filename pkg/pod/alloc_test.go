package pod

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// allocChunksMax is how many allocations a chunk may cost on its way in or out, on average.
const allocChunksMax = 2

// allocSlack is for what is allocated now and then: a node of the body that left the memory, a map that grows.
const allocSlack = 0.15

// allocBytes is the size of the files here: some 40 chunks, whose body is a tree.
const allocBytes = 48 << 20

// filledPod is a pod that was filled while it ran, and does not run: what is allocated is the test's.
func filledPod(t testing.TB, fill func(p *Pod)) *Pod {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "still"}); err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: dir, Offline: true, Log: testLog(t)}
	p, err := Open(quickly(t), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	fill(p)
	cancel()
	if err := errors.Join(<-ended, p.Close()); err != nil {
		t.Fatalf("pod's end: %v", err)
	}
	if p, err = Open(quickly(t), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// randomStream has that many random bytes.
func randomStream(seed byte, size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
}

// putRandom puts a file of random bytes.
func putRandom(t testing.TB, p *Pod, name string, seed byte, size int64) {
	t.Helper()
	if _, err := p.PutFile(quickly(t), vfs.RootID, name, FileMeta{Mode: 0o644}, size, randomStream(seed, size)); err != nil {
		t.Fatal(err)
	}
}

// openAt opens a file for reading.
func openAt(t testing.TB, p *Pod, path string) vfs.File {
	t.Helper()
	a, err := vfs.Resolve(quickly(t), p.FS(), path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.FS().Open(quickly(t), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close(context.Background()) }) // only read
	return f
}

// TestReadAllocs breaks if a read of bytes that are in memory takes memory: through the mount, that is every read but
// those that the kernel answers.
func TestReadAllocs(t *testing.T) {
	rows := []struct {
		name string
		size int64
	}{{"chunk", 200 << 10}, {"entries", 4 << 20}, {"tree", allocBytes}}
	p := filledPod(t, func(p *Pod) {
		for i, row := range rows {
			putRandom(t, p, row.name, byte(i), row.size)
		}
	})
	ctx := quickly(t)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f := openAt(t, p, "/"+row.name)
			data := make([]byte, 128<<10)
			at := row.size / 2 / int64(len(data)) * int64(len(data))
			for _, off := range []int64{at, 0} { // the second one goes on, as a sequential reader does
				read := func() {
					if _, err := f.ReadAt(ctx, data, off); err != nil && !errors.Is(err, io.EOF) {
						t.Fatal(err)
					}
				}
				read()
				if got := leastAllocs(0, 100, read); got > 0 {
					t.Errorf("at %d: %.0f allocations a read, want none", off, got)
				}
			}
		})
	}
}

// leastAllocs is how many allocations f makes in the mean of some runs, at the least in five looks: what the rest of the pod takes meanwhile is
// counted too, but isn't in every look. It looks no more once there are few enough.
func leastAllocs(enough float64, runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for range 4 {
		if least <= enough {
			break
		}
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}

// allocsPerChunk is how many allocations f makes for each of the chunks of a body that it tells of afterwards.
func allocsPerChunk(t *testing.T, p *Pod, f func() dag.Body) float64 {
	t.Helper()
	if testing.Short() {
		t.Skip("not with -short: the race detector, which goes with it, empties pools")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection empties pools
	body := f()
	placed, err := dag.Range(quickly(t), blocks{p}, body, 0, body.Size)
	if err != nil || len(placed) == 0 {
		t.Fatalf("%d chunks, %v", len(placed), err)
	}
	chunks := float64(len(placed))
	return leastAllocs(allocChunksMax*chunks, 4, func() { f() }) / chunks
}

// TestGetAllocs breaks if a chunk that is read from the disk takes more than its own memory and its place in the cache.
func TestGetAllocs(t *testing.T) {
	p := filledPod(t, func(p *Pod) { putRandom(t, p, "f", 1, allocBytes) })
	ctx := quickly(t)
	f := openAt(t, p, "/f")
	data := make([]byte, 1<<20)
	got := allocsPerChunk(t, p, func() dag.Body {
		for off := int64(0); off < allocBytes; off += int64(len(data)) {
			if _, err := f.ReadAt(ctx, data, off); err != nil {
				t.Fatal(err)
			}
		}
		return f.(*file).n.body //nolint:forcetypeassert // it is the pod's
	})
	t.Logf("%.2f allocations a chunk", got)
	if got > allocChunksMax+allocSlack {
		t.Errorf("%.2f allocations a chunk, want at most %d", got, allocChunksMax)
	}
}

// TestPutAllocs breaks if a chunk that is put takes memory that is not used again.
func TestPutAllocs(t *testing.T) {
	p := filledPod(t, func(*Pod) {})
	ctx := quickly(t)
	seed, made := byte(0), p.makingAt(1)
	got := allocsPerChunk(t, p, func() dag.Body {
		seed++
		body, err := p.putStream(ctx, allocBytes, randomStream(seed, allocBytes), made)
		if err != nil {
			t.Fatal(err)
		}
		return body
	})
	t.Logf("%.2f allocations a chunk", got)
	if got > allocChunksMax+allocSlack {
		t.Errorf("%.2f allocations a chunk, want at most %d", got, allocChunksMax)
	}
}
