//go:build unix

package pod

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// benchBytes is what one round of the benchmarks below puts or reads.
const benchBytes = 256 << 20

// benchPod is a pod that runs offline.
func benchPod(b *testing.B, encrypt bool) *Pod {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "pod")
	if _, err := Create(b.Context(), dir, CreateOptions{NetworkName: "test", PodName: "only", Encrypt: encrypt}); err != nil {
		b.Fatal(err)
	}
	p, err := Open(b.Context(), Options{Dir: dir, Offline: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, p.Close()); err != nil {
			b.Error(err)
		}
	})
	return p
}

// cpuSeconds is the processor time that the process has used: on a busy machine it tells more than the clock.
func cpuSeconds(b *testing.B) float64 {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

// reportCPU reports the processor time since start, by the GB.
func reportCPU(b *testing.B, start float64) {
	b.Helper()
	b.ReportMetric((cpuSeconds(b)-start)/float64(b.N)/(benchBytes/1e9), "cpu-s/GB")
}

// benchFile puts a file of noise that differs from round to round.
func benchFile(b *testing.B, p *Pod, round int) vfs.NodeID {
	b.Helper()
	r := io.LimitReader(rand.NewChaCha8([32]byte{byte(round), byte(round >> 8)}), benchBytes)
	a, err := p.PutFile(b.Context(), vfs.RootID, "f", FileMeta{Mode: 0o644}, benchBytes, r)
	if err == nil {
		err = p.Settle(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	return a.ID
}

var benchNetworks = []struct {
	name    string
	encrypt bool
}{{"plain", false}, {"encrypted", true}}

// BenchmarkPut is an import of bytes that don't compress, durable at the end.
func BenchmarkPut(b *testing.B) {
	for _, n := range benchNetworks {
		b.Run(n.name, func(b *testing.B) {
			p := benchPod(b, n.encrypt)
			b.SetBytes(benchBytes)
			start := cpuSeconds(b)
			for round := 0; b.Loop(); round++ {
				benchFile(b, p, round)
			}
			reportCPU(b, start)
		})
	}
}

// BenchmarkRead is a read of it in order, from the store.
func BenchmarkRead(b *testing.B) {
	for _, n := range benchNetworks {
		b.Run(n.name, func(b *testing.B) {
			p := benchPod(b, n.encrypt)
			id := benchFile(b, p, 0)
			buf := bytes.Repeat([]byte{1}, 1<<20)
			b.SetBytes(benchBytes)
			start := cpuSeconds(b)
			for b.Loop() {
				f, err := p.FS().Open(b.Context(), id)
				if err != nil {
					b.Fatal(err)
				}
				for off := int64(0); off < benchBytes; off += int64(len(buf)) {
					if _, err := f.ReadAt(b.Context(), buf, off); err != nil && !errors.Is(err, io.EOF) {
						b.Fatal(err)
					}
				}
				if err := f.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			reportCPU(b, start)
		})
	}
}
