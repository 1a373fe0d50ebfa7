package pod

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
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

// savings are ways in which a new text takes the place of the old one, so that one of both is at document or beside it at any time.
var savings = map[string]func(e editing) error{
	"vim": editors[0].save,
	"not synced": func(e editing) error {
		return errors.Join(e.rename(document, document+"~"), e.write(document, false), e.remove(document+"~"))
	},
	"another name": func(e editing) error { return errors.Join(e.write(document+"~", false), e.remove(document)) },
}

// stillPair are two pods that make no passes by themselves, and hear of each other by pull alone.
type stillPair struct {
	t    *testing.T
	a, b *Pod
	disk *crashDisk // a's
	edit editing    // at a
}

const oldText = "the old one"

// newStillPair are pods that both have the old text.
func newStillPair(t *testing.T, base pair) *stillPair {
	t.Helper()
	s := &stillPair{t: t, disk: newCrashDisk(base.diskA.CrashClone(pebblevfs.CrashCloneCfg{}))}
	open := func(dir string, fs pebblevfs.FS) *Pod {
		p, err := Open(quickly(t), Options{Dir: dir, Offline: true, FS: fs, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
		return p
	}
	s.a, s.b = open(base.dirA, s.disk.fs), open(base.dirB, base.diskB.CrashClone(pebblevfs.CrashCloneCfg{}))
	s.edit = editing{quickly(t), s.a.FS(), []byte(oldText)}
	if err := errors.Join(s.edit.write(document, false), s.a.pass(s.edit.ctx)); err != nil {
		t.Fatal(err)
	}
	s.edit.text = []byte("the new text")
	s.pull()
	return s
}

// pull has b hear of what a has committed, and breaks if it shows neither text.
func (s *stillPair) pull() {
	s.t.Helper()
	ctx := quickly(s.t)
	log, err := s.a.db.Log(ctx, s.b.db.VV(), 1<<20)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.b.db.Apply(ctx, log); err != nil {
		s.t.Fatal(err)
	}
	doc, _, err1 := shows(ctx, s.b.FS(), document)
	beside, _, err2 := shows(ctx, s.b.FS(), document+"~")
	if both := []string{doc, beside}; !slices.Contains(both, oldText) && !slices.Contains(both, string(s.edit.text)) {
		s.t.Errorf("the other pod has %q; %v, %v", both, err1, err2)
	}
}

// TestRemovalAfterSync breaks if another pod hears that the old text of a document is gone before it has the new one, which was closed before, when both come about while a pass waits for the disk.
func TestRemovalAfterSync(t *testing.T) {
	base := newPair(t)
	for name, save := range savings {
		t.Run(name, func(t *testing.T) {
			s := newStillPair(t, base)
			if err := (editing{s.edit.ctx, s.a.FS(), []byte(randomText(991, 100_000))}).write("big", false); err != nil {
				t.Fatal(err)
			}
			saved := false
			s.disk.set(func(op errorfs.Op) error {
				if !saved && strings.Contains(op.Path, "segments") && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
					saved = true
					if err := save(s.edit); err != nil {
						t.Error(err)
					}
				}
				return nil
			})
			if err := s.a.pass(s.edit.ctx); err != nil {
				t.Fatal(err)
			}
			s.disk.set(nil)
			if !saved {
				t.Fatal("the store was not synced")
			}
			s.pull()
			if err := s.a.pass(s.edit.ctx); err != nil {
				t.Fatal(err)
			}
			s.pull()
			left, err := s.b.FS().ReadDir(s.edit.ctx, vfs.RootID, "", 0)
			if err != nil || len(left) != 2 {
				t.Errorf("%d names are left, %v", len(left), err)
			}
			if ready, held := s.a.db.Uncommitted(); ready || len(held) > 0 {
				t.Error("something is left to commit")
			}
		})
	}
}

// checkpoints begins a checkpoint at a, whose error comes.
func (s *stillPair) checkpoints() <-chan error {
	made := make(chan error, 1)
	go func() {
		_, err := s.a.checkpoint(s.edit.ctx)
		made <- err
	}()
	return made
}

// ends makes a pass, for which a checkpoint waits, and breaks if b shows neither text before or after, or something is left to commit.
func (s *stillPair) ends(made <-chan error) {
	s.t.Helper()
	s.pull()
	if err := s.a.pass(s.edit.ctx); err != nil {
		s.t.Fatal(err)
	}
	if err := <-made; err != nil {
		s.t.Fatal(err)
	}
	s.pull()
	if ready, held := s.a.db.Uncommitted(); ready || len(held) > 0 {
		s.t.Error("something is left to commit")
	}
}

// TestRemovalBeforeCheckpoint is TestRemovalAfterSync for a checkpoint, which commits all that was done.
func TestRemovalBeforeCheckpoint(t *testing.T) {
	base := newPair(t)
	for name, save := range savings {
		t.Run(name, func(t *testing.T) {
			s := newStillPair(t, base)
			if err := save(s.edit); err != nil {
				t.Fatal(err)
			}
			made := s.checkpoints()
			waits := func() bool {
				s.a.barrier.mu.Lock()
				defer s.a.barrier.mu.Unlock()
				return len(s.a.barrier.waiters) > 0
			}
			for len(made) == 0 && !waits() {
				time.Sleep(time.Millisecond)
			}
			s.ends(made)
		})
	}
}

// TestRemovalWaitsNotLong breaks if a removal waits for a disk that does not sync for a checkpoint, can't be interrupted while it waits for what is about to be named, or is in a checkpoint before the contents that were
// staged before it.
func TestRemovalWaitsNotLong(t *testing.T) {
	s := newStillPair(t, newPair(t))
	if err := errors.Join(s.edit.write("spare", false), s.a.pass(s.edit.ctx)); err != nil {
		t.Fatal(err)
	}
	if err := s.a.removing.Acquire(s.edit.ctx, removersMax); err != nil {
		t.Fatal(err)
	}
	hurried, cancel := context.WithTimeout(s.edit.ctx, time.Millisecond)
	defer cancel()
	err := errors.Join(s.a.FS().Remove(hurried, vfs.RootID, "spare", false), s.a.FS().Rename(hurried, vfs.RootID, "spare", vfs.RootID, "other", 0))
	if n := strings.Count(fmt.Sprint(err), context.DeadlineExceeded.Error()); n != 2 {
		t.Errorf("a removal and a rename in a hurry: %v", err)
	}
	s.a.removing.Release(removersMax)

	if err := errors.Join(s.edit.rename(document, document+"~"), s.edit.write(document, false)); err != nil {
		t.Fatal(err)
	}
	made := s.checkpoints()
	waits := func() {
		t.Helper()
		eventually(t, "the checkpoint waits", func() error {
			free := s.a.removing.TryAcquire(1)
			if free {
				s.a.removing.Release(1)
			}
			s.a.barrier.mu.Lock()
			defer s.a.barrier.mu.Unlock()
			if len(s.a.barrier.waiters) == 0 || !free {
				return fmt.Errorf("%d wait, removals may go: %v", len(s.a.barrier.waiters), free)
			}
			return nil
		})
	}
	waits()
	// As if a pass had ended, and what is staged been so since: the checkpoint holds removals, and waits.
	s.a.barrier.mu.Lock()
	for _, w := range s.a.barrier.waiters {
		tell(w, nil)
	}
	s.a.barrier.waiters = nil
	s.a.barrier.mu.Unlock()
	if err := s.edit.remove(document + "~"); err != nil { // no pass comes, and yet it goes on
		t.Fatal(err)
	}
	waits()
	s.ends(made)
}
