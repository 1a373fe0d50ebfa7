package pod

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// noLog are options under which a pod keeps as few commits as it may.
func noLog(dir string) Options {
	return Options{Dir: dir, Listen: []string{"127.0.0.1:0"}, LogKeep: 1, LogMax: 1}
}

// joinDir makes a pod that will join the network of another, and does not run.
func joinDir(t *testing.T, by *testPod, name string) string {
	t.Helper()
	token, err := by.Invite(quickly(t), "writer", time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Join(quickly(t), dir, JoinOptions{Token: token, PodName: name}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// truncated waits until a pod's log does not begin at the beginning, nor at what another pod had.
func (p *testPod) truncated(had state.VV) {
	p.t.Helper()
	eventually(p.t, "the log is cut", func() error {
		if _, err := p.Root(quickly(p.t)); err != nil { // its checkpoint may have come when the other pod had less
			return err
		}
		p.truncateLog(quickly(p.t))
		if _, err := p.db.Log(quickly(p.t), had, 1); !errors.Is(err, state.ErrTruncated) {
			return fmt.Errorf("log of everything: %w", err)
		}
		return nil
	})
}

// TestCatchUpByTree: a pod that is new, and one that was away, get what the log does not have any more by the tree, and go on by the log. If it
// fails, they never show what the others do.
func TestCatchUpByTree(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "first"}); err != nil {
		t.Fatal(err)
	}
	a := runPod(t, noLog(dir))
	b := runPod(t, noLog(joinDir(t, a, "second")))
	for i := range 200 {
		a.write(fmt.Sprintf("/a%d", i), fmt.Sprint("text ", i))
	}
	sameRoot(t, a, b)
	a.truncated(state.VV{})
	b.truncated(state.VV{})

	cDir := joinDir(t, a, "third")
	c := openPod(t, cDir)
	sameRoot(t, a, b, c)
	if got := c.CatchUps(); got.Trees == 0 {
		t.Errorf("the new pod caught up without a tree: %+v", got)
	}
	c.reads("/a7", "text 7")
	c.write("/c", "from the third")
	a.reads("/c", "from the third")
	sameRoot(t, a, b, c)
	c.clean()
	had := c.db.VV()
	c.stop()

	for i := range 20 {
		a.write(fmt.Sprintf("/a%d", i), fmt.Sprint("other text ", i))
		b.write(fmt.Sprintf("/b%d", i), "new")
	}
	sameRoot(t, a, b)
	a.truncated(had)
	b.truncated(had)
	// What it did alone meanwhile is neither lost nor loses anything.
	alone := openPodOffline(t, cDir)
	alone.write("/a3", "made apart")
	alone.settle()
	alone.stop()
	c = openPod(t, cDir)
	sameRoot(t, a, b, c)
	got := c.CatchUps()
	if got.Trees == 0 || got.Rounds > 8 {
		t.Errorf("the pod that was away caught up so: %+v", got)
	}
	c.reads("/a5", "other text 5")
	c.reads("/b5", "new")
	if names := c.conflictsOf("a3"); len(names) != 2 {
		t.Errorf("both contents of a3 should be there: %v", names)
	}
	for _, p := range []*testPod{a, b, c} {
		p.clean()
	}
}

// TestCatchUpCost: a pod that missed a few changes of many files asks as often as the tree is high, and gets the nodes on the ways to what changed.
func TestCatchUpCost(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes 20,000 files")
	}
	t.Parallel()
	const files, folders, changes = 20_000, 20, 10
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "first"}); err != nil {
		t.Fatal(err)
	}
	a := runPod(t, noLog(dir))
	body := dag.InlineBody([]byte("text")).Encode()
	for i := range folders {
		parent, err := a.db.Create(state.RootIno, fmt.Sprint("d", i), vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}, state.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		list := make([]state.NewFile, files/folders)
		for j := range list {
			list[j] = state.NewFile{
				Parent: parent.ID, Name: fmt.Sprint("f", j), Node: vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644},
				CreateOptions: state.CreateOptions{Content: &state.NewContent{Size: 4, Body: body}},
			}
		}
		if _, err := a.db.Import(quickly(t), list); err != nil {
			t.Fatal(err)
		}
	}
	a.settle()
	other := runPod(t, noLog(joinDir(t, a, "other"))) // what nobody else has is not cut
	bDir := joinDir(t, a, "second")
	b := openPod(t, bDir)
	sameRoot(t, a, b, other)
	had := b.db.VV()
	b.stop()
	for i := range changes {
		a.write(fmt.Sprintf("/d%d/f%d", i, 7*i), "other text")
	}
	sameRoot(t, a, other)
	a.truncated(had)
	other.truncated(had)
	b = openPod(t, bDir)
	sameRoot(t, a, b)
	got, levels := b.CatchUps(), int64(rowLevels(t, a))
	t.Logf("%d levels, %+v", levels, got)
	if got.Trees != 1 || levels < 2 {
		t.Fatalf("%d trees of %d levels", got.Trees, levels)
	}
	// The root and the levels below it, one after the other; of each change one way down, and its neighbour now and then.
	if got.Rounds > levels+1 || got.TreeNodes > 2*changes*levels || got.TreeBytes > 2*changes*levels*16<<10 {
		t.Errorf("%d changes of %d files in a tree of %d levels cost %+v", changes, files, levels, got)
	}
}

// rowLevels is how many levels a pod's tree of rows has.
func rowLevels(t *testing.T, p *testPod) int {
	t.Helper()
	ctx := quickly(t)
	b, err := p.store.Get(ctx, p.db.LastCheckpoint().State)
	if err != nil {
		t.Fatal(err)
	}
	root, err := state.DecodeRoot(b)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = p.store.Get(ctx, root.Rows); err != nil {
		t.Fatal(err)
	}
	n, err := state.DecodeRowNode(b)
	if err != nil {
		t.Fatal(err)
	}
	return n.Level + 1
}

// conflictsOf are the names in the root that begin with a stem.
func (p *testPod) conflictsOf(stem string) (out []string) {
	p.t.Helper()
	entries, err := p.db.List(state.RootIno, "", 0)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name == stem || len(e.Name) > len(stem) && e.Name[:len(stem)+1] == stem+"." {
			out = append(out, e.Name)
		}
	}
	return out
}

// TestWalkPrunes: nodes that are here are not fetched again, those that the first pod lost come from another, and the log is taken where it is shorter.
func TestWalkPrunes(t *testing.T) {
	t.Parallel()
	a := firstPod(t)
	b := joinPod(t, a, "second")
	for i := range 400 {
		a.write(fmt.Sprintf("/f%d", i), "x")
	}
	sameRoot(t, a, b)
	ctx := quickly(t)
	id := b.db.LastCheckpoint().State
	walk := func(from ident.Pod, logBytes int64) (*treeWalk, error) {
		w := &treeWalk{p: b.Pod, from: from}
		return w, w.walk(ctx, id, logBytes)
	}
	if w, err := walk(a.id, -1); err != nil || w.fetched != 0 {
		t.Errorf("%d nodes came that are here: %v", w.fetched, err)
	}
	data, err := b.store.Get(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	root, err := state.DecodeRoot(data)
	if err != nil {
		t.Fatal(err)
	}
	_, leaves, err := (&treeWalk{p: b.Pod}).below(ctx, []block.ID{root.Rows}, -1)
	if err != nil || len(leaves) < 3 {
		t.Fatalf("%d leaves: %v", len(leaves), err)
	}
	for _, from := range []ident.Pod{a.id, {1}} { // the other is nobody, so that a is asked in its place
		for _, lost := range []block.ID{id, root.Rows, leaves[0], leaves[2]} {
			if err := b.store.Delete(ctx, lost); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := walk(from, 1); !errors.Is(err, errLogIsShorter) {
			t.Errorf("a log of one byte is the longer way: %v", err)
		}
		if w, err := walk(from, -1); err != nil || w.fetched != 2 || w.rounds != 1 {
			t.Errorf("%+v: %v", w, err)
		}
	}
}

// TestWalkRefuses breaks if a tree of another shape than it says, or of no end, is walked.
func TestWalkRefuses(t *testing.T) {
	t.Parallel()
	p := firstPod(t)
	ctx := quickly(t)
	for i := range 300 {
		p.write(fmt.Sprintf("/f%d", i), "x")
	}
	if _, err := p.Root(ctx); err != nil {
		t.Fatal(err)
	}
	b, err := p.store.Get(ctx, p.db.LastCheckpoint().State)
	if err != nil {
		t.Fatal(err)
	}
	root, err := state.DecodeRoot(b)
	if err != nil {
		t.Fatal(err)
	}
	w := &treeWalk{p: p.Pod}
	level, next, err := w.below(ctx, []block.ID{root.Rows}, -1)
	if err != nil || level != 1 || len(next) < 2 {
		t.Fatalf("level %d, %d nodes: %v", level, len(next), err)
	}
	for name, ids := range map[string][]block.ID{"a node that is none": {p.db.LastCheckpoint().State}, "a leaf": next[:1]} {
		if _, _, err := w.below(ctx, ids, 2); !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDivergedAlarm breaks if a pod with another state of the same history is not told of, or one whose state is the same again is still.
func TestDivergedAlarm(t *testing.T) {
	t.Parallel()
	a := firstPod(t)
	b := joinPod(t, a, "second")
	a.write("/f", "x")
	sameRoot(t, a, b)
	ctx := quickly(t)
	// Of a faulty pod comes a root of this history without its rows.
	mine := b.db.LastCheckpoint()
	root := cbor.AppendBytes(cbor.AppendUint(cbor.AppendArray(nil, 5), 2), b.reg.network[:])
	root = cbor.AppendArray(mine.VV.Append(cbor.AppendNull(root)), 0)
	id := block.Sum(block.DagCBOR, root)
	if err := a.store.Put(ctx, id, root); err != nil {
		t.Fatal(err)
	}
	b.pulls.compare(a.id, &state.Head{VV: mine.VV, Checkpoint: id})
	eventually(t, "alarm", func() error {
		s, err := b.Status(ctx)
		if err == nil && s.Healthy {
			err = errors.New("all is well")
		}
		return err
	})
	b.pulls.compare(a.id, &state.Head{VV: mine.VV, Checkpoint: mine.State})
	if b.peers.of(a.id).diverged {
		t.Error("the alarm does not end")
	}
}

// TestCollectJoining breaks if a collection takes the blocks of a join that a stop of the pod cut off: it could not be ended, and until then
// nothing can be committed.
func TestCollectJoining(t *testing.T) {
	t.Parallel()
	ctx := quickly(t)
	a := firstPod(t)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for i := range 1500 {
		g.Go(func() error {
			_, err := a.PutFile(gctx, state.RootIno, fmt.Sprintf("f%d", i), FileMeta{Mode: 0o644}, 1, strings.NewReader("x"))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	want, err := a.Root(ctx)
	if err != nil {
		t.Fatal(err)
	}
	dir := joinDir(t, a, "second")
	open := func() *Pod { // it doesn't run: a pod that ends in good order ends the join
		p, err := Open(ctx, Options{Dir: dir, Offline: true, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	b := open()
	offer, err := a.db.Offer(ctx, b.db.VV())
	if err != nil {
		t.Fatal(err)
	}
	err = a.db.CheckpointBlocks(ctx, func(id block.ID) error {
		wire, err := a.store.Wire(ctx, id)
		if err == nil {
			err = b.store.PutWire(ctx, id, wire, false)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(ctx)
	defer stop()
	b.db.Watch(func([]vfs.Change, bool) { stop() })
	if _, err := b.db.Join(stopped, offer); !errors.Is(err, context.Canceled) {
		t.Fatalf("a join that should be cut off: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open()
	if id, err := b.db.Joining(); err != nil || id.IsZero() {
		t.Fatalf("no join is under way: %v", err)
	}
	if _, err := b.Collect(ctx, CollectOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.checkpoint(ctx); err != nil || got.Tree != want {
		t.Errorf("root %s, not %s: %v", got.Tree, want, err)
	}
	err = b.Fsck(ctx, false, func(p Problem) { t.Errorf("fsck: %s: %s", p.Where, p.What) })
	if err := errors.Join(err, b.Close()); err != nil {
		t.Error(err)
	}
}
