package pod

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestNamedByBarrier breaks if contents reach the state, or a file's name changes, before the barrier has synced their bytes
// (I2a, I4). The pod does not run, so no pass is made.
func TestNamedByBarrier(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pod")
	ctx := quickly(t)
	if _, err := Create(ctx, dir, CreateOptions{NetworkName: "test", PodName: "still"}); err != nil {
		t.Fatal(err)
	}
	p, err := Open(ctx, Options{Dir: dir, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	fs := p.FS()
	a, err := fs.Create(ctx, vfs.RootID, "f.tmp", vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	f, err := fs.Open(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(ctx, []byte("text"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if row, err := p.db.Get(a.ID); err != nil || row.Size != 0 {
		t.Errorf("the state names %d bytes that were not synced; %v", row.Size, err)
	}
	if shown, err := fs.GetAttr(ctx, a.ID); err != nil || shown.Size != 4 {
		t.Errorf("shown with %d bytes, want 4; %v", shown.Size, err)
	}
	soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := fs.Rename(soon, vfs.RootID, "f.tmp", vfs.RootID, "f", 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("rename before the sync: %v, want %v", err, context.DeadlineExceeded)
	}
	if _, err := p.db.Lookup(vfs.RootID, "f"); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("the new name is there before its bytes are: %v", err)
	}

	if err := p.pass(ctx); err != nil {
		t.Fatal(err)
	}
	if row, err := p.db.Get(a.ID); err != nil || row.Size != 4 {
		t.Errorf("after a pass the state names %d bytes, want 4; %v", row.Size, err)
	}
	if err := fs.Rename(ctx, vfs.RootID, "f.tmp", vfs.RootID, "f", 0); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestGathers breaks if what comes alone waits for more, if a burst does not share its commits, or if somebody who waits is let wait. The pod does not run.
func TestGathers(t *testing.T) {
	p, ctx := newStill(t), quickly(t)
	for i, pass := range []struct {
		rows int
		want bool
	}{{1, false}, {1, false}, {2, false}, {1, false}, {2, false}, {2, true}, {9, true}, {1, false}, {2, false}, {2, true}} {
		for j := range pass.rows {
			if _, err := p.fs.Create(ctx, vfs.RootID, fmt.Sprint(i, "-", j), vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.pass(ctx); err != nil {
			t.Fatal(err)
		}
		if got := p.barrier.gathers(); got != pass.want {
			t.Errorf("behind pass %d, of %d rows, the next one waits for more: %v", i, pass.rows, got)
		}
	}
	soon, cancel := context.WithCancel(ctx)
	cancel()
	if err := p.barrier.wait(soon); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if p.barrier.gathers() {
		t.Error("the next pass waits for more although somebody waits for it")
	}
}

// TestSyncBeforeName breaks if the state names contents, though not committed yet, while the store has not synced them: the log
// of the state may reach the disk before the segments do (I2a).
func TestSyncBeforeName(t *testing.T) {
	dir, mem := crashPod(t, nil)
	disk := newCrashDisk(mem)
	ctx := quickly(t)
	p, err := Open(ctx, Options{Dir: dir, Offline: true, FS: disk.fs})
	if err != nil {
		t.Fatal(err)
	}
	a, err := p.FS().Create(ctx, vfs.RootID, "f", vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.FS().Open(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(ctx, make([]byte, 10_000), 0)
	if err := errors.Join(err, f.Close(ctx)); err != nil {
		t.Fatal(err)
	}
	synced := false
	disk.set(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".seg") && !synced {
			synced = true
			if row, err := p.db.Get(a.ID); err != nil || row.Size != 0 {
				t.Errorf("before the sync of the segment the state names %d bytes, %v", row.Size, err)
			}
		}
		return nil
	})
	if err := p.pass(ctx); err != nil {
		t.Error(err)
	}
	if row, err := p.db.Get(a.ID); err != nil || row.Size != 10_000 || !synced {
		t.Errorf("after a pass the state names %d bytes, synced %t, %v", row.Size, synced, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestSymlinkAfterChunk breaks if the row of a symlink with a long target, which is a chunk, is there while the chunk is not durable.
func TestSymlinkAfterChunk(t *testing.T) {
	dir, mem := crashPod(t, nil)
	ctx := quickly(t)
	p, err := Open(ctx, Options{Dir: dir, Offline: true, FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	target := strings.Repeat("t", vfs.TargetMax)
	a, err := p.FS().Create(ctx, vfs.RootID, "link", vfs.NewNode{Kind: vfs.KindSymlink, Mode: 0o777, Target: target})
	if err != nil {
		t.Fatal(err)
	}
	// The log of the state reaches the disk first, for a reason of its own.
	if err := p.db.SetLocal(ctx, "test", []byte("x")); err != nil {
		t.Fatal(err)
	}
	cut := powerCut{state: 100, store: 0, seed: 1}.of(t, mem, dir)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if p, err = Open(ctx, Options{Dir: dir, Offline: true, FS: cut}); err != nil {
		t.Fatal(err)
	}
	got, err := p.FS().ReadLink(ctx, a.ID)
	if !errors.Is(err, vfs.ErrNotExist) && (err != nil || got != target) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestNamedThoughNewer breaks if a pass tells those who wait for it that all is durable although it named nothing of a file: neither what was staged before it, since newer
// contents came while it synced the store, nor these.
func TestNamedThoughNewer(t *testing.T) {
	dir, mem := crashPod(t, nil)
	disk := newCrashDisk(mem)
	ctx := quickly(t)
	p, err := Open(ctx, Options{Dir: dir, Offline: true, FS: disk.fs})
	if err != nil {
		t.Fatal(err)
	}
	fs := p.FS()
	a, err := fs.Create(ctx, vfs.RootID, "f", vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	give := func(name string, id vfs.NodeID, text string) {
		t.Helper()
		f, err := fs.Open(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(ctx, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(ctx); err != nil { // which stages it
			t.Fatal(name, err)
		}
	}
	big, err := fs.Create(ctx, vfs.RootID, "big", vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	give("big", big.ID, randomText(990, 100_000)) // so that the store has something to sync
	give("f", a.ID, "old")
	came := false
	disk.set(func(op errorfs.Op) error {
		if !came && strings.Contains(op.Path, "segments") && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			came = true
			give("f", a.ID, "new")
		}
		return nil
	})
	if err := p.pass(ctx); err != nil {
		t.Fatal(err)
	}
	disk.set(nil)
	if !came {
		t.Fatal("the store was not synced")
	}
	if row, err := p.db.Get(a.ID); err != nil || row.Size != 3 {
		t.Errorf("after the pass the state names %d bytes; %v", row.Size, err)
	}
	text := make([]byte, 3)
	shows := func() string {
		t.Helper()
		f, err := fs.Open(ctx, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(ctx, text, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(ctx); err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := shows(); got != "new" {
		t.Errorf("it shows %q", got)
	}
	if err := p.pass(ctx); err != nil {
		t.Fatal(err)
	}
	if ready, held := p.db.Uncommitted(); ready || len(held) > 0 {
		t.Error("something is left to commit")
	}
	if got := shows(); got != "new" {
		t.Errorf("after the next pass it shows %q", got)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if p, err = Open(ctx, Options{Dir: dir, Offline: true, FS: disk.fs}); err != nil {
		t.Fatal(err)
	}
	if fs = p.FS(); shows() != "new" {
		t.Errorf("opened again it shows %q", text)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
