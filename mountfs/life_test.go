//go:build linux

package mountfs_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
)

// childEnv tells TestChild what to do, as the child of a test; childPath on which path.
const (
	childEnv  = "MOUNTFS_CHILD"
	childPath = "MOUNTFS_PATH"
)

// TestChild does in a process of its own what a test must not do in the process that serves the mount.
func TestChild(t *testing.T) {
	path := os.Getenv(childPath)
	switch os.Getenv(childEnv) {
	case "":
		t.Skip("runs as a child of other tests")
	case "mount": // and be killed
		fs := memfs.New(memfs.Options{})
		elsewhere{fs.View(), t}.write(vfs.RootID, "f", "of the dead")
		if _, err := mountfs.Mount(t.Context(), path, fs, mountfs.Options{}); err != nil {
			t.Fatal(err)
		}
		fmt.Println("ready")
		select {}
	case "mmap":
		if err := mapAndWrite(path); err != nil {
			t.Fatal(err)
		}
	}
}

// mapAndWrite changes a file of 10,000 bytes through a mapping.
func mapAndWrite(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	p, err := unix.Mmap(int(f.Fd()), 0, 10_000, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	copy(p[5_000:], bytes.ToUpper(p[5_000:]))
	return errors.Join(unix.Msync(p, unix.MS_SYNC), unix.Munmap(p), f.Close())
}

// child is this program, to run one thing of TestChild.
func child(t *testing.T, what, path string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childEnv+"="+what, childPath+"="+path)
	cmd.Dir = "/"
	return cmd
}

// TestDeadMount: the mount of a daemon that was killed is found, detached and made anew.
func TestDeadMount(t *testing.T) {
	needMounts(t)
	dir := t.TempDir()
	t.Cleanup(func() { _ = mountfs.Detach(dir) })
	cmd := child(t, "mount", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	stale := func() bool {
		t.Helper()
		dead, err := mountfs.Stale(dir)
		if err != nil {
			t.Fatal(err)
		}
		return dead
	}
	if stale() {
		t.Error("a live mount is taken for a dead one")
	}
	if _, err := mountfs.Mount(t.Context(), dir, memfs.New(memfs.Options{}), mountfs.Options{}); !errors.Is(err, mountfs.ErrMounted) {
		t.Errorf("mount over a live one: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the mount is dead", stale)
	m, err := mountfs.Mount(t.Context(), dir, memfs.New(memfs.Options{}), mountfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("names %v, %v", names, err)
	}
	if err := m.Unmount(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Errorf("something is still mounted: %v", err)
	}
}

// TestMmap: what is written through a mapping arrives.
func TestMmap(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	name, text := cleanPath(m.Dir(), "f"), bytes.Repeat([]byte("abcdefghij"), 1000)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := child(t, "mmap", name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	copy(text[5_000:], bytes.ToUpper(text[5_000:]))
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, text) {
		t.Errorf("other bytes, or %v", err)
	}
}

// stuckFS has files that are never read: a read waits for its context to end or, if it is deaf, for release.
type stuckFS struct {
	vfs.FS
	deaf    bool
	release chan struct{}
	waiting chan struct{} // gets one token for each read that waits
	ended   atomic.Int64  // reads whose context ended
}

func newStuckFS(t *testing.T, deaf bool) *stuckFS {
	tree := memfs.New(memfs.Options{})
	elsewhere{tree, t}.write(vfs.RootID, "f", "never read")
	return &stuckFS{FS: tree, deaf: deaf, release: make(chan struct{}), waiting: make(chan struct{}, 100)}
}

func (s *stuckFS) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	f, err := s.FS.Open(ctx, id)
	return stuckFile{f, s}, err
}

type stuckFile struct {
	vfs.File
	s *stuckFS
}

func (f stuckFile) ReadAt(ctx context.Context, _ []byte, _ int64) (int, error) {
	f.s.waiting <- struct{}{}
	if f.s.deaf {
		<-f.s.release
		return 0, errors.New("released")
	}
	<-ctx.Done()
	f.s.ended.Add(1)
	return 0, ctx.Err()
}

// startCat starts a process that reads f, and waits until its read has come to the FS.
func startCat(t *testing.T, s *stuckFS, dir string) (cmd *exec.Cmd, exit func() error) {
	t.Helper()
	cmd = exec.Command("/bin/cat", cleanPath(dir, "f"))
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-s.waiting
	return cmd, cmd.Wait
}

// TestInterrupt: a process that waits for bytes that don't come can be ended by a signal at once.
func TestInterrupt(t *testing.T) {
	s := newStuckFS(t, false)
	m := mount(t, s, mountfs.Options{})
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGKILL} {
		cmd, exit := startCat(t, s, m.Dir())
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := within(t, 5*time.Second, exit); err == nil {
			t.Errorf("%v: cat came to an end of the file", signal)
		}
	}
	eventually(t, "the contexts ended", func() bool { return s.ended.Load() >= 2 })
}

// TestCaughtSignal: a process that catches the signal that asks it to end gets to its handler too.
func TestCaughtSignal(t *testing.T) {
	s := newStuckFS(t, false)
	m := mount(t, s, mountfs.Options{})
	cmd := exec.Command("/bin/sh", "-c", `trap "exit 7" TERM; read x < "$1"; exit 1`, "sh", cleanPath(m.Dir(), "f"))
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-s.waiting
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := within(t, 5*time.Second, cmd.Wait); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("the shell did not come to its trap: %v", err)
	}
}

// TestSignalsThatMeanNothing: a signal that is no request to end is no reason for EINTR, which programs don't
// expect of these calls. Go sends itself such signals all the time.
func TestSignalsThatMeanNothing(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	name := cleanPath(m.Dir(), "f")
	stop, started := make(chan struct{}), make(chan int)
	stopped := make(chan struct{})
	go func() { // the storm
		defer close(stopped)
		pid, thread := os.Getpid(), <-started
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Tgkill(pid, thread, unix.SIGURG)
				time.Sleep(20 * time.Microsecond)
			}
		}
	}()
	err := within(t, 20*time.Second, func() error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- unix.Gettid()
		buf := make([]byte, 10)
		for range 100 {
			fd, err := unix.Open(name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
			if err != nil {
				return fmt.Errorf("open: %w", err)
			}
			_, writeErr := unix.Pwrite(fd, []byte("text"), 0)
			_, readErr := unix.Pread(fd, buf, 0)
			if err := errors.Join(writeErr, readErr, unix.Fsync(fd), unix.Close(fd), unix.Rename(name, name+"2"), unix.Unlink(name+"2")); err != nil {
				return err
			}
		}
		return nil
	})
	close(stop)
	<-stopped
	if err != nil {
		t.Error(err)
	}
}

// TestAbort: who waits for a daemon that does nothing any more, and does not even hear of interrupts, is freed.
func TestAbort(t *testing.T) {
	s := newStuckFS(t, true)
	m := mount(t, s, mountfs.Options{})
	_, exit := startCat(t, s, m.Dir())
	if err := mountfs.Abort(m.Dir()); err != nil {
		t.Fatal(err)
	}
	if err := within(t, 5*time.Second, exit); err == nil {
		t.Error("cat came to an end of the file")
	}
	close(s.release)
	if err := within(t, 5*time.Second, m.Wait); err != nil {
		t.Error(err)
	}
}

// TestUnmountBusy: a mount that is in use goes all the same, after some grace, and its files are closed.
func TestUnmountBusy(t *testing.T) {
	t.Parallel()
	tree := memfs.New(memfs.Options{})
	m := mount(t, tree, mountfs.Options{})
	f, err := os.Create(cleanPath(m.Dir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("kept"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cleanPath(m.Dir(), "f")); err != nil {
		t.Fatal(err)
	}
	if n := tree.Nodes(); n != 2 {
		t.Errorf("%d nodes while the file is open", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := within(t, 10*time.Second, func() error { return m.Unmount(ctx) }); err != nil {
		t.Error(err)
	}
	if n := tree.Nodes(); n != 1 {
		t.Errorf("%d nodes: the file was not closed", n)
	}
	_ = f.Close()
	if err := os.Remove(m.Dir()); err != nil {
		t.Errorf("something is still mounted: %v", err)
	}
}

// TestUnmountWaits: an unmount waits longer for a file that is open than for a folder that somebody stands in.
func TestUnmountWaits(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the ends of all patience")
	}
	t.Parallel()
	tree := memfs.New(memfs.Options{})
	m := mount(t, tree, mountfs.Options{})
	f, err := os.Create(cleanPath(m.Dir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	begin, ended := time.Now(), make(chan error, 1)
	go func() { ended <- m.Unmount(t.Context()) }()
	const held = 4 * time.Second
	select {
	case <-ended:
		t.Fatalf("unmounted after %v under an open file", time.Since(begin))
	case <-time.After(held):
	}
	if _, err := f.WriteString("to the end"); err != nil {
		t.Errorf("write while the unmount waits: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := within(t, 5*time.Second, func() error { return <-ended }); err != nil {
		t.Error(err)
	}
}

// TestTimeout: an operation that waits for bytes that don't come ends by itself, and says so.
func TestTimeout(t *testing.T) {
	m := mount(t, newStuckFS(t, false), mountfs.Options{Timeout: 500 * time.Millisecond})
	err := within(t, 10*time.Second, func() error { return second(os.ReadFile(cleanPath(m.Dir(), "f"))) })
	if !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("read: %v, want %v", err, syscall.ETIMEDOUT)
	}
}

// TestStuckReads: reads that hang hold up nothing else.
func TestStuckReads(t *testing.T) {
	s := newStuckFS(t, true)
	m := mount(t, s, mountfs.Options{})
	const readers = 40 // more than the kernel lets wait in the background
	ended := make(chan error, readers)
	for i := range readers {
		name := fmt.Sprintf("stuck%d", i)
		elsewhere{s.FS.(*memfs.FS), t}.write(vfs.RootID, name, "never read")
	}
	for i := range readers {
		go func() { ended <- second(os.ReadFile(cleanPath(m.Dir(), fmt.Sprintf("stuck%d", i)))) }()
	}
	for range readers {
		<-s.waiting
	}
	for what, op := range map[string]func() error{
		"write":  func() error { return os.WriteFile(cleanPath(m.Dir(), "other"), []byte("x"), 0o600) },
		"list":   func() error { return second(os.ReadDir(m.Dir())) },
		"stat":   func() error { return second(os.Stat(cleanPath(m.Dir(), "stuck0"))) },
		"remove": func() error { return os.Remove(cleanPath(m.Dir(), "f")) },
	} {
		if err := within(t, 20*time.Second, op); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := len(ended); n > 0 {
		t.Fatalf("%d reads did not hang", n)
	}
	close(s.release)
	for range readers {
		if err := within(t, 20*time.Second, func() error { return <-ended }); err == nil {
			t.Error("a read came to the end of the file")
		}
	}
}

// TestUnmountStuck: even while an operation hangs in the FS, the mount goes; Unmount says that it still hangs.
func TestUnmountStuck(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the ends of all patience")
	}
	t.Parallel()
	s := newStuckFS(t, true)
	m := mount(t, s, mountfs.Options{})
	_, exit := startCat(t, s, m.Dir())
	if err := m.Unmount(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("unmount: %v", err)
	}
	if err := within(t, 5*time.Second, exit); err == nil {
		t.Error("cat came to an end of the file")
	}
	if err := os.Remove(m.Dir()); err != nil {
		t.Errorf("something is still mounted: %v", err)
	}
	close(s.release)
	if err := within(t, 5*time.Second, m.Wait); err != nil {
		t.Error(err)
	}
}

// TestCutOff: when the kernel has ended the mount, what waits in the FS ends too, long before its time.
func TestCutOff(t *testing.T) {
	s := newStuckFS(t, false)
	m := mount(t, s, mountfs.Options{Timeout: time.Hour})
	_, exit := startCat(t, s, m.Dir())
	if err := unix.Unmount(m.Dir(), unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if err := within(t, 5*time.Second, m.Wait); err != nil {
		t.Error(err)
	}
	if err := within(t, 5*time.Second, exit); err == nil {
		t.Error("cat came to an end of the file")
	}
}

// TestUnmountByOthers: umount(8) ends the serving; an Unmount afterwards, and a second one, find it done.
func TestUnmountByOthers(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	if err := unix.Unmount(m.Dir(), 0); err != nil {
		t.Fatal(err)
	}
	if err := within(t, 5*time.Second, m.Wait); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := within(t, time.Second, func() error { return m.Unmount(t.Context()) }); err != nil {
			t.Error(err)
		}
	}
}

// TestPanic: a fault costs one operation, not the mount.
func TestPanic(t *testing.T) {
	m := mount(t, panicFS{memfs.New(memfs.Options{})}, mountfs.Options{Log: discard})
	if _, err := os.Stat(cleanPath(m.Dir(), "panic")); !errors.Is(err, syscall.EIO) {
		t.Errorf("stat: %v, want %v", err, syscall.EIO)
	}
	if err := os.WriteFile(cleanPath(m.Dir(), "f"), nil, 0o600); err != nil {
		t.Error(err)
	}
}

type panicFS struct{ *memfs.FS }

func (p panicFS) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Attr, error) {
	if name == "panic" {
		panic("as asked")
	}
	return p.FS.Lookup(ctx, parent, name)
}

// TestMountPaths: folders are made, a symlink to a folder is followed, names with blanks are found again.
func TestMountPaths(t *testing.T) {
	needMounts(t)
	top := t.TempDir()
	if err := os.Symlink("real folder", top+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(top+"/real folder", 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{"new/a/b": "new/a/b", "link": "real folder", `odd \ name`: `odd \ name`} {
		t.Run(dir, func(t *testing.T) {
			m, err := mountfs.Mount(t.Context(), top+"/"+dir, memfs.New(memfs.Options{}), mountfs.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if m.Dir() != top+"/"+want {
				t.Errorf("mounted on %q, want %q", m.Dir(), want)
			}
			if _, err := mountfs.Mount(t.Context(), top+"/"+dir, memfs.New(memfs.Options{}), mountfs.Options{}); !errors.Is(err, mountfs.ErrMounted) {
				t.Errorf("mounted twice: %v", err)
			}
			if err := m.Unmount(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNoAnswer: a mount whose daemon lives and does not answer is told from a dead one, and Abort makes it one.
func TestNoAnswer(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the ends of all patience")
	}
	t.Parallel()
	fs := &muteFS{FS: memfs.New(memfs.Options{}), release: make(chan struct{})}
	m := mount(t, fs, mountfs.Options{Log: discard})
	fs.mute.Store(true)
	if dead, err := mountfs.Stale(m.Dir()); dead || !errors.Is(err, mountfs.ErrNoAnswer) {
		t.Errorf("stuck: dead %v, %v", dead, err)
	}
	if err := mountfs.Abort(m.Dir()); err != nil {
		t.Error(err)
	}
	close(fs.release)
	if err := within(t, 5*time.Second, m.Wait); err != nil {
		t.Error(err)
	}
}

// muteFS does not answer statfs(2) when it is told so.
type muteFS struct {
	vfs.FS
	mute    atomic.Bool
	release chan struct{}
}

func (m *muteFS) StatFS(ctx context.Context) (vfs.StatFS, error) {
	if m.mute.Load() {
		<-m.release
	}
	return m.FS.StatFS(ctx)
}

// TestUnmountWithCopy: a mount namespace that was made meanwhile, as containers have, holds a copy of the mount;
// Unmount ends the serving all the same.
func TestUnmountWithCopy(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	cmd := exec.CommandContext(t.Context(), "/bin/cat")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		testneed.Missing(t, "no mount namespaces here: %v", err)
	}
	if err := within(t, 10*time.Second, func() error { return m.Unmount(t.Context()) }); err != nil {
		t.Error(err)
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Error(err)
	}
}
