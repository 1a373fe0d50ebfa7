//go:build unix

package client_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/apitest"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// countingPod counts the bytes that are read of its files.
type countingPod struct {
	*apitest.Pod
	bytes *atomic.Int64
	held  *atomic.Uint64 // this file can't be opened: who tries waits until nobody wants it any more
}

func (p countingPod) FS() vfs.FS { return countingFS{p.Pod.FS(), p.bytes, p.held} }

type countingFS struct {
	vfs.FS
	bytes *atomic.Int64
	held  *atomic.Uint64
}

func (c countingFS) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	if uint64(id) == c.held.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f, err := c.FS.Open(ctx, id)
	return countingFile{f, c.bytes}, err
}

type countingFile struct {
	vfs.File
	bytes *atomic.Int64
}

func (c countingFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := c.File.ReadAt(ctx, p, off)
	c.bytes.Add(int64(n))
	return n, err
}

// TestGetResumes breaks if the same get, run again after an interruption, copies again what is complete, leaves what is not, or keeps what
// is not in the source any more; or if a target is there in part.
func TestGetResumes(t *testing.T) {
	for _, stream := range []bool{false, true} {
		p := countingPod{apitest.New(apitest.Info()), new(atomic.Int64), new(atomic.Uint64)}
		home := apitest.Serve(t, onePod{p: p})
		w := &world{t: t, pod: p.Pod, c: client.New(home, "")}
		dir := t.TempDir()
		src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
		makeTree(t, src)
		total := int64(w.add(client.AddOptions{}, src).Added[0].Bytes)
		last, err := vfs.Resolve(t.Context(), p.Pod.FS(), "/src/sub/deep/f99") // in the last batch
		if err != nil {
			t.Fatal(err)
		}
		p.held.Store(uint64(last.ID))

		ctx, cancel := context.WithCancel(t.Context())
		var done int64
		o := client.GetOptions{Source: "/src", Dest: dst, Stream: stream, SUID: true, Problem: w.problem}
		o.Progress = func(_ int, bytes uint64) {
			if done = int64(bytes); done > total/2 {
				cancel()
			}
		}
		err = w.c.Get(ctx, o)
		cancel()
		if !errors.Is(err, context.Canceled) || !strings.Contains(api.HintOf(err), ".dst.wh-get-") {
			t.Fatalf("interrupted: %v (%s)", err, api.HintOf(err))
		}
		if _, err := os.Lstat(dst); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the target is there in part: %v", err)
		}
		// Meanwhile the network loses a file and a folder.
		for _, name := range []string{"sub/deep/f1", "empty", "a"} {
			if err := os.RemoveAll(filepath.Join(src, name)); err != nil {
				t.Fatal(err)
			}
			q := api.PathRequest{Path: api.Text("/src/" + name), Recursive: true}
			if _, err := client.Call[struct{}](t.Context(), w.c, "remove", q); err != nil {
				t.Fatal(err)
			}
		}
		w.add(client.AddOptions{}, src) // the folders' times

		p.bytes.Store(0)
		p.held.Store(0)
		o.Progress = nil
		if err := w.c.Get(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		w.noProblems()
		if d := cmp.Diff(listing(t, src), listing(t, dst)); d != "" {
			t.Error(d)
		}
		// Hard links are made last: the other name of a, which was removed, had no bytes yet.
		if again := p.bytes.Load(); again > total-done+int64(len("hello")) {
			t.Errorf("%d bytes were read again; %d of %d were complete", again, done, total)
		}
		names, err := os.ReadDir(dir)
		if err != nil || len(names) != 2 {
			t.Errorf("%v are left, %v", names, err)
		}
	}
}

// TestGetDropsParts breaks if what a get that was killed left beside a file stays for ever, or what is not its own goes.
func TestGetDropsParts(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	for _, d := range []string{src, filepath.Join(dst, "src")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(src, "f"), "new")
	w.add(client.AddOptions{}, src)
	keep := []string{".wh-get-1-0", ".wh-get-x-1", ".wh-get-", "f"} // process 1 lives
	for _, name := range append([]string{".wh-get-999999999-3"}, keep...) {
		write(t, filepath.Join(dst, "src", name), "older")
	}
	w.get(client.GetOptions{Source: "/src", Dest: dst})
	w.noProblems()
	entries, err := os.ReadDir(filepath.Join(dst, "src"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(keep)
	if d := cmp.Diff(keep, names); d != "" {
		t.Error(d)
	}
}
