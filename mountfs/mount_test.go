//go:build linux

package mountfs_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/vfstest"
)

// TestMain takes away the umask, which would change modes that tests ask for, and finds goroutines that
// outlive their mount.
func TestMain(m *testing.M) {
	unix.Umask(0)
	goleak.VerifyTestMain(m)
}

// needMounts skips a test, loudly, where nothing can be mounted.
func needMounts(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		testneed.Missing(t, "mounting in tests needs root")
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		testneed.Missing(t, "no FUSE here: /dev/fuse: %v", err)
	}
	_ = unix.Close(fd)
}

// mount mounts fs on a new folder until the test ends.
func mount(t *testing.T, fs vfs.FS, o mountfs.Options) *mountfs.Mounted {
	t.Helper()
	needMounts(t)
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := mountfs.Mount(ctx, t.TempDir(), fs, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Unmount(ctx); err != nil {
			stacks := make([]byte, 1<<20)
			t.Errorf("unmount: %v\n%s", err, stacks[:runtime.Stack(stacks, true)])
			_ = mountfs.Detach(m.Dir())
		}
	})
	return m
}

// discard is the log of a test that makes faults.
var discard = slog.New(slog.DiscardHandler)

// testWriter shows a log in a test's output.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

// within fails a test whose work hangs in the kernel, instead of hanging with it.
func within(t *testing.T, limit time.Duration, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		t.Fatalf("hangs, after %v", limit)
		return nil
	}
}

// TestConformance: a mount of memfs, seen through system calls, is the FS that memfs is.
func TestConformance(t *testing.T) {
	needMounts(t)
	vfstest.Run(t, func(t *testing.T) vfs.FS {
		m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
		f, err := newOSFS(m.Dir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.close)
		return f
	}, vfstest.NoRenameFlags, vfstest.NoBlocks, vfstest.NoSetID)
}

// TestUncached is the same for an FS that tells of no changes, so that nothing is cached.
func TestUncached(t *testing.T) {
	needMounts(t)
	vfstest.Run(t, func(t *testing.T) vfs.FS {
		m := mount(t, struct{ vfs.FS }{memfs.New(memfs.Options{})}, mountfs.Options{})
		f, err := newOSFS(m.Dir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.close)
		return f
	}, vfstest.NoRenameFlags, vfstest.NoBlocks, vfstest.NoSetID)
}

// TestMountErrors: what is in the way is told by an error, and left as it is.
func TestMountErrors(t *testing.T) {
	needMounts(t)
	ctx, fs := t.Context(), memfs.New(memfs.Options{})
	full := t.TempDir()
	if err := os.WriteFile(full+"/f", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	live := mount(t, fs, mountfs.Options{})
	for name, c := range map[string]struct {
		dir  string
		want error
	}{
		"not_empty": {full, vfs.ErrNotEmpty}, "a_file": {full + "/f", vfs.ErrNotDir}, "below_a_file": {full + "/f/x", vfs.ErrNotDir},
		"mounted": {live.Dir(), mountfs.ErrMounted}, "another_mount": {"/proc", mountfs.ErrMounted},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := mountfs.Mount(ctx, c.dir, fs, mountfs.Options{}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if err := mountfs.Detach("/proc"); !errors.Is(err, mountfs.ErrNoConnection) {
		t.Errorf("detach of what is not ours: %v", err)
	}
}
