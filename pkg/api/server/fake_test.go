//go:build unix

package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/api/apitest"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/api/server"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// one is a machine with one pod.
type one struct {
	apitest.Machine
	p server.Pod
}

func (o one) Pod(string) (server.Pod, error) { return o.p, nil }

// slow is a pod that tells how PutFile ended, which looks at the data only, not at the context.
type slow struct {
	*apitest.Pod
	done chan error
}

func (s *slow) PutFile(ctx context.Context, parent vfs.NodeID, name string, m pod.FileMeta, size int64, r io.Reader) (vfs.Attr, error) {
	a, err := s.Pod.PutFile(context.WithoutCancel(ctx), parent, name, m, size, r)
	s.done <- err
	return a, err
}

// Parts of a file end with its end, and with nothing that only looks like it.
func TestCatCutOff(t *testing.T) {
	p := apitest.New(apitest.Info())
	home := apitest.Serve(t, one{p: cutPod{p}})
	c := client.New(home, "")
	o := client.AddOptions{To: "/", Problem: func(path string, err error) { t.Errorf("%s: %v", path, err) }, Sources: []client.Source{
		{Name: "f", Reader: bytes.NewReader(make([]byte, 3<<20))},
	}}
	if _, err := c.Add(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := c.Cat(t.Context(), "/f", &got); err == nil || got.Len() == 0 {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
	var problems []error
	for _, stream := range []bool{false, true} {
		dst := t.TempDir()
		err := c.Get(t.Context(), client.GetOptions{
			Source: "/f", Dest: dst, Stream: stream, Problem: func(_ string, err error) { problems = append(problems, err) },
		})
		if err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dst, "f")); err == nil {
			t.Error("a part of the file was left")
		}
	}
	if len(problems) != 2 {
		t.Errorf("problems %v", problems)
	}
}

// cutPod is a pod whose files break off after a MiB, as when the peer that has the rest goes.
type cutPod struct{ server.Pod }

func (c cutPod) FS() vfs.FS { return cutFS{c.Pod.FS()} }

type cutFS struct{ vfs.FS }

func (c cutFS) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	f, err := c.FS.Open(ctx, id)
	return cutFile{f}, err
}

type cutFile struct{ vfs.File }

func (c cutFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off >= 1<<20 {
		return 0, fmt.Errorf("p2p: read frame: %w", io.EOF)
	}
	return c.File.ReadAt(ctx, p, off)
}

// TestGivenOnce: a large file that is exported or printed is read as one that will likely not be read again, a smaller one is not.
func TestGivenOnce(t *testing.T) {
	for size, want := range map[int]vfs.Reuse{64 << 20: vfs.ReadOnce, 1 << 20: vfs.ReadOften} {
		p := &reusedPod{Pod: apitest.New(apitest.Info()), met: map[vfs.Reuse]bool{}}
		c := client.New(apitest.Serve(t, one{p: p}), "")
		o := client.AddOptions{To: "/", Problem: func(path string, err error) { t.Errorf("%s: %v", path, err) }, Sources: []client.Source{
			{Name: "f", Reader: bytes.NewReader(make([]byte, size))},
		}}
		if _, err := c.Add(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		for name, give := range map[string]func() error{
			"cat": func() error { return c.Cat(t.Context(), "/f", io.Discard) },
			"get": func() error {
				return c.Get(t.Context(), client.GetOptions{Source: "/f", Dest: t.TempDir(), Problem: func(path string, err error) { t.Errorf("%s: %v", path, err) }})
			},
		} {
			if err := give(); err != nil {
				t.Fatal(err)
			}
			if met := p.taken(); len(met) != 1 || !met[want] {
				t.Errorf("%s of %d bytes: read as %v, want %v alone", name, size, met, want)
			}
		}
	}
}

// reusedPod is a pod that notes how the bytes of its files are used.
type reusedPod struct {
	server.Pod

	mu  sync.Mutex
	met map[vfs.Reuse]bool
}

// taken is what was noted since the last call.
func (p *reusedPod) taken() map[vfs.Reuse]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	met := p.met
	p.met = map[vfs.Reuse]bool{}
	return met
}

func (p *reusedPod) FS() vfs.FS { return reusedFS{p.Pod.FS(), p} }

type reusedFS struct {
	vfs.FS

	p *reusedPod
}

func (r reusedFS) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	f, err := r.FS.Open(ctx, id)
	return reusedFile{f, r.p}, err
}

type reusedFile struct {
	vfs.File

	p *reusedPod
}

func (r reusedFile) ReadAt(ctx context.Context, b []byte, off int64) (int, error) {
	r.p.mu.Lock()
	r.p.met[vfs.ReuseOf(ctx)] = true
	r.p.mu.Unlock()
	return r.File.ReadAt(ctx, b, off)
}
