package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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

// TestHistoryRace breaks if a collection takes a block of a snapshot that is made, of a file that is restored, or of a tree that is kept, while writers
// change everything and garbage is deleted at once.
func TestHistoryRace(t *testing.T) {
	p := historyPod(t, Options{Clock: fastClock{time.Now(), 2000}, TrashAfter: 1})
	seed := rand.Uint64()
	t.Log("seed", seed)
	ctx, cancel := context.WithTimeout(context.Background(), *gcTime)
	defer cancel()
	var wg sync.WaitGroup
	rounds := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := p.Collect(context.WithoutCancel(ctx), CollectOptions{atOnce: true}); err != nil {
				t.Error(err)
				return
			}
			rounds++
		}
	})
	r := &historyWriter{p: p, rng: rand.New(rand.NewPCG(seed, 0)), files: map[string]string{}, snaps: map[string]map[string]string{}}
	for ctx.Err() == nil && !t.Failed() {
		if err := r.step(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	p.settle()
	p.collect(CollectOptions{atOnce: true})
	p.stop()
	p = historyPod(t, Options{Dir: p.dir})
	all := p.newMarker()
	for _, root := range p.kept.roots() {
		if err := all.tree(quickly(t), root, 0); err != nil {
			t.Errorf("a kept tree: %v", err)
		}
	}
	files := 0
	check := func(at string, want map[string]string) {
		for path, content := range want {
			files++
			p.wantAt(at, path, content)
		}
	}
	check(Now, r.files)
	for name, want := range r.snaps {
		check(name, want)
	}
	p.clean()
	t.Logf("%d steps, %d snapshots, %d files in them, %d restored, %d collections", r.steps, len(r.snaps), files, r.restored, rounds)
	if len(r.snaps) == 0 || r.restored == 0 || rounds == 0 {
		t.Error("too little was done")
	}
}

// historyWriter changes files, makes snapshots, and restores from them.
type historyWriter struct {
	p     *testPod
	rng   *rand.Rand
	files map[string]string
	snaps map[string]map[string]string

	steps, made, restored int
}

func (w *historyWriter) step(ctx context.Context) error {
	w.steps++
	path := fmt.Sprintf("/f%d", w.rng.IntN(12))
	parent, name := vfs.RootID, path[1:]
	switch n := w.rng.IntN(10); {
	case n < 5: // some are small, some are seen before
		content := randomText(w.rng.Uint64N(40), 1+w.rng.IntN(3)*40<<10)
		if err := writeFS(ctx, w.p.fs, path, content); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		w.files[path] = content
	case n < 7:
		if _, ok := w.files[path]; ok {
			delete(w.files, path)
			return w.p.fs.Remove(ctx, parent, name, false)
		}
	case n < 8 && len(w.snaps) < 30:
		w.made++
		snap := fmt.Sprintf("s%d", w.made)
		if _, err := w.p.CreateSnapshot(ctx, snap); err != nil {
			return err
		}
		w.snaps[snap] = map[string]string{}
		for k, v := range w.files {
			w.snaps[snap][k] = v
		}
	case n < 9 && len(w.snaps) > 3:
		for snap := range w.snaps {
			delete(w.snaps, snap)
			return w.p.RemoveSnapshot(ctx, snap)
		}
	default:
		for snap, files := range w.snaps {
			content, ok := files[path]
			if !ok {
				continue
			}
			m, err := w.p.Moment(ctx, snap)
			if err != nil {
				return err
			}
			fs, err := w.p.OpenMoment(ctx, m)
			if err != nil {
				return err
			}
			a, err := vfs.Resolve(ctx, fs, path)
			if err != nil {
				return err
			}
			if w.rng.IntN(2) == 0 { // it is removed while it is restored from
				delete(w.snaps, snap)
				if err := w.p.RemoveSnapshot(ctx, snap); err != nil {
					return err
				}
			}
			_, err = w.p.CopyFromTree(ctx, fs, a.ID, parent, name, FileMeta{Mode: 0o644, Mtime: a.Mtime})
			switch {
			case errors.Is(err, block.ErrUnavailable) || errors.Is(err, block.ErrNotFound):
				return nil // collected already
			case err != nil:
				return fmt.Errorf("restore %s: %w", path, err)
			}
			w.files[path] = content
			w.restored++
			return nil
		}
	}
	return nil
}

// TestSnapshotsOfTwoPods breaks if a snapshot is not known or not readable on the other pod, if its nodes are not on both, or if the other pod's collection
// takes what it holds of it.
func TestSnapshotsOfTwoPods(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	eventually(t, "connected", func() error {
		if len(a.connected()) != 1 {
			return errors.New("not yet")
		}
		return nil
	})
	content := randomText(3, 2<<20)
	a.write("/f", content)
	if err := a.SyncWait(quickly(t), vfs.RootID); err != nil {
		t.Fatal(err)
	}
	s := a.snapshot("s")
	eventually(t, "the snapshot on the other pod", func() error {
		all, err := b.Snapshots(quickly(t))
		if err == nil && len(all) != 1 {
			err = fmt.Errorf("%d snapshots", len(all))
		}
		return err
	})
	a.remove("/f")
	a.settle()
	sameRoot(t, a, b)
	b.collect(CollectOptions{Now: true, atOnce: true})
	a.collect(CollectOptions{Now: true, atOnce: true})
	a.stop()
	b.forget()
	b.wantAt("s", "/f", content)
	nodes := 0
	err := b.eachNewNode(quickly(t), block.ID{}, s.Root, 0, func(id block.ID) error {
		nodes++
		if owned, _ := b.store.Has(id); !owned {
			t.Errorf("node %s is not this pod's own", id)
		}
		return nil
	})
	if err != nil || nodes < 2 {
		t.Errorf("%d nodes, %v", nodes, err)
	}
	if err := b.RemoveSnapshot(quickly(t), "s"); err != nil {
		t.Error(err)
	}
	b.clean()
}

// TestAutomaticSnapshots breaks if one is made while nothing changed, not made when something did, or if two pods make them.
func TestAutomaticSnapshots(t *testing.T) {
	turn := &shifted{}
	p := historyPod(t, Options{Clock: turn})
	rule := func(want int) {
		t.Helper()
		if err := p.applySnapshotRule(quickly(t)); err != nil {
			t.Fatal(err)
		}
		all, err := p.Snapshots(quickly(t))
		if err != nil || len(all) != want {
			t.Fatalf("%d snapshots, %v, want %d", len(all), err, want)
		}
		for _, s := range all {
			if !s.Auto || !strings.HasPrefix(s.Name, "auto-20") {
				t.Errorf("%+v", s)
			}
		}
	}
	p.write("/f", "one")
	rule(1)
	p.write("/f", "two")
	rule(1) // not due
	turn.by(11 * time.Minute)
	rule(2)
	turn.by(11 * time.Minute)
	rule(2) // nothing changed
	p.write("/f", "three")
	rule(3)
	turn.by(3 * time.Hour)
	p.write("/f", "four")
	rule(2) // of the first hour one is left
	p.wantAt("1h", "/f", "three")
	p.wantAt("now", "/f", "four")
	if !p.keepsSnapshots() {
		t.Error("a pod alone doesn't make them")
	}
}

// TestLeastPodMakesSnapshots breaks if two pods that see each other both make automatic snapshots, or none does.
func TestLeastPodMakesSnapshots(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	eventually(t, "one pod for snapshots", func() error {
		if x, y := a.keepsSnapshots(), b.keepsSnapshots(); x == y || len(a.connected()) != 1 {
			return fmt.Errorf("%v and %v", x, y)
		}
		return nil
	})
}

// shifted is a clock that can be turned on.
type shifted struct {
	mu    sync.Mutex
	shift time.Duration
}

func (s *shifted) by(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shift += d
}

// Now is the turned time.
func (s *shifted) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.shift)
}

// NewTimer is not turned.
func (s *shifted) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// TestPast breaks if .wh/at doesn't show what was, if it can be changed, if it is listed in the root, or if its numbers are those of other nodes.
func TestPast(t *testing.T) {
	p := historyPod(t, Options{})
	ctx := quickly(t)
	if _, err := p.fs.Create(ctx, vfs.RootID, "d", vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	p.write("/d/f", "one")
	p.snapshot("s")
	p.write("/d/f", "two")
	for path, want := range map[string]string{"/.wh/at/s/d/f": "one", "/d/f": "two", "/.wh/at/now/d/f": "two", "/.wh/at/s/.wh": "", "/.wh/at/s/none": "", "/.wh/at/never": "", "/.wh/x": ""} {
		got, err := readPath(ctx, p.fs, path)
		if path == "/.wh/at/now/d/f" {
			if _, err := p.Root(ctx); err != nil { // the newest checkpoint is what there is of now
				t.Fatal(err)
			}
			got, err = readPath(ctx, p.fs, path)
		}
		if got != want || (want == "") != errors.Is(err, vfs.ErrNotExist) {
			t.Errorf("%s: %q, %v, want %q", path, got, err, want)
		}
	}
	list := func(path string) string {
		t.Helper()
		a, err := vfs.Resolve(ctx, p.fs, path)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for after := ""; ; {
			page, err := p.fs.ReadDir(ctx, a.ID, after, 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				return strings.Join(names, " ")
			}
			after = page[0].Name
			names = append(names, after)
			if same, err := p.fs.Lookup(ctx, a.ID, after); err != nil || same.ID != page[0].Attr.ID {
				t.Errorf("%s/%s is node %d, %v, and %d in its folder", path, after, same.ID, err, page[0].Attr.ID)
			}
			if page[0].Attr.Kind == vfs.KindFolder {
				if up, err := p.fs.Parent(ctx, page[0].Attr.ID); err != nil || up != a.ID {
					t.Errorf("%s/%s is in node %d, %v, not in %d", path, after, up, err, a.ID)
				}
			}
		}
	}
	for path, want := range map[string]string{"/": "d", "/.wh": "at", "/.wh/at": "s", "/.wh/at/s": "d", "/.wh/at/s/d": "f"} {
		if got := list(path); got != want {
			t.Errorf("%s lists %q, want %q", path, got, want)
		}
	}
	old, err := vfs.Resolve(ctx, p.fs, "/.wh/at/s/d")
	if err != nil {
		t.Fatal(err)
	}
	file, err := vfs.Resolve(ctx, p.fs, "/.wh/at/s/d/f")
	if err != nil {
		t.Fatal(err)
	}
	mode := uint32(0o600)
	for what, err := range map[string]error{
		"create":     second(p.fs.Create(ctx, old.ID, "new", vfs.NewNode{Kind: vfs.KindFile})),
		"create .wh": second(p.fs.Create(ctx, vfs.RootID, ".wh", vfs.NewNode{Kind: vfs.KindFolder})),
		"chmod":      second(p.fs.SetAttr(ctx, file.ID, vfs.SetAttr{Mode: &mode})),
		"remove":     p.fs.Remove(ctx, old.ID, "f", false),
		"rename out": p.fs.Rename(ctx, old.ID, "f", vfs.RootID, "f", 0),
		"rename in":  p.fs.Rename(ctx, vfs.RootID, "d", old.ID, "d", 0),
		"to .wh":     p.fs.Rename(ctx, vfs.RootID, "d", vfs.RootID, ".wh", 0),
		"link":       second(p.fs.Link(ctx, file.ID, vfs.RootID, "f")),
		"xattr":      p.fs.SetXattr(ctx, file.ID, "user.a", nil, 0),
	} {
		if !errors.Is(err, vfs.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if list("/") != "d" || list("/.wh/at/s/d") != "f" {
		t.Error("something was changed")
	}
}

func second[T any](_ T, err error) error { return err }

// TestPastTreesAreClosed breaks if trees under .wh/at are held without limit, or a number comes to name another node.
func TestPastTreesAreClosed(t *testing.T) {
	p := historyPod(t, Options{})
	ctx := quickly(t)
	p.write("/f", "first")
	p.snapshot("s0")
	first, err := vfs.Resolve(ctx, p.fs, "/.wh/at/s0/f")
	if err != nil {
		t.Fatal(err)
	}
	for i := range pastTreesMax + 2 {
		p.write("/f", fmt.Sprint("content ", i))
		name := fmt.Sprintf("s%d", i+1)
		p.snapshot(name)
		got, err := readPath(ctx, p.fs, "/.wh/at/"+name+"/f")
		if want := fmt.Sprint("content ", i); err != nil || got != want {
			t.Fatalf("%s: %q, %v", name, got, err)
		}
	}
	if n := len(p.past.trees); n > pastTreesMax {
		t.Errorf("%d trees are open", n)
	}
	if _, err := p.fs.GetAttr(ctx, first.ID); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("a node of a tree that was closed: %v", err)
	}
	if got, err := readPath(ctx, p.fs, "/.wh/at/s0/f"); err != nil || got != "first" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestSnapshotContentsAreRepaired breaks if what only a snapshot has gets no new copy when a pod that held it is gone.
func TestSnapshotContentsAreRepaired(t *testing.T) {
	a := firstPod(t)
	content := randomText(5, 2<<20)
	a.write("/f", content)
	a.snapshot("s")
	a.remove("/f")
	a.settle()
	if _, err := a.Root(quickly(t)); err != nil {
		t.Fatal(err)
	}
	b := joinPod(t, a, "second")
	eventually(t, "the snapshot on the new pod", func() error {
		all, err := b.Snapshots(quickly(t))
		if err == nil && (len(all) != 1 || len(a.connected()) != 1) {
			err = errors.New("not yet")
		}
		return err
	})
	sameRoot(t, a, b)
	for _, p := range []*testPod{a, b} {
		if err := p.placeSnapshots(quickly(t)); err != nil {
			t.Fatal(err)
		}
	}
	a.stop()
	b.forget()
	b.wantAt("s", "/f", content)
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
	content := randomText(8, 2<<20)
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
		ids = append(ids, id)
		_, err := p.store.Trash(ctx, id, func() bool { return false })
		return err
	})
	if err != nil || len(ids) == 0 {
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
