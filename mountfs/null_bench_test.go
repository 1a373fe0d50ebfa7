//go:build linux

package mountfs_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/mountfs/nullfs"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// BenchmarkAgainstNull does the same on a mount of a pod and on a file system that does nothing, in turn: what is above the rate of
// the latter the kernel and the FUSE library take.
func BenchmarkAgainstNull(b *testing.B) {
	for _, what := range []struct {
		name string
		run  func(b *testing.B, dir string)
	}{{"create_4KiB_close", benchCreates}, {"write_1MiB", func(b *testing.B, dir string) { benchWrites(b, dir, 1<<20, 256<<20) }}, {"write_4KiB", func(b *testing.B, dir string) { benchWrites(b, dir, 4<<10, 64<<20) }}} {
		b.Run(what.name+"/null", func(b *testing.B) { what.run(b, mountNull(b)) })
		b.Run(what.name+"/pod", func(b *testing.B) { what.run(b, mountPod(b)) })
	}
}

// benchCreates makes files of 4 KiB.
func benchCreates(b *testing.B, dir string) {
	b.Helper()
	data := make([]byte, 4<<10)
	for i := 0; b.Loop(); i++ {
		copy(data, fmt.Sprint(i)) // no two are equal
		fd, err := unix.Open(fmt.Sprintf("%s/f%d", dir, i), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := unix.Write(fd, data); err != nil {
			b.Fatal(err)
		}
		if err := unix.Close(fd); err != nil {
			b.Fatal(err)
		}
	}
}

// benchWrites writes one file front to back, in pieces, from the start again at its end.
func benchWrites(b *testing.B, dir string, piece, size int) {
	b.Helper()
	fd, err := unix.Open(dir+"/f", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, piece)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	b.SetBytes(int64(piece))
	for off := 0; b.Loop(); off = (off + piece) % size {
		copy(data, fmt.Sprint(off))
		if _, err := unix.Pwrite(fd, data, int64(off)); err != nil {
			b.Fatal(err)
		}
	}
	if err := unix.Close(fd); err != nil {
		b.Fatal(err)
	}
}

func mountNull(b *testing.B) string {
	b.Helper()
	needRoot(b)
	dir := b.TempDir()
	end, err := nullfs.Mount(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := end(); err != nil {
			b.Error(err)
		}
	})
	return dir
}

func mountPod(b *testing.B) string {
	b.Helper()
	needRoot(b)
	home := filepath.Join(b.TempDir(), "pod")
	if _, err := pod.Create(b.Context(), home, pod.CreateOptions{NetworkName: "bench", PodName: "only"}); err != nil {
		b.Fatal(err)
	}
	p, err := pod.Open(b.Context(), pod.Options{Dir: home, Offline: true, NoHistory: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	m, err := mountfs.Mount(b.Context(), b.TempDir(), p.FS(), mountfs.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		err := m.Unmount(context.Background())
		cancel()
		<-done
		if err := errors.Join(err, p.Close()); err != nil {
			b.Error(err)
		}
	})
	return m.Dir()
}
