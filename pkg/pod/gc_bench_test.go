package pod

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// gcFiles is how many files BenchmarkCollectPause has; each is a chunk and a body.
var gcFiles = flag.Int("gcfiles", 100_000, "files over which BenchmarkCollectPause collects")

// gcFileBytes is the size of these files: more than a body holds itself.
const gcFileBytes = 1500

// pauseWriters are the writers of BenchmarkCollectPause: what each does again and again.
var pauseWriters = []struct {
	name string
	do   func(ctx context.Context, fs vfs.FS, folder vfs.NodeID, n int) error
}{
	{"create", func(ctx context.Context, fs vfs.FS, folder vfs.NodeID, n int) error {
		return writeOnce(ctx, fs, folder, n, false)
	}},
	{"fsync", func(ctx context.Context, fs vfs.FS, folder vfs.NodeID, n int) error {
		return writeOnce(ctx, fs, folder, n, true)
	}},
}

// writeOnce makes a file of 4 KiB.
func writeOnce(ctx context.Context, fs vfs.FS, folder vfs.NodeID, n int, synced bool) error {
	a, err := fs.Create(ctx, folder, fmt.Sprint(n), vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		return err
	}
	f, err := fs.Open(ctx, a.ID)
	if err != nil {
		return err
	}
	data := make([]byte, 4096)
	binary.BigEndian.PutUint64(data, uint64(n))
	_, err = f.WriteAt(ctx, data, 0)
	if err == nil && synced {
		err = f.Sync(ctx)
	}
	return errors.Join(err, f.Close(ctx))
}

// slowest has the writers work until stop is closed, and returns how long each one's operations took, sorted.
func slowest(b *testing.B, p *Pod, stop <-chan struct{}) map[string][]time.Duration {
	b.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[string][]time.Duration{}
	for _, w := range pauseWriters {
		fs := p.FS()
		name := fmt.Sprintf("%s-%d", w.name, time.Now().UnixNano())
		folder, err := fs.Create(b.Context(), vfs.RootID, name, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			var took []time.Duration
			for n := 0; ; n++ {
				select {
				case <-stop:
					slices.Sort(took)
					mu.Lock()
					defer mu.Unlock()
					out[w.name] = took
					return
				case <-time.After(2 * time.Millisecond): // it writes now and then: what it waits for is not itself
				}
				begin := time.Now()
				if err := w.do(b.Context(), fs, folder.ID, n); err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(begin))
			}
		})
	}
	wg.Wait()
	return out
}

// BenchmarkCollectPause measures how long the slowest operation of a writer takes while garbage is collected, half of
// all there is, and how long without, for as much time: ms-NAME and ms-NAME-idle, and their 99.9th percentiles. ms-locks is what all goroutines together
// waited for locks, which other work on the machine spoils less. Run it with -benchtime 1x.
func BenchmarkCollectPause(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "pod")
	if _, err := Create(quickly(b), dir, CreateOptions{NetworkName: "test", PodName: "gc"}); err != nil {
		b.Fatal(err)
	}
	p, err := Open(quickly(b), Options{Dir: dir, Offline: true, Log: testLog(b)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, p.Close()); err != nil {
			b.Error(err)
		}
	}()
	names := fillFiles(b, p, *gcFiles)
	for b.Loop() {
		b.StopTimer()
		names = removeHalf(b, p, names)
		if err := p.Settle(ctx); err != nil {
			b.Fatal(err)
		}
		if _, err := p.checkpoint(ctx); err != nil { // the load's own is not what is measured
			b.Fatal(err)
		}
		p.leases.begin() // what was put so far is not what writers hold now
		p.leases.end()
		blocks := p.store.Usage().Blocks
		stop := make(chan struct{})
		var got Collected
		collected := make(chan error, 1)
		b.StartTimer()
		begin, locks := time.Now(), lockWait()
		go func() {
			defer close(stop)
			var err error
			got, err = p.Collect(ctx, CollectOptions{atOnce: true})
			collected <- err
		}()
		during := slowest(b, p, stop)
		if err := <-collected; err != nil {
			b.Fatal(err)
		}
		took := time.Since(begin)
		b.StopTimer()
		b.ReportMetric(lockWait()-locks, "ms-locks")
		idle := make(chan struct{})
		time.AfterFunc(took, func() { close(idle) })
		locks = lockWait()
		report(b, "-idle", slowest(b, p, idle))
		b.ReportMetric(lockWait()-locks, "ms-locks-idle")
		report(b, "", during)
		b.ReportMetric(float64(blocks), "blocks")
		b.ReportMetric(float64(got.Freed+got.Nodes), "freed")
		b.ReportMetric(took.Seconds(), "s-collect")
		b.StartTimer()
	}
}

// lockWait is how long goroutines have waited for mutexes so far, all together, in ms.
func lockWait() float64 {
	s := []metrics.Sample{{Name: "/sync/mutex/wait/total:seconds"}}
	metrics.Read(s)
	return 1000 * s[0].Value.Float64()
}

func report(b *testing.B, when string, took map[string][]time.Duration) {
	b.Helper()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	for name, list := range took {
		if len(list) == 0 {
			continue
		}
		b.ReportMetric(ms(list[len(list)-1]), "ms-"+name+when)
		b.ReportMetric(ms(list[len(list)*999/1000]), "p999-ms-"+name+when)
	}
}

// fillFiles puts files, many at a time as an import does, and returns their paths.
func fillFiles(b *testing.B, p *Pod, n int) []string {
	b.Helper()
	names := make([]string, n)
	folders := make([]vfs.NodeID, n/1000+1)
	for i := range folders {
		a, err := p.FS().Create(b.Context(), vfs.RootID, fmt.Sprint("d", i), vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
		if err != nil {
			b.Fatal(err)
		}
		folders[i] = a.ID
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 128 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				names[i] = fmt.Sprintf("/d%d/%d", i/1000, i)
				r := randomStream(byte(i), gcFileBytes)
				data := make([]byte, gcFileBytes)
				_, _ = r.Read(data)
				binary.BigEndian.PutUint64(data, uint64(i))
				if _, err := p.PutFile(b.Context(), folders[i/1000], fmt.Sprint(i), FileMeta{Mode: 0o644}, gcFileBytes, bytes.NewReader(data)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return names
}

// removeHalf removes every other file and returns what is left.
func removeHalf(b *testing.B, p *Pod, names []string) (left []string) {
	b.Helper()
	for i, name := range names {
		if i%2 == 0 {
			left = append(left, name)
			continue
		}
		parent, base, err := vfs.ResolveParent(b.Context(), p.FS(), name)
		if err == nil {
			err = p.FS().Remove(b.Context(), parent, base, false)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return left
}
