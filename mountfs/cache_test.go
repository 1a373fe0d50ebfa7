//go:build linux

package mountfs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
)

// hearTime is how long a change made elsewhere may take to be seen. It is less than what the kernel may
// cache, so that a mount that hears nothing fails.
const hearTime = 2 * time.Second

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(hearTime); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not seen within %v: %s", hearTime, what)
		}
	}
}

// elsewhere is another surface of a tree, with calls that end the test on an error.
type elsewhere struct {
	*memfs.FS
	t *testing.T
}

func (e elsewhere) write(parent vfs.NodeID, name, text string) vfs.NodeID {
	e.t.Helper()
	ctx := e.t.Context()
	a, err := e.Lookup(ctx, parent, name)
	if errors.Is(err, vfs.ErrNotExist) {
		a, err = e.Create(ctx, parent, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	}
	if err != nil {
		e.t.Fatal(err)
	}
	f, err := e.Open(ctx, a.ID)
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := f.WriteAt(ctx, []byte(text), 0); err != nil {
		e.t.Fatal(err)
	}
	if err := f.Close(ctx); err != nil {
		e.t.Fatal(err)
	}
	return a.ID
}

func (e elsewhere) mkdir(parent vfs.NodeID, name string) vfs.NodeID {
	e.t.Helper()
	a, err := e.Create(e.t.Context(), parent, name, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
	if err != nil {
		e.t.Fatal(err)
	}
	return a.ID
}

// TestChangesElsewhere: what another pod changes is seen here, although the kernel has cached it before,
// also that a name did not exist.
func TestChangesElsewhere(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	other := elsewhere{tree.View(), t}
	m := mount(t, tree, mountfs.Options{})
	ctx, root := t.Context(), vfs.RootID
	missing := func(name string) bool {
		_, err := os.Lstat(cleanPath(m.Dir(), name))
		return errors.Is(err, fs.ErrNotExist)
	}
	read := func(name string) string {
		b, err := os.ReadFile(cleanPath(m.Dir(), name))
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	dir := other.mkdir(root, "dir")
	for _, parent := range []struct {
		id   vfs.NodeID
		path string
	}{{root, ""}, {dir, "dir/"}} {
		p := parent.path
		if !missing(p + "f") {
			t.Fatal("exists before it is made")
		}
		id := other.write(parent.id, "f", "first")
		eventually(t, p+"f is made", func() bool { return read(p+"f") == "first" })
		other.write(parent.id, "f", "second")
		eventually(t, p+"f is written", func() bool { return read(p+"f") == "second" })
		mode := uint32(0o600)
		if _, err := other.SetAttr(ctx, id, vfs.SetAttr{Mode: &mode}); err != nil {
			t.Fatal(err)
		}
		eventually(t, p+"f has another mode", func() bool {
			st, err := os.Lstat(cleanPath(m.Dir(), p+"f"))
			return err == nil && st.Mode() == 0o600
		})
		missing(p + "g")
		if err := other.Rename(ctx, parent.id, "f", parent.id, "g", 0); err != nil {
			t.Fatal(err)
		}
		eventually(t, p+"f is renamed to g", func() bool { return missing(p+"f") && read(p+"g") == "second" })
		other.write(parent.id, "h", "other")
		eventually(t, p+"h is made", func() bool { return read(p+"h") == "other" })
		if err := other.Rename(ctx, parent.id, "h", parent.id, "g", 0); err != nil {
			t.Fatal(err)
		}
		eventually(t, p+"g is replaced", func() bool { return read(p+"g") == "other" && missing(p+"h") })
		if err := other.Remove(ctx, parent.id, "g", false); err != nil {
			t.Fatal(err)
		}
		eventually(t, p+"g is removed", func() bool { return missing(p + "g") })
	}
}

// TestOpenFileSeesChanges: pages of a file that stays open are not kept when another pod writes it.
func TestOpenFileSeesChanges(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	other := elsewhere{tree.View(), t}
	other.write(vfs.RootID, "f", "first")
	m := mount(t, tree, mountfs.Options{})
	f, err := os.Open(cleanPath(m.Dir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	p := make([]byte, 6)
	if n, _ := f.ReadAt(p, 0); string(p[:n]) != "first" {
		t.Fatalf("read %q", p[:n])
	}
	other.write(vfs.RootID, "f", "second")
	eventually(t, "the new content", func() bool { n, _ := f.ReadAt(p, 0); return string(p[:n]) == "second" })
}

// TestKeep: with the option, a file that is open for reading stays as it was when it was opened; who opens it anew sees what is new, and who writes it
// does so, too.
func TestKeep(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	other := elsewhere{tree.View(), t}
	other.write(vfs.RootID, "f", "first")
	m := mount(t, keeping{tree}, mountfs.Options{Keep: true})
	name := cleanPath(m.Dir(), "f")
	read := func(f *os.File, want string) {
		t.Helper()
		p := make([]byte, 100)
		if n, _ := f.ReadAt(p, 0); string(p[:n]) != want {
			t.Errorf("read %q, want %q", p[:n], want)
		}
	}
	old, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	read(old, "first")
	other.write(vfs.RootID, "f", "second")
	var next *os.File
	eventually(t, "the new content", func() bool {
		b, err := os.ReadFile(name)
		return err == nil && string(b) == "second"
	})
	if next, err = os.OpenFile(name, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	read(old, "first")
	read(next, "second")
	if _, err := next.WriteAt([]byte("THIRD!"), 0); err != nil {
		t.Error(err)
	}
	read(old, "first")
	read(next, "THIRD!")
	if err := os.WriteFile(name+"2", []byte("made"), 0o600); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(name + "2"); err != nil || string(b) != "made" {
		t.Errorf("%q, %v", b, err)
	}
	if err := errors.Join(old.Close(), next.Close()); err != nil {
		t.Error(err)
	}
}

// keeping opens files as they are, by a copy.
type keeping struct{ *memfs.FS }

func (k keeping) OpenAsIs(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	f, err := k.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	p := make([]byte, 1000)
	n, err := f.ReadAt(ctx, p, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return keptCopy{f, string(p[:n])}, nil
}

type keptCopy struct {
	vfs.File
	text string
}

func (k keptCopy) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return strings.NewReader(k.text).ReadAt(p, off)
}

// TestMissedChanges: after a flood, of which the FS tells only that anything may have changed, all is seen.
func TestMissedChanges(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	other := elsewhere{tree.View(), t}
	other.write(vfs.RootID, "f", "first")
	m := mount(t, flooding{tree}, mountfs.Options{})
	name := cleanPath(m.Dir(), "f")
	if b, err := os.ReadFile(name); err != nil || string(b) != "first" {
		t.Fatalf("read %q, %v", b, err)
	}
	if st, err := os.Lstat(name); err != nil || st.Size() != 5 {
		t.Fatalf("size %v, %v", st, err)
	}
	other.write(vfs.RootID, "f", "longer than first")
	eventually(t, "the new size", func() bool {
		st, err := os.Lstat(name)
		return err == nil && st.Size() == 17
	})
	if b, err := os.ReadFile(name); err != nil || string(b) != "longer than first" {
		t.Errorf("read %q, %v", b, err)
	}
}

// TestMissedNames is the same for names, which the kernel keeps for long: one that was made, one that was removed, one that is another file.
func TestMissedNames(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	other := elsewhere{tree.View(), t}
	other.write(vfs.RootID, "gone", "x")
	other.write(vfs.RootID, "f", "first")
	m := mount(t, flooding{tree}, mountfs.Options{})
	ctx := t.Context()
	if _, err := os.Lstat(cleanPath(m.Dir(), "made")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, name := range []string{"gone", "f"} {
		if _, err := os.Lstat(cleanPath(m.Dir(), name)); err != nil {
			t.Fatal(err)
		}
	}
	other.write(vfs.RootID, "made", "y")
	other.write(vfs.RootID, "f2", "second")
	if err := errors.Join(other.Remove(ctx, vfs.RootID, "gone", false), other.Rename(ctx, vfs.RootID, "f2", vfs.RootID, "f", 0)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "names", func() bool {
		_, errGone := os.Lstat(cleanPath(m.Dir(), "gone"))
		_, errMade := os.Lstat(cleanPath(m.Dir(), "made"))
		b, err := os.ReadFile(cleanPath(m.Dir(), "f"))
		return errors.Is(errGone, fs.ErrNotExist) && errMade == nil && err == nil && string(b) == "second"
	})
}

// TestNamesAreKept: a name that was looked up, or is not there, is not asked for again.
func TestNamesAreKept(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	elsewhere{tree.View(), t}.write(vfs.RootID, "f", "x")
	counted := &lookups{FS: tree}
	m := mount(t, counted, mountfs.Options{})
	look := func() {
		if _, err := os.Lstat(cleanPath(m.Dir(), "f")); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(cleanPath(m.Dir(), "none")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	look()
	before := counted.n.Load()
	for range 10 {
		look()
	}
	if n := counted.n.Load() - before; n != 0 || before == 0 {
		t.Errorf("%d lookups and stats of what is cached, %d before", n, before)
	}
}

// lookups counts what is asked of names and attributes.
type lookups struct {
	*memfs.FS
	n atomic.Int64
}

func (l *lookups) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Attr, error) {
	l.n.Add(1)
	return l.FS.Lookup(ctx, parent, name)
}

func (l *lookups) GetAttr(ctx context.Context, id vfs.NodeID) (vfs.Attr, error) {
	if id != vfs.RootID {
		l.n.Add(1)
	}
	return l.FS.GetAttr(ctx, id)
}

// TestListingIsKept: the names in a folder are not read again until one of them is made or removed, here or elsewhere.
func TestListingIsKept(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	other := elsewhere{tree.View(), t}
	d := other.mkdir(vfs.RootID, "d")
	for i := range 300 {
		other.write(d, fmt.Sprintf("f%d", i), "x")
	}
	counted := &listings{FS: tree}
	dir := cleanPath(mount(t, counted, mountfs.Options{}).Dir(), "d")
	listed := func() map[string]bool {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		names := make(map[string]bool)
		for _, e := range entries {
			names[e.Name()] = true
		}
		return names
	}
	eventually(t, "the whole list, from memory", func() bool {
		before := counted.n.Load()
		return len(listed()) == 300 && before > 0 && counted.n.Load() == before
	})
	other.write(d, "theirs", "x")
	eventually(t, "a name made elsewhere", func() bool { return listed()["theirs"] })
	if err := other.Remove(t.Context(), d, "f7", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a name removed elsewhere", func() bool { return !listed()["f7"] })
	if err := os.WriteFile(filepath.Join(dir, "ours"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !listed()["ours"] {
		t.Error("a name made here is not listed")
	}
	if err := os.Rename(filepath.Join(dir, "ours"), filepath.Join(filepath.Dir(dir), "ours")); err != nil {
		t.Fatal(err)
	}
	if names := listed(); names["ours"] || len(names) != 300 {
		t.Errorf("%d names are listed, want 300 without one that went to another folder", len(names))
	}
}

// listings counts what is asked of the names in folders, and tells of names alone.
type listings struct {
	*memfs.FS
	n atomic.Int64
}

func (l *listings) ReadDir(ctx context.Context, id vfs.NodeID, after string, limit int) ([]vfs.DirEntry, error) {
	l.n.Add(1)
	return l.FS.ReadDir(ctx, id, after, limit)
}

func (l *listings) Watch(ctx context.Context, tell func([]vfs.Change)) error {
	return l.FS.Watch(ctx, func(changes []vfs.Change) {
		for i := range changes {
			if changes[i].Parent != 0 {
				changes[i].Node = 0
			}
		}
		tell(changes)
	})
}

// TestUnwatched: names of which nobody tells are asked for each time.
func TestUnwatched(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	other := elsewhere{tree.View(), t}
	m := mount(t, unwatched{deaf{tree}}, mountfs.Options{})
	for i := range 3 {
		if entries, err := os.ReadDir(m.Dir()); err != nil || len(entries) != i {
			t.Errorf("%d names, %v; want %d", len(entries), err, i)
		}
		name := fmt.Sprintf("f%d", i)
		if _, err := os.Lstat(cleanPath(m.Dir(), name)); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		other.write(vfs.RootID, name, "x")
		if _, err := os.Lstat(cleanPath(m.Dir(), name)); err != nil {
			t.Errorf("a name that was made meanwhile: %v", err)
		}
	}
}

// unwatched is a FS that tells of nothing, and says so.
type unwatched struct{ deaf }

func (unwatched) Watched(vfs.NodeID) bool { return false }

// TestOpenSeesWhatIsHere: who opens a file sees what the FS has of it now, its size too, although the kernel has not been told of the change.
func TestOpenSeesWhatIsHere(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	other := elsewhere{tree.View(), t}
	other.write(vfs.RootID, "f", "first")
	m := mount(t, deaf{tree}, mountfs.Options{})
	for _, want := range []string{"first", "longer than first", "short"} {
		if want != "first" {
			size := uint64(0)
			if a, err := other.Lookup(t.Context(), vfs.RootID, "f"); err != nil {
				t.Fatal(err)
			} else if _, err := other.SetAttr(t.Context(), a.ID, vfs.SetAttr{Size: &size}); err != nil {
				t.Fatal(err)
			}
			other.write(vfs.RootID, "f", want)
		}
		f, err := os.Open(cleanPath(m.Dir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil || info.Size() != int64(len(want)) {
			t.Errorf("size %v, %v, want %d", info, err, len(want))
		}
		p := make([]byte, 100)
		if n, _ := f.ReadAt(p, 0); string(p[:n]) != want {
			t.Errorf("read %q, want %q", p[:n], want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// deaf tells of no change for as long as it is watched.
type deaf struct{ *memfs.FS }

func (deaf) Watch(ctx context.Context, tell func([]vfs.Change)) error {
	tell(nil)
	<-ctx.Done()
	return ctx.Err()
}

// flooding tells of every change by the empty slice.
type flooding struct{ *memfs.FS }

func (f flooding) Watch(ctx context.Context, tell func([]vfs.Change)) error {
	return f.FS.Watch(ctx, func([]vfs.Change) { tell(nil) })
}

// TestPagesAreKept: a file that has not changed is not read again; one that has, is.
func TestPagesAreKept(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	other := elsewhere{tree.View(), t}
	other.write(vfs.RootID, "f", "first")
	counted := &countingFS{FS: tree}
	m := mount(t, counted, mountfs.Options{})
	read := func(want string) {
		t.Helper()
		if b, err := os.ReadFile(cleanPath(m.Dir(), "f")); err != nil || string(b) != want {
			t.Fatalf("read %d bytes, %.20q…, %v, want %.20q…", len(b), b, err, want)
		}
	}
	eventually(t, "the watch has begun", func() bool { return !tree.Untold(vfs.RootID) })
	read("first")
	before := counted.reads.Load()
	read("first")
	read("first")
	if kept := counted.kept.Load(); kept != before {
		t.Errorf("%d of %d reads say that the kernel keeps what they bring", kept, before)
	}
	if n := counted.reads.Load() - before; n != 0 || before == 0 {
		t.Errorf("%d reads of a file that has not changed, %d before", n, before)
	}
	name, page := cleanPath(m.Dir(), "f"), strings.Repeat("mine", 1024) // the kernel keeps of what is written whole pages alone
	for what, change := range map[string]func() (want string, err error){
		"written": func() (string, error) { return page + page, os.WriteFile(name, []byte(page+page), 0o600) },
		"dated": func() (string, error) {
			return page, errors.Join(os.WriteFile(name, []byte(page), 0o600), os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)))
		},
	} {
		before := counted.reads.Load()
		want, err := change()
		if err != nil {
			t.Fatal(err)
		}
		read(want)
		if n := counted.reads.Load() - before; n != 0 {
			t.Errorf("%d reads of a file that was %s here", n, what)
		}
	}
	if err := errors.Join(os.WriteFile(name, []byte(page+page), 0o600), os.Truncate(name, 4090)); err != nil { // the kernel drops all pages itself
		t.Fatal(err)
	}
	read(page[:4090])
	other.write(vfs.RootID, "f", "other")
	read("other" + page[5:4090])
}

// TestOpenSeesElsewhere: who opens a file sees at once what was written elsewhere before, and never what was here before that, whoever wrote it last.
func TestOpenSeesElsewhere(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	other := elsewhere{tree.View(), t}
	other.write(vfs.RootID, "f", "first")
	m := mount(t, tree, mountfs.Options{})
	name := cleanPath(m.Dir(), "f")
	for i := range 500 {
		page := func(where string) string { return strings.Repeat(fmt.Sprintf("%s %03d", where, i), 4096/8) } // whole pages are kept
		want := page("here")
		if err := os.WriteFile(name, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if i%3 > 0 { // else it stays
			want = page("away")
			other.write(vfs.RootID, "f", want)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != want {
			t.Fatalf("round %d: read %d bytes, %.8q…, %v, want %.8q…", i, len(b), b, err, want)
		}
	}
}

// TestFailedWriteIsReadAnew: of a write that failed, who opens the file next is shown what the FS has, not what the kernel was given. The kernel sees to that.
func TestFailedWriteIsReadAnew(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	old, mine := strings.Repeat("old.", 1024), strings.Repeat("mine", 1024)
	elsewhere{tree.View(), t}.write(vfs.RootID, "f", old+old)
	m := mount(t, halfWritten{tree}, mountfs.Options{})
	name := cleanPath(m.Dir(), "f")
	eventually(t, "the watch has begun", func() bool { return !tree.Untold(vfs.RootID) })
	if b, err := os.ReadFile(name); err != nil || string(b) != old+old {
		t.Fatalf("read %d bytes, %v", len(b), err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(mine + mine); err == nil {
		t.Error("the write did not fail")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != mine+old {
		t.Errorf("read %d bytes, %.4q… and %.4q…, %v", len(b), b, b[min(len(b), 4096):], err)
	}
}

// halfWritten writes half of what it is given, and fails.
type halfWritten struct{ *memfs.FS }

func (h halfWritten) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	f, err := h.FS.Open(ctx, id)
	return halfFile{f}, err
}

type halfFile struct{ vfs.File }

func (f halfFile) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(ctx, p[:len(p)/2], off)
	return n, errors.Join(err, errors.New("a fault"))
}

// countingFS counts reads of contents.
type countingFS struct {
	*memfs.FS
	reads atomic.Int64
	kept  atomic.Int64 // of them, those of vfs.ReadKept
}

func (c *countingFS) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	f, err := c.FS.Open(ctx, id)
	return &countingFile{f, c}, err
}

type countingFile struct {
	vfs.File
	c *countingFS
}

func (f *countingFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	f.c.reads.Add(1)
	if vfs.ReuseOf(ctx) == vfs.ReadKept {
		f.c.kept.Add(1)
	}
	return f.File.ReadAt(ctx, p, off)
}

// TestReadYourWrites: while another pod changes other files all the time, and invalidations run, what is
// written here is always what is read here. It would hang if an invalidation waited for an operation.
func TestReadYourWrites(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	other := elsewhere{tree.View(), t}
	m := mount(t, tree, mountfs.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			name := []string{"x", "y", "mine"}[i%3] + "-elsewhere"
			if i%6 < 3 {
				_, _ = other.Create(ctx, vfs.RootID, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
			} else {
				_ = other.Remove(ctx, vfs.RootID, name, false)
			}
			time.Sleep(50 * time.Microsecond)
		}
	}()
	err := within(t, 20*time.Second, func() error {
		for i := range 300 {
			name, text := cleanPath(m.Dir(), "mine"), string(rune('a'+i%26))
			if err := os.WriteFile(name+".tmp", []byte(text), 0o600); err != nil {
				return err
			}
			if err := os.Rename(name+".tmp", name); err != nil {
				return err
			}
			if b, err := os.ReadFile(name); err != nil || string(b) != text {
				t.Errorf("round %d: read %q, %v, want %q", i, b, err, text)
			}
			if _, err := os.ReadDir(m.Dir()); err != nil {
				return err
			}
		}
		return nil
	})
	cancel()
	<-done
	if err != nil {
		t.Error(err)
	}
}
