package pod

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// waitMax is how long a test waits for what pods do by themselves.
const waitMax = 30 * time.Second

// testPod is a pod that runs.
type testPod struct {
	*Pod
	t    *testing.T
	dir  string
	fs   vfs.FS
	stop func()
}

// quickly is a context that ends before a test that hangs is killed.
func quickly(t testing.TB) context.Context {
	t.Helper()
	limit := 2 * time.Minute
	if *fullFlag {
		limit = 2 * time.Hour
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// testLog writes to the test's log while the test runs.
func testLog(t testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// firstPod makes a network and its first pod.
func firstPod(t *testing.T) *testPod {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "first"}); err != nil {
		t.Fatal(err)
	}
	return openPod(t, dir)
}

// joinPod makes a writer's pod that joins the network of another.
func joinPod(t *testing.T, by *testPod, name string) *testPod {
	t.Helper()
	return joinAs(t, by, name, "writer")
}

// joinAs is joinPod with a role.
func joinAs(t *testing.T, by *testPod, name, role string) *testPod {
	t.Helper()
	token, err := by.Invite(quickly(t), role, time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Join(quickly(t), dir, JoinOptions{Token: token, PodName: name}); err != nil {
		t.Fatal(err)
	}
	return openPod(t, dir)
}

// openPod opens a pod and runs it until the test ends or stop is called.
func openPod(t *testing.T, dir string) *testPod {
	t.Helper()
	return runPod(t, Options{Dir: dir, Listen: []string{"127.0.0.1:0"}})
}

// openPodOffline is openPod without a network.
func openPodOffline(t *testing.T, dir string) *testPod {
	t.Helper()
	return runPod(t, Options{Dir: dir, Offline: true})
}

// runPod opens a pod and runs it. It keeps no history, which keeps what tests of other things expect to go.
func runPod(t *testing.T, o Options) *testPod {
	t.Helper()
	o.NoHistory = true
	return runWithHistory(t, o)
}

func runWithHistory(t *testing.T, o Options) *testPod {
	t.Helper()
	o.Log = testLog(t)
	p, err := Open(quickly(t), o)
	if err != nil {
		t.Fatal(err)
	}
	tp := started(t, p, o.Dir)
	t.Cleanup(tp.stop)
	return tp
}

// started has a pod run until stop is called.
func started(t *testing.T, p *Pod, dir string) *testPod {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	tp := &testPod{Pod: p, t: t, dir: dir, fs: p.FS()}
	stopped := false
	tp.stop = func() {
		t.Helper()
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err = errors.Join(err, p.Close()); err != nil {
				t.Errorf("pod's end: %v", err)
			}
		case <-time.After(waitMax):
			t.Error("the pod does not end")
		}
	}
	return tp
}

// eventually waits until f returns nil.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	end := time.Now().Add(waitMax)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// write makes or edits a file by open, write, close.
func (p *testPod) write(path, text string) {
	p.t.Helper()
	ctx := quickly(p.t)
	if err := writeFS(ctx, p.fs, path, text); err != nil {
		p.t.Fatalf("write %s: %v", path, err)
	}
}

func writeFS(ctx context.Context, fs vfs.FS, path, text string) (err error) {
	parent, name, err := vfs.ResolveParent(ctx, fs, path)
	if err != nil {
		return err
	}
	a, err := fs.Lookup(ctx, parent, name)
	if errors.Is(err, vfs.ErrNotExist) {
		a, err = fs.Create(ctx, parent, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	}
	if err != nil {
		return err
	}
	f, err := fs.Open(ctx, a.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(ctx)) }()
	if size := uint64(0); a.Size > 0 {
		if _, err := fs.SetAttr(ctx, a.ID, vfs.SetAttr{Size: &size}); err != nil {
			return err
		}
	}
	_, err = f.WriteAt(ctx, []byte(text), 0)
	return err
}

// read is what a file holds.
func (p *testPod) read(path string) (string, error) {
	ctx := quickly(p.t)
	a, err := vfs.Resolve(ctx, p.fs, path)
	if err != nil {
		return "", err
	}
	f, err := p.fs.Open(ctx, a.ID)
	if err != nil {
		return "", err
	}
	data := make([]byte, a.Size)
	if _, err = f.ReadAt(ctx, data, 0); errors.Is(err, io.EOF) {
		err = nil
	}
	return string(data), errors.Join(err, f.Close(ctx))
}

// reads waits until a file holds a text.
func (p *testPod) reads(path, want string) {
	p.t.Helper()
	eventually(p.t, path, func() error {
		got, err := p.read(path)
		if err == nil && got != want {
			err = errors.New("holds " + shorten(got))
		}
		return err
	})
}

func shorten(s string) string { return strings.ToValidUTF8(s[:min(len(s), 60)], "?") }

// sameRoot waits until pods show one tree root.
func sameRoot(t *testing.T, pods ...*testPod) {
	t.Helper()
	eventually(t, "same root", func() error {
		first, err := pods[0].Root(quickly(t))
		for _, p := range pods[1:] {
			other, otherErr := p.Root(quickly(t))
			if err = errors.Join(err, otherErr); err == nil && other != first {
				err = errors.New(first.String() + " and " + other.String())
			}
		}
		return err
	})
}

// clean fails the test where a pod's own check finds something.
func (p *testPod) clean() {
	p.t.Helper()
	err := p.Fsck(quickly(p.t), false, func(pr Problem) { p.t.Errorf("fsck: %s: %s", pr.Where, pr.What) })
	if err != nil {
		p.t.Error(err)
	}
}

// settle makes durable and names what was done.
func (p *testPod) settle() {
	p.t.Helper()
	if err := p.Settle(quickly(p.t)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *testPod) usage() Usage {
	p.t.Helper()
	u, err := p.Usage(quickly(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	return u
}

// forget empties the memory of blocks that were read, so that they are read from the disk again.
func (p *testPod) forget() {
	c := p.chunks
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.order.prev != &c.order {
		old := c.order.prev
		old.unlink()
		delete(c.byID, old.id)
		c.bytes -= int64(len(old.plain))
	}
}
