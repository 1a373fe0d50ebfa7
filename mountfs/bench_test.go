//go:build linux

package mountfs_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
)

// BenchmarkWrite and BenchmarkRead move 64 MiB by write(2) and read(2) of 1 MiB, through a process of its own.
func BenchmarkWrite(b *testing.B) { benchmarkDD(b, true) }

// BenchmarkRead is without the kernel's pages.
func BenchmarkRead(b *testing.B) { benchmarkDD(b, false) }

func benchmarkDD(b *testing.B, write bool) {
	b.Helper()
	_, name := mountForBench(b)
	const size = 64 << 20
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	args := []string{"if=" + name, "of=/dev/null", "bs=1M"}
	if write {
		args = []string{"if=/dev/zero", "of=" + name, "bs=1M", "count=64", "conv=notrunc"}
	}
	b.SetBytes(size)
	for b.Loop() {
		if !write {
			dropPages(b, name)
		}
		cmd := exec.CommandContext(b.Context(), "dd", args...)
		cmd.Dir = "/"
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
}

// dropPages makes the kernel forget a file's pages.
func dropPages(b *testing.B, name string) {
	b.Helper()
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
		b.Fatal(err)
	}
	_ = unix.Close(fd)
}

// BenchmarkCreate makes and removes an empty file.
func BenchmarkCreate(b *testing.B) {
	_, name := mountForBench(b)
	for b.Loop() {
		fd, err := unix.Open(name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		_ = unix.Close(fd)
		if err := unix.Unlink(name); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStat asks for names that are there and that are not.
func BenchmarkStat(b *testing.B) {
	dir, _ := mountForBench(b)
	for i := range 500 {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, i), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	i := 0
	for b.Loop() {
		var st unix.Stat_t
		_ = unix.Stat(fmt.Sprintf("%s/%d", dir, i%1000), &st)
		i++
	}
}

func needRoot(b *testing.B) {
	b.Helper()
	if os.Geteuid() != 0 {
		testneed.Missing(b, "mounting needs root")
	}
}

func mountForBench(b *testing.B) (dir, name string) {
	b.Helper()
	needRoot(b)
	m, err := mountfs.Mount(b.Context(), b.TempDir(), memfs.New(memfs.Options{}), mountfs.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.Unmount(b.Context()) })
	return m.Dir(), cleanPath(m.Dir(), "f")
}
