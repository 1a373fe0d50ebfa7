package pod

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// BenchmarkFsync measures a 4 KiB write and its fsync: over a file of 64 MiB at random places, and at the end of one that grows.
func BenchmarkFsync(b *testing.B) {
	const large = 64 << 20
	ctx := context.Background()
	for _, shape := range []struct {
		name string
		size int
		off  func(rng *rand.Rand, i int) int64
	}{
		{"overwrite/64MiB", large, func(rng *rand.Rand, _ int) int64 { return rng.Int64N(large/4096) * 4096 }},
		{"append", 0, func(_ *rand.Rand, i int) int64 { return int64(i) * 4096 }},
	} {
		b.Run(shape.name, func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "pod")
			if _, err := Create(ctx, dir, CreateOptions{NetworkName: "test", PodName: "first"}); err != nil {
				b.Fatal(err)
			}
			p, err := Open(ctx, Options{Dir: dir, Offline: true})
			if err != nil {
				b.Fatal(err)
			}
			running, stop := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() { ended <- p.Run(running) }()
			defer func() {
				stop()
				if err := errors.Join(<-ended, p.Close()); err != nil {
					b.Error(err)
				}
			}()
			fs, rnd, rng := p.FS(), rand.NewChaCha8([32]byte{1}), rand.New(rand.NewPCG(1, 1))
			a, err := fs.Create(ctx, vfs.RootID, "f", vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
			if err != nil {
				b.Fatal(err)
			}
			f, err := fs.Open(ctx, a.ID)
			if err != nil {
				b.Fatal(err)
			}
			write := func(n int, off int64) {
				data := make([]byte, n)
				_, err := rnd.Read(data)
				if err == nil {
					_, err = f.WriteAt(ctx, data, off)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			for off := 0; off < shape.size; off += 1 << 20 {
				write(1<<20, int64(off))
			}
			if err := errors.Join(f.Sync(ctx), fs.SyncFS(ctx)); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(4096)
			i := 0
			for b.Loop() {
				write(4096, shape.off(rng, i))
				if err := f.Sync(ctx); err != nil {
					b.Fatal(err)
				}
				i++
			}
			if err := f.Close(ctx); err != nil {
				b.Fatal(err)
			}
		})
	}
}
