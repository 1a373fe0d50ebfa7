package pod

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// historyPod is a pod alone that keeps a history.
func historyPod(t *testing.T, o Options) *testPod {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "pod")
		if _, err := Create(quickly(t), o.Dir, CreateOptions{NetworkName: "test", PodName: "lone"}); err != nil {
			t.Fatal(err)
		}
	}
	o.Offline = true
	return runWithHistory(t, o)
}

// readAt is what a path held at a moment.
func (p *testPod) readAt(at, path string) (string, error) {
	ctx := quickly(p.t)
	m, err := p.Moment(ctx, at)
	if err != nil {
		return "", err
	}
	fs, err := p.OpenMoment(ctx, m)
	if err != nil {
		return "", err
	}
	return readPath(ctx, fs, path)
}

// readPath is what the file at a path holds.
func readPath(ctx context.Context, fs vfs.FS, path string) (string, error) {
	a, err := vfs.Resolve(ctx, fs, path)
	if err != nil {
		return "", err
	}
	f, err := fs.Open(ctx, a.ID)
	if err != nil {
		return "", err
	}
	data := make([]byte, a.Size)
	if _, err = f.ReadAt(ctx, data, 0); errors.Is(err, io.EOF) {
		err = nil
	}
	return string(data), errors.Join(err, f.Close(ctx))
}

// wantAt checks what a path held.
func (p *testPod) wantAt(at, path, want string) {
	p.t.Helper()
	if got, err := p.readAt(at, path); err != nil || got != want {
		p.t.Errorf("%s at %s: %q, %v, want %q", path, at, shorten(got), err, shorten(want))
	}
}

func (p *testPod) snapshot(name string) Snapshot {
	p.t.Helper()
	s, err := p.CreateSnapshot(quickly(p.t), name)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// TestCollectKeepsHistory breaks if a collection takes what a snapshot or a kept tree root names, or keeps what nothing names any more.
func TestCollectKeepsHistory(t *testing.T) {
	p := historyPod(t, Options{})
	big := randomText(1, 3<<20)
	p.write("/big", big)
	p.write("/small", "a few bytes")
	s := p.snapshot("s")
	later := randomText(2, 3<<20)
	p.write("/big", later)
	if err := p.KeepNow(quickly(t)); err != nil {
		t.Fatal(err)
	}
	kept, err := p.Root(quickly(t))
	if err != nil {
		t.Fatal(err)
	}
	p.remove("/big")
	p.remove("/small")
	p.settle()
	if _, err := p.Root(quickly(t)); err != nil {
		t.Fatal(err)
	}
	p.collect(CollectOptions{atOnce: true})
	p.forget()
	p.wantAt("s", "/big", big)
	p.wantAt("s", "/small", "a few bytes")
	p.wantAt(kept.String(), "/big", later)
	if m, err := p.LastWith(quickly(t), "/big"); err != nil || m.Root != kept {
		t.Errorf("the newest with the file is %+v, %v", m, err)
	}

	p.stop()
	p = historyPod(t, Options{Dir: p.dir})
	p.collect(CollectOptions{atOnce: true})
	p.wantAt("s", "/big", big)
	p.wantAt(kept.String(), "/big", later)
	p.collect(CollectOptions{Now: true, atOnce: true})
	p.forget()
	p.wantAt("s", "/big", big)
	if _, err := p.readAt(kept.String(), "/big"); !errors.Is(err, block.ErrUnavailable) {
		t.Errorf("a kept tree after it was dropped: %v", err)
	}
	if u := p.usage(); u.Stored < 3<<20 || u.Stored > 3<<20+1<<19 {
		t.Errorf("%d bytes for a snapshot of %d", u.Stored, len(big))
	}
	p.clean()

	if err := p.RemoveSnapshot(quickly(t), "s"); err != nil {
		t.Fatal(err)
	}
	p.collect(CollectOptions{atOnce: true})
	p.collect(CollectOptions{atOnce: true})
	p.forget()
	if _, err := p.readAt(s.Root.String(), "/big"); err == nil {
		t.Error("what a removed snapshot kept is still there")
	}
	if u := p.usage(); u.Stored > 1<<19 {
		t.Errorf("%d bytes for nothing", u.Stored)
	}
}

// TestNewestTreeIsKept breaks if a collection takes what was removed since the newest checkpoint: the checkpoint's tree has it, and is kept.
func TestNewestTreeIsKept(t *testing.T) {
	p := historyPod(t, Options{})
	content := randomText(6, 2<<20)
	p.write("/f", content)
	p.settle()
	root, err := p.Root(quickly(t))
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	still, err := Open(quickly(t), Options{Dir: p.dir, Offline: true}) // it makes no checkpoints by itself
	if err != nil {
		t.Fatal(err)
	}
	again := &testPod{Pod: still, t: t, fs: still.FS()}
	again.remove("/f")
	again.collect(CollectOptions{atOnce: true})
	again.wantAt(root.String(), "/f", content)
	if err := still.Close(); err != nil {
		t.Error(err)
	}
}

// TestPinnedTreeIsKept breaks if a tree can be collected between its checkpoint and its snapshot's row.
func TestPinnedTreeIsKept(t *testing.T) {
	p := historyPod(t, Options{})
	content := randomText(7, 2<<20)
	p.write("/f", content)
	p.settle()
	root, err := p.pinRoot(quickly(t))
	if err != nil {
		t.Fatal(err)
	}
	p.remove("/f")
	p.write("/g", "later")
	if _, err := p.Root(quickly(t)); err != nil {
		t.Fatal(err)
	}
	p.kept.drop()
	p.collect(CollectOptions{atOnce: true})
	p.forget()
	p.wantAt(root.String(), "/f", content)
	p.kept.unpin(root)
	p.kept.drop()
	p.collect(CollectOptions{atOnce: true})
	p.forget()
	if _, err := p.readAt(root.String(), "/f"); err == nil {
		t.Error("a tree that nothing names is kept")
	}
}

// TestRestoreLeases breaks if what a restore names can be collected by a collection that has marked already, or stays in the trash.
func TestRestoreLeases(t *testing.T) {
	p := historyPod(t, Options{})
	ctx := quickly(t)
	content := randomText(8, 6<<20)
	p.write("/f", content)
	p.snapshot("s")
	p.remove("/f")
	p.settle()
	m, err := p.Moment(ctx, "s")
	if err != nil {
		t.Fatal(err)
	}
	fs, err := p.OpenMoment(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	a, err := vfs.Resolve(ctx, fs, "/f")
	if err != nil {
		t.Fatal(err)
	}
	tree, ok := fs.(*treeFS)
	if !ok {
		t.Fatal("no tree")
	}
	n, err := tree.node(a.ID)
	if err != nil {
		t.Fatal(err)
	}
	body, err := tree.bodyOf(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	var ids []block.ID
	err = dag.Blocks(ctx, blocks{p.Pod}, body, func(id block.ID, _ bool, _ uint64) error {
		if ids = append(ids, id); len(ids) > 1 {
			return nil
		}
		_, err := p.store.Trash(ctx, id, func() bool { return false })
		return err
	})
	if err != nil || len(ids) < 2 {
		t.Fatal(len(ids), err)
	}
	p.leases.begin()
	if _, err := p.CopyFromTree(ctx, fs, a.ID, vfs.RootID, "back", FileMeta{Mode: 0o644, Mtime: a.Mtime}); err != nil {
		t.Fatal(err)
	}
	for _, id := range append(ids, body.ID()) {
		if owned, _ := p.store.Has(id); !owned || !p.leases.has(id) {
			t.Errorf("%s: owned %v, leased %v", id, owned, p.leases.has(id))
		}
	}
	p.leases.end()
	p.settle()
	p.forget()
	p.reads("/back", content)
}
