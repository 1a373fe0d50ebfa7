package pod

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// stuckNet is a network in which pods that are held do not answer for blocks, although they are connected: they are stopped, or overloaded.
type stuckNet struct {
	network

	mu   sync.Mutex
	held map[ident.Pod]chan struct{} // closed when it answers again
}

func (s *stuckNet) Get(ctx context.Context, pod ident.Pod, ids []block.ID, f func(block.ID, []byte, error) error) error {
	s.mu.Lock()
	held := s.held[pod]
	s.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.network.Get(ctx, pod, ids, f)
}

func (s *stuckNet) hold(pod ident.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[pod] = make(chan struct{})
}

func (s *stuckNet) release(pod ident.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.held[pod])
	delete(s.held, pod)
}

// stuckPods is a pod that has all bytes, and others that have none and whose network can be held.
func stuckPods(t *testing.T, more ...string) (first, second *testPod, net *stuckNet, others []*testPod) {
	t.Helper()
	first = firstPod(t)
	if err := first.SetPolicy(quickly(t), vfs.RootID, "none", ""); err != nil {
		t.Fatal(err)
	}
	token, err := first.Invite(quickly(t), "writer", time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Join(quickly(t), dir, JoinOptions{Token: token, PodName: "second"}); err != nil {
		t.Fatal(err)
	}
	p, err := Open(quickly(t), Options{Dir: dir, Listen: []string{"127.0.0.1:0"}, Log: testLog(t), NoHistory: true})
	if err != nil {
		t.Fatal(err)
	}
	net = &stuckNet{network: p.net, held: make(map[ident.Pod]chan struct{})}
	p.net = net
	second = started(t, p, dir)
	t.Cleanup(second.stop)
	for _, name := range more {
		others = append(others, joinPod(t, first, name))
	}
	return first, second, net, others
}

func randomBytes(seed uint64, n int) []byte {
	data := make([]byte, n)
	rnd := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = rnd.Read(data) // never fails
	return data
}

// open opens a file by its path.
func (p *testPod) open(path string) (vfs.File, vfs.NodeID) {
	p.t.Helper()
	a, err := vfs.Resolve(quickly(p.t), p.fs, path)
	if err != nil {
		p.t.Fatal(err)
	}
	f, err := p.fs.Open(quickly(p.t), a.ID)
	if err != nil {
		p.t.Fatal(err)
	}
	return f, a.ID
}

// worksOtherwise fails the test if a pod does not do other work quickly.
func (p *testPod) worksOtherwise(stuck vfs.NodeID) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(quickly(p.t), 10*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, statErr := p.fs.GetAttr(ctx, stuck)
		_, listErr := p.fs.ReadDir(ctx, vfs.RootID, "", 100)
		writeErr := writeFS(ctx, p.fs, "/other", "text")
		ended <- errors.Join(statErr, listErr, writeErr, p.fs.SyncFS(ctx),
			p.fs.Rename(ctx, vfs.RootID, "other", vfs.RootID, "renamed", 0), p.fs.Remove(ctx, vfs.RootID, "renamed", false))
	}()
	select {
	case err := <-ended:
		if err != nil {
			p.t.Errorf("other work: %v", err)
		}
	case <-ctx.Done():
		p.t.Error("other work waits, too")
	}
}

// TestStuckHolder: reading a file whose only holder does not answer ends with the reader's patience, and says for whom it waited; all else goes
// on; and when the holder answers again the file can be read.
func TestStuckHolder(t *testing.T) {
	first, second, net, _ := stuckPods(t)
	data := randomBytes(1, 3<<20)
	first.write("/big", string(data))
	first.settle()
	sameRoot(t, first, second)
	f, id := second.open("/big")
	net.hold(first.id)
	ctx, cancel := context.WithTimeout(quickly(t), 300*time.Millisecond)
	defer cancel()
	buf := make([]byte, 1<<16)
	ended := make(chan error, 1)
	go func() {
		_, err := f.ReadAt(ctx, buf, 0)
		ended <- err
	}()
	second.worksOtherwise(id)
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer yet from first") {
		t.Errorf("read: %v", err)
	}
	var told []Event
	if err := second.Events(quickly(t), time.Time{}, false, func(ev Event) error {
		if ev.Kind == EventReadFailed {
			told = append(told, ev)
		}
		return nil
	}); err != nil || len(told) != 1 || told[0].Path != "/big" || !strings.Contains(told[0].Text, "first") {
		t.Errorf("events %+v, %v", told, err)
	}
	net.release(first.id)
	if _, err := f.ReadAt(quickly(t), buf, 0); err != nil || !bytes.Equal(buf, data[:len(buf)]) {
		t.Errorf("read after the holder is back: %v", err)
	}
	if err := f.Close(quickly(t)); err != nil {
		t.Error(err)
	}
}

// TestStuckWrite: a write into a file whose tree is elsewhere waits for the tree without the file's lock: the file can be looked at, and
// nobody else's fsync waits. What was written is not lost meanwhile.
func TestStuckWrite(t *testing.T) {
	first, second, net, _ := stuckPods(t)
	ctx := quickly(t)
	first.write("/big", "x")
	f, _ := first.open("/big")
	piece := randomBytes(2, 4096)
	const pieces, apart = 700, 1 << 20
	for i := range pieces {
		if _, err := f.WriteAt(ctx, piece, int64(i)*apart); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
	first.settle()
	sameRoot(t, first, second)
	g, id := second.open("/big")
	second.nodes.mu.Lock()
	n := second.nodes.byID[id]
	second.nodes.mu.Unlock()
	if n.body.Tree.IsZero() {
		t.Fatal("the body has no tree: the test proves nothing")
	}
	net.hold(first.id)
	const at = 300*apart + 100
	if _, err := g.WriteAt(ctx, []byte("new"), at); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- g.Flush(short) }()
	second.worksOtherwise(id)
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush: %v", err)
	}
	size := uint64(200 * apart)
	short, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := second.fs.SetAttr(short, id, vfs.SetAttr{Size: &size}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("truncate: %v", err)
	}
	net.release(first.id)
	if err := g.Close(ctx); err != nil {
		t.Error(err)
	}
	second.settle()
	sameRoot(t, first, second)
	for _, p := range []*testPod{first, second} {
		h, _ := p.open("/big")
		want := append([]byte(nil), piece...)
		copy(want[100:], "new")
		got := make([]byte, len(piece))
		if _, err := h.ReadAt(ctx, got, at-100); err != nil || !bytes.Equal(got, want) {
			t.Errorf("read back: %v", err)
		}
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}

// TestHedge: of two holders, the one that does not answer is not waited for.
func TestHedge(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a pod to be slow")
	}
	first, second, net, others := stuckPods(t, "third")
	data := randomBytes(3, 1<<20)
	first.write("/big", string(data))
	first.settle()
	sameRoot(t, first, second, others[0])
	if got, err := others[0].read("/big"); err != nil || got != string(data) {
		t.Fatal(err)
	}
	eventually(t, "connected", func() error {
		if len(second.connected()) < 2 {
			return errors.New("not yet")
		}
		return nil
	})
	for _, held := range []ident.Pod{first.id, others[0].id} {
		net.hold(held)
		begin := time.Now()
		f, _ := second.open("/big")
		got := make([]byte, len(data))
		if _, err := f.ReadAt(quickly(t), got, 0); err != nil || !bytes.Equal(got, data) {
			t.Errorf("read: %v", err)
		}
		if took := time.Since(begin); took > fetchTimeout/2 {
			t.Errorf("read took %v", took)
		}
		if err := f.Close(quickly(t)); err != nil {
			t.Error(err)
		}
		net.release(held)
		second.drop(t)
	}
}

// drop forgets all cached blocks, in memory and on the disk.
func (p *testPod) drop(t *testing.T) {
	t.Helper()
	p.store.SetCacheLimit(0, 0)
	p.store.SetCacheLimit(DefaultCacheBytes, 0)
	p.forget()
}
