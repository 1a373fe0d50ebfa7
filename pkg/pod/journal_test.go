package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// stillPod is a pod that does not run: what it does in the background a test does, or nobody.
type stillPod struct {
	*Pod
	t  *testing.T
	fs vfs.FS
}

func newStill(t *testing.T) *stillPod {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "still"}); err != nil {
		t.Fatal(err)
	}
	return openStill(t, Options{Dir: dir})
}

func openStill(t *testing.T, o Options) *stillPod {
	t.Helper()
	o.Offline, o.Log = true, testLog(t)
	p, err := Open(quickly(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return &stillPod{Pod: p, t: t, fs: p.FS()}
}

// again closes the pod as a kill would leave it and opens it again.
func (p *stillPod) again() *stillPod {
	p.t.Helper()
	if err := p.Close(); err != nil {
		p.t.Fatal(err)
	}
	return openStill(p.t, p.o)
}

// folds makes what runFold and the barrier would.
func (p *stillPod) folds() {
	p.t.Helper()
	if err := errors.Join(p.foldJournals(p.t.Context(), true), p.pass(p.t.Context())); err != nil {
		p.t.Fatal(err)
	}
}

func (p *stillPod) open(name string) vfs.File {
	p.t.Helper()
	a, err := p.fs.Lookup(p.t.Context(), vfs.RootID, name)
	if errors.Is(err, vfs.ErrNotExist) {
		a, err = p.fs.Create(p.t.Context(), vfs.RootID, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o640, UID: 7})
	}
	if err != nil {
		p.t.Fatal(err)
	}
	f, err := p.fs.Open(p.t.Context(), a.ID)
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

// puts writes a text at an offset and syncs it.
func (p *stillPod) puts(f vfs.File, off int64, text string) {
	p.t.Helper()
	_, err := f.WriteAt(p.t.Context(), []byte(text), off)
	if err == nil {
		err = f.Sync(p.t.Context())
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *stillPod) resize(name string, size uint64) {
	p.t.Helper()
	a, err := p.fs.Lookup(p.t.Context(), vfs.RootID, name)
	if err == nil {
		_, err = p.fs.SetAttr(p.t.Context(), a.ID, vfs.SetAttr{Size: &size})
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// holds checks what a file holds.
func (p *stillPod) holds(name, want string) {
	p.t.Helper()
	got, err := readFS(p.t.Context(), p.fs, name)
	if err != nil || got != want {
		p.t.Errorf("%s: holds %q, want %q; %v", name, shorten(got), shorten(want), err)
	}
}

// readFS is what a file of the root holds.
func readFS(ctx context.Context, fs vfs.FS, name string) (string, error) {
	a, err := fs.Lookup(ctx, vfs.RootID, name)
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

// records is how many journal records there are.
func (p *stillPod) records() int {
	p.t.Helper()
	n, err := journalRecords(p.Pod)
	if err != nil {
		p.t.Error(err)
	}
	return n
}

// journalRecords is how many journal records a pod has.
func journalRecords(p *Pod) (n int, err error) {
	err = p.db.Journaled(func(_ vfs.NodeID, _ uint64, _ *state.JournalRecord, err error) error {
		n++
		return err
	})
	return n, err
}

// TestFsyncIsARecord breaks if an fsync of few bytes waits for chunks and a pass: nobody makes one here. What it made durable must be there
// after a kill, be read before anything is folded, be named then, and leave no record.
func TestFsyncIsARecord(t *testing.T) {
	p := newStill(t)
	f := p.open("f")
	p.puts(f, 0, "hello world")
	p.puts(f, 6, "there, world")
	p.resize("f", 11)
	p.resize("f", 14)
	p.puts(f, 13, "!")
	if err := f.Sync(p.t.Context()); err != nil { // nothing changed
		t.Error(err)
	}
	if got := p.records(); got != 3 {
		t.Errorf("%d records, want 3", got)
	}
	want := "hello there\x00\x00!"
	for range 2 {
		p = p.again()
		p.holds("f", want)
		if got := p.records(); got != 3 {
			t.Errorf("%d records after opening, want 3", got)
		}
	}
	p = p.again() // without the closes of holds, which stage what was replayed
	f = p.open("f")
	p.puts(f, 0, "J") // goes on where the others end
	want = "J" + want[1:]
	p = p.again()
	if got := p.records(); got != 4 {
		t.Errorf("%d records, want 4", got)
	}
	p.folds()
	if got := p.records(); got != 0 {
		t.Errorf("%d records after the fold", got)
	}
	p.holds("f", want)
	p = p.again()
	p.holds("f", want)
	a, err := p.fs.Lookup(p.t.Context(), vfs.RootID, "f")
	if err != nil || a.Size != 14 || a.Mode != 0o640 || a.UID != 7 {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestFsyncOverChunks is TestFsyncIsARecord over a file of chunks, with an mtime that was set.
func TestFsyncOverChunks(t *testing.T) {
	p := newStill(t)
	text := strings.Repeat("a file of some length; ", 100_000)
	f := p.open("f")
	if _, err := f.WriteAt(p.t.Context(), []byte(text), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(p.t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.pass(p.t.Context()); err != nil {
		t.Fatal(err)
	}
	f = p.open("f")
	want := []byte(text)
	for i := range 20 {
		off := i * 100_003
		p.puts(f, int64(off), "written over")
		copy(want[off:], "written over")
	}
	a, err := p.fs.Lookup(p.t.Context(), vfs.RootID, "f")
	if err != nil {
		t.Fatal(err)
	}
	mtime := int64(1234567890)
	if _, err := p.fs.SetAttr(p.t.Context(), a.ID, vfs.SetAttr{Mtime: &mtime}); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(p.t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.records(); got != 21 {
		t.Errorf("%d records, want 21", got)
	}
	for _, fold := range []func(){func() {}, func() { p.folds() }} {
		fold()
		p = p.again()
		p.holds("f", string(want))
		if a, err := p.fs.GetAttr(p.t.Context(), a.ID); err != nil || a.Mtime != mtime {
			t.Errorf("mtime %d, want %d; %v", a.Mtime, mtime, err)
		}
	}
}

// TestJournalBaseIsKept breaks if a collection takes blocks that records lie over: a crash before what replaces them is named needs them.
func TestJournalBaseIsKept(t *testing.T) {
	p := newStill(t)
	f := p.open("f")
	write(p, f, 0, strings.Repeat("what is there first; ", 10_000))
	if err := errors.Join(f.Flush(t.Context()), p.pass(t.Context())); err != nil {
		t.Fatal(err)
	}
	p.puts(f, 0, "a record")
	under := f.(*file).n.log.base //nolint:forcetypeassert // the pod's own
	write(p, f, 0, strings.Repeat("what replaces it all; ", 10_000))
	if err := f.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := p.newMarker()
	if err := p.markJournal(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	blocks := 0
	err := dag.Blocks(t.Context(), m.get, under, func(id block.ID, _ bool, _ uint64) error {
		if blocks++; !m.live.has(id) {
			t.Errorf("%s would be collected", id)
		}
		return nil
	})
	if err != nil || blocks == 0 {
		t.Errorf("%d blocks; %v", blocks, err)
	}
	if err := errors.Join(p.pass(t.Context()), f.Close(t.Context())); err != nil {
		t.Error(err)
	}
}

// TestJournalGoesWithFile breaks if a file that was removed, or replaced, comes back after a crash since its journal was left.
func TestJournalGoesWithFile(t *testing.T) {
	p := newStill(t)
	p.puts(p.open("removed"), 0, "text")
	p.puts(p.open("replaced"), 0, "text")
	by := p.open("by")
	if err := p.pass(p.t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		p.fs.Remove(p.t.Context(), vfs.RootID, "removed", false),
		p.fs.Rename(p.t.Context(), vfs.RootID, "by", vfs.RootID, "replaced", 0),
	); err != nil {
		t.Fatal(err)
	}
	if got := p.records(); got != 0 {
		t.Errorf("%d records are left", got)
	}
	if err := by.Sync(p.t.Context()); err != nil {
		t.Fatal(err)
	}
	p = p.again()
	p.folds()
	list, err := p.fs.ReadDir(p.t.Context(), vfs.RootID, "", 0)
	if err != nil || len(list) != 1 || list[0].Name != "replaced" || list[0].Attr.Size != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestOrphanSync breaks if a sync of an open file without a name leaves a record, which would make it again.
func TestOrphanSync(t *testing.T) {
	p := newStill(t)
	f := p.open("f")
	p.puts(f, 0, "text")
	if err := p.fs.Remove(p.t.Context(), vfs.RootID, "f", false); err != nil {
		t.Fatal(err)
	}
	p.puts(f, 4, " and more")
	data := make([]byte, 13)
	if n, err := f.ReadAt(p.t.Context(), data, 0); err != nil || string(data[:n]) != "text and more" {
		t.Errorf("read %q, %v", data[:n], err)
	}
	if got := p.records(); got != 0 {
		t.Errorf("%d records", got)
	}
	if err := f.Close(p.t.Context()); err != nil {
		t.Error(err)
	}
	if p.nodes.anyLogged() || len(p.nodes.byID) != 0 || p.dirtyBytes.Load() != 0 {
		t.Errorf("%d nodes are left, %d dirty bytes", len(p.nodes.byID), p.dirtyBytes.Load())
	}
}

// TestUnfoldedIsNotCommitted breaks if a commit has the row of a file whose synced bytes are in the journal alone (I4): another pod would see a
// file that its maker believes to be whole, without its bytes.
func TestUnfoldedIsNotCommitted(t *testing.T) {
	p := newStill(t)
	f := p.open("f")
	p.puts(f, 0, "text")
	other := p.open("other")
	if err := p.pass(p.t.Context()); err != nil {
		t.Fatal(err)
	}
	mine := p.db.VV()[p.actor]
	if _, held := p.db.Uncommitted(); len(held) != 1 || mine != 1 {
		t.Errorf("held %v, %d commits; want the one file, and a commit of the other", held, mine)
	}
	// This is what runFold does when a pass has held something back: it must not wait for the file's close.
	if err := errors.Join(p.foldJournals(p.t.Context(), false), p.pass(p.t.Context())); err != nil {
		t.Fatal(err)
	}
	if ready, held := p.db.Uncommitted(); ready || len(held) != 0 || p.db.VV()[p.actor] != 2 {
		t.Errorf("after the fold: ready %v, held %v", ready, held)
	}
	p.puts(f, 4, "!") // the row is committed: this holds nothing back, and may wait
	if err := errors.Join(p.foldJournals(p.t.Context(), false), p.pass(p.t.Context())); err != nil {
		t.Fatal(err)
	}
	if got := p.records(); got != 1 {
		t.Errorf("%d records, want 1", got)
	}
	if err := errors.Join(f.Close(p.t.Context()), other.Close(p.t.Context())); err != nil {
		t.Error(err)
	}
}

// TestJournalLimits breaks if what a record can't say is taken for durable: each of these must wait for a pass, and nobody makes one.
func TestJournalLimits(t *testing.T) {
	large := strings.Repeat("x", state.JournalDataMax+1)
	for name, change := range map[string]func(p *stillPod, f vfs.File){
		"many bytes": func(p *stillPod, f vfs.File) { write(p, f, 0, large) },
		"many places": func(p *stillPod, f vfs.File) {
			for i := range state.JournalWritesMax + 2 {
				write(p, f, int64(3*i), "x")
			}
		},
		"cut already": func(p *stillPod, f vfs.File) {
			for i := range 9 {
				write(p, f, int64(i)<<20, strings.Repeat("y", 1<<20))
			}
		},
		"cut for room": func(p *stillPod, f vfs.File) {
			p.dirtyBytes.Add(allDirtyMax) // other files'
			write(p, f, 0, "few bytes")
			p.dirtyBytes.Add(-allDirtyMax)
		},
		"tree made shorter": func(p *stillPod, f vfs.File) {
			for i := range 40 {
				write(p, f, int64(i)<<20, "x")
			}
			if err := errors.Join(f.Flush(p.t.Context()), p.pass(p.t.Context())); err != nil {
				p.t.Fatal(err)
			}
			p.resize("f", 20<<20)
		},
		"staged": func(p *stillPod, f vfs.File) {
			write(p, f, 0, "closed")
			if err := f.Flush(p.t.Context()); err != nil {
				p.t.Fatal(err)
			}
			write(p, f, 0, "then written")
		},
		"full journal": func(p *stillPod, f vfs.File) {
			for i := range journalBytesMax/state.JournalDataMax - 1 {
				p.puts(f, 0, strings.Repeat(string(rune('a'+i)), state.JournalDataMax))
			}
			write(p, f, 0, large[:state.JournalDataMax])
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newStill(t)
			f := p.open("f")
			change(p, f)
			before := p.records()
			ended, cancel := context.WithCancel(p.t.Context())
			cancel()
			if err := f.Sync(ended); !errors.Is(err, context.Canceled) || p.records() != before {
				t.Errorf("sync: %v, want %v; %d records, want %d", err, context.Canceled, p.records(), before)
			}
			want, err := readFS(p.t.Context(), p.fs, "f")
			if err != nil {
				t.Fatal(err)
			}
			if err := p.pass(p.t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := p.records(); got != 0 {
				t.Errorf("%d records", got)
			}
			p.puts(f, 1, "after it")
			if got := p.records(); got != 1 {
				t.Errorf("%d records after a fold and one more fsync, want 1", got)
			}
			p = p.again()
			p.holds("f", want[:1]+"after it"+want[min(len(want), 9):])
		})
	}
}

func write(p *stillPod, f vfs.File, off int64, text string) {
	p.t.Helper()
	if _, err := f.WriteAt(p.t.Context(), []byte(text), off); err != nil {
		p.t.Fatal(err)
	}
}

// TestJournalOutlivesFailedClose breaks if a file that can't be cut into chunks at its close loses what its fsyncs acknowledged, or if
// that comes back later over newer bytes.
func TestJournalOutlivesFailedClose(t *testing.T) {
	p := newStill(t)
	f := p.open("f")
	p.puts(f, 0, strings.Repeat("synced; ", 1000))
	want := strings.Repeat("synced; ", 1000)
	write(p, f, 0, "not synced")
	ended, cancel := context.WithCancel(p.t.Context())
	cancel()
	if err := f.Close(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("close: %v, want %v", err, context.Canceled)
	}
	p.holds("f", "not synced"+want[10:])
	p2 := p.again()
	p2.holds("f", want)
	if err := errors.Join(p2.foldJournals(p2.t.Context(), false), p2.pass(p2.t.Context())); err != nil { // nobody has it open
		t.Fatal(err)
	}
	if got := p2.records(); got != 0 {
		t.Errorf("%d records", got)
	}
	p2 = p2.again()
	p2.holds("f", want)
}

// TestReplayAfterRemoteChange breaks if what was synced before a crash is lost where another pod removed or edited the file meanwhile: an edit wins
// over a deletion, and two edits are both kept.
func TestReplayAfterRemoteChange(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	for _, name := range []string{"/removed", "/edited"} {
		a.write(name, "old")
		b.reads(name, "old")
	}
	a.stop()
	still := openStill(t, Options{Dir: a.dir})
	still.puts(still.open("removed"), 0, "new")
	still.puts(still.open("edited"), 0, "mine")
	b.write("/edited", "theirs")
	ctx := quickly(t)
	if err := errors.Join(b.fs.Remove(ctx, vfs.RootID, "removed", false), b.Settle(ctx)); err != nil {
		t.Fatal(err)
	}
	log, err := b.db.Log(ctx, still.db.VV(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	still = still.again()
	if _, err := still.db.Apply(ctx, log); err != nil {
		t.Fatal(err)
	}
	still = still.again()
	still.holds("edited", "mine")
	still.folds()
	still.holds("removed", "new")
	if attr, err := still.fs.Lookup(ctx, vfs.RootID, "removed"); err != nil || attr.Mode != 0o644 {
		t.Errorf("made again: %+v, %v", attr, err)
	}
	list, err := still.db.List(vfs.RootID, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, e := range list {
		body, err := decodeBody(e.Node.Body)
		if err != nil {
			t.Fatal(err)
		}
		found[string(body.Inline)]++
	}
	if want := map[string]int{"new": 1, "mine": 1, "theirs": 1}; fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("found %v, want %v", found, want)
	}
	if got := still.records(); got != 0 {
		t.Errorf("%d records", got)
	}
	if err := still.Close(); err != nil {
		t.Fatal(err)
	}
	a = openPod(t, a.dir)
	sameRoot(t, a, b)
	a.clean()
	b.clean()
}

// TestOpenFileIsSeen breaks if other pods never see what is synced into a file that stays open.
func TestOpenFileIsSeen(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	ctx := quickly(t)
	made, err := a.fs.Create(ctx, vfs.RootID, "log", vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	f, err := a.fs.Open(ctx, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for i := range 2 {
		line := fmt.Sprintf("line %d\n", i)
		if _, err := f.WriteAt(ctx, []byte(line), int64(len(text))); err != nil {
			t.Fatal(err)
		}
		text += line
		if err := f.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		b.reads("/log", text)
	}
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
	sameRoot(t, a, b)
}

// TestFsyncOnFullDisk breaks if an fsync is acknowledged, or waits, while the state's log can't be written, or if it doesn't go on by itself when
// there is room again.
func TestFsyncOnFullDisk(t *testing.T) {
	dir, mem := crashPod(t, nil)
	disk := newCrashDisk(mem)
	p := runPod(t, Options{Dir: dir, Offline: true, FS: disk.fs})
	ctx := t.Context()
	a, err := p.fs.Create(ctx, vfs.RootID, "f", vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.fs.Open(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(ctx, []byte("old"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	disk.set(func(op errorfs.Op) error {
		if op.Kind != errorfs.OpFileSync && op.Kind != errorfs.OpFileSyncData && strings.Contains(op.Path, "/state/") {
			return syscall.ENOSPC
		}
		return nil
	})
	if _, err := f.WriteAt(ctx, []byte("new"), 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Sync(ctx); !errors.Is(err, vfs.ErrNoSpace) {
			t.Errorf("fsync on a full disk: %v, want %v", err, vfs.ErrNoSpace)
		}
	}
	disk.set(nil)
	eventually(t, "fsync when there is room again", func() error { return f.Sync(ctx) })
	after := openStill(t, Options{Dir: dir, FS: mem.CrashClone(pebblevfs.CrashCloneCfg{})})
	after.holds("f", "new")
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
}
