package pod

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestFlushAfterOthersStaged: what was written to a file was named because somebody else asked for that (a snapshot, a sync of everything, another handle's
// close), before its own close. If it fails, that close says that the bytes are as durable as the policy asks for although no other pod has them.
func TestFlushAfterOthersStaged(t *testing.T) {
	p := lonePod(t, Options{})
	ctx := quickly(t)
	if err := p.SetPolicy(ctx, vfs.RootID, "replica:2", durabilityFull); err != nil {
		t.Fatal(err)
	}
	a, err := p.fs.Create(ctx, vfs.RootID, "f", vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	flush := func(f vfs.File) error {
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		return f.Flush(short)
	}
	f, err := p.fs.Open(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(ctx, []byte("text"), 0); err != nil {
		t.Fatal(err)
	}
	p.settle()
	for range 2 {
		if err := flush(f); !errors.Is(err, ErrNotSafe) {
			t.Errorf("close: %v, want %v", err, ErrNotSafe)
		}
	}
	if err := p.SetPolicy(ctx, vfs.RootID, "none", durabilityFull); err != nil {
		t.Fatal(err)
	}
	if err := f.Flush(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := p.SetPolicy(ctx, vfs.RootID, "replica:2", durabilityFull); err != nil {
		t.Fatal(err)
	}
	if err := flush(f); err != nil {
		t.Errorf("close of what was safe before and not written since: %v", err)
	}
	g, err := p.fs.Open(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := flush(g); err != nil {
		t.Errorf("close of what was only read: %v", err)
	}
}

// TestPutBesideRemove: a file is removed while somebody puts new contents at its name and somebody else has it open. If it fails, the file that is made again is the
// removed one's node: what is written to it by its name is dropped, and its fsync says that all is well.
func TestPutBesideRemove(t *testing.T) {
	p := newStill(t)
	ctx := quickly(t)
	f := p.open("f")
	p.puts(f, 0, "old text")
	p.folds()
	a, err := p.fs.Lookup(ctx, vfs.RootID, "f")
	if err != nil {
		t.Fatal(err)
	}
	n := p.inUse(a.ID)
	defer p.release(n)
	n.mu.Lock()
	put := make(chan error, 1)
	go func() {
		_, err := p.giveContents(ctx, vfs.RootID, "f", FileMeta{Mode: 0o640}, dag.InlineBody([]byte("put")), nil)
		put <- err
	}()
	eventually(t, "it has found the file", func() error {
		p.nodes.mu.Lock()
		defer p.nodes.mu.Unlock()
		if n.refs < 3 { // the handle, this test, giveContents
			return errors.New("not yet")
		}
		return nil
	})
	row, err := p.db.Remove(vfs.RootID, "f", false)
	if err != nil || row.NLink != 0 {
		t.Fatal(row, err)
	}
	n.attr, n.orphan = row.Attr, true // as orphaned does
	n.mu.Unlock()
	if err := <-put; err != nil {
		t.Fatal(err)
	}
	if err := p.pass(ctx); err != nil {
		t.Fatal(err)
	}
	p.holds("f", "put")
	g := p.open("f")
	p.puts(g, 0, "PUT")
	if err := g.Close(ctx); err != nil {
		t.Fatal(err)
	}
	p = p.again()
	p.folds()
	p.holds("f", "PUT")
}

// TestCopyBesideRemove: a file is copied by its number, and its last name went just before. If it fails, the copy lacks bytes that were written and not cut yet.
func TestCopyBesideRemove(t *testing.T) {
	p := newStill(t)
	ctx := t.Context()
	f := p.open("f")
	write(p, f, 0, "text")
	a, err := p.fs.Lookup(ctx, vfs.RootID, "f")
	if err == nil {
		err = p.fs.Remove(ctx, vfs.RootID, "f", false)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.CopyFile(ctx, a.ID, vfs.RootID, "copy", FileMeta{}); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("copy: %v, want %v", err, vfs.ErrNotExist)
	}
}

// TestSaveAgainBesideMissing: of two files that could not be written at their close one still can't be, since blocks of it are nowhere. If it fails, the other waits for
// it, and is lost with the process.
func TestSaveAgainBesideMissing(t *testing.T) {
	p := newStill(t)
	ctx := t.Context()
	f, g := p.open("f"), p.open("g")
	n := f.(*file).n //nolint:forcetypeassert // a view opens only these
	n.mu.Lock()
	n.body = dag.Body{Size: 1 << 30, Tree: block.Sum(block.DagCBOR, []byte("nowhere")), Depth: 1}
	n.attr.Size = n.body.Size
	n.mu.Unlock()
	write(p, f, 1<<20, "text of f")
	write(p, g, 0, randomText(5, 2000))
	if err := f.Close(ctx); !errors.Is(err, block.ErrUnavailable) {
		t.Fatalf("close: %v, want %v", err, block.ErrUnavailable)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := g.Close(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("close: %v, want %v", err, context.Canceled)
	}
	if err := p.pass(ctx); err == nil {
		t.Error("a pass does not tell that a file could not be written")
	}
	if a, err := p.db.Lookup(vfs.RootID, "g"); err != nil || a.Size != 2000 {
		t.Errorf("%d bytes of the other are named, %v", a.Size, err)
	}
}

// TestCollectBesidePeersPut: another pod puts a block and a fragment, and is told that a third is here, between the two halves of a collection. If it fails, they
// are taken out of use although the other was told that they are here.
func TestCollectBesidePeersPut(t *testing.T) {
	p := newStill(t)
	ctx := t.Context()
	from, h := ident.Pod{7}, handler{p.Pod}
	body := func(seed uint64) (id block.ID, plain []byte) {
		plain = randomBytes(seed, 200<<10)
		return block.Sum(block.Raw, plain), plain
	}
	had, plain := body(1)
	if err := p.store.Put(ctx, had, plain); err != nil {
		t.Fatal(err)
	}
	put, plain := body(2)
	other := newStill(t)
	if err := other.store.Put(ctx, put, plain); err != nil {
		t.Fatal(err)
	}
	wire, err := other.store.Wire(ctx, put)
	if err != nil {
		t.Fatal(err)
	}
	whole, plain := body(3)
	if err := other.store.Put(ctx, whole, plain); err != nil {
		t.Fatal(err)
	}
	set := other.coding.set()
	form, err := other.store.Wire(ctx, whole)
	if err == nil {
		err = other.coding.codec.Cut(set, whole, form, 2, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	cut := block.Fragment{Stripe: set.Record().Stripe, I: 1}
	piece, err := set.AppendWire(nil, 1)
	if err != nil {
		t.Fatal(err)
	}

	p.leases.begin()
	defer p.leases.end()
	m, err := p.mark(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.PutBlock(ctx, from, put, wire), h.PutFragment(ctx, from, cut, piece), h.PutSync(ctx, from)); err != nil {
		t.Fatal(err)
	}
	if !h.HaveBlock(ctx, from, had) {
		t.Fatal("it denies what it has")
	}
	c := &collection{p: p.Pod, live: m.live, start: p.clock.Now()}
	if err := errors.Join(c.sweep(ctx), c.sweepFragments(ctx)); err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]block.ID{"a block that was put": put, "a block that was told": had} {
		if owned, _ := p.store.Has(id); !owned {
			t.Errorf("%s is out of use", name)
		}
	}
	if !p.store.HasFragment(cut) {
		t.Error("a fragment that was put is out of use")
	}
}

// TestDrainCountsNodes: of a file's blocks a node still has to go elsewhere from a pod that is drained. If it fails, the pod is said to be empty, may be
// removed, and takes the way to the file's chunks along.
func TestDrainCountsNodes(t *testing.T) {
	p := newStill(t)
	ctx := t.Context()
	data := []byte("a node")
	c := &placing{wanted: wanted{id: block.Sum(block.DagCBOR, data), size: int64(len(data))}}
	if err := p.store.Put(ctx, c.id, data); err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		name string
		plan placement.Action
		want int64
	}{
		{"it is to be copied", placement.Action{Kind: placement.CopyWhole, From: p.id, To: ident.Pod{7}}, c.size},
		{"others have it", placement.Action{Kind: placement.Release, To: p.id}, 0},
	} {
		r := p.spread.newRound()
		c.plan = placement.Plan{Actions: []placement.Action{one.plan}}
		r.note(c)
		if r.needed != one.want {
			t.Errorf("%s: %d bytes are needed, want %d", one.name, r.needed, one.want)
		}
	}
}

// TestWrongClockDropsNothing: this machine's clock is years ahead, and other pods say so: most of them, so that stamps are put right, or the only other one. If it fails,
// a clock that is wrong for a moment takes all automatic snapshots from all pods, and empties the trash.
func TestWrongClockDropsNothing(t *testing.T) {
	const ahead = 2 * 365 * day
	for name, say := range map[string]func(p *testPod){
		"most say so": func(p *testPod) { p.clocks.off = -ahead; p.stamps.ahead.Store(int64(-ahead)) },
		"one says so": func(p *testPod) { p.clocks.off = -ahead },
	} {
		t.Run(name, func(t *testing.T) {
			turn := &shifted{}
			p := historyPod(t, Options{Clock: turn})
			ctx := quickly(t)
			p.write("/f", "one")
			if err := p.applySnapshotRule(ctx); err != nil {
				t.Fatal(err)
			}
			before, err := p.Snapshots(ctx)
			if err != nil || len(before) != 1 {
				t.Fatal(before, err)
			}
			p.write("/f", "two")
			garbage := block.Sum(block.Raw, []byte("garbage"))
			if err := p.store.Put(ctx, garbage, []byte("garbage")); err != nil {
				t.Fatal(err)
			}
			p.collect(CollectOptions{})
			if !p.store.InTrash(garbage) {
				t.Fatal("nothing is in the trash")
			}
			turn.by(ahead)
			p.clocks.mu.Lock()
			say(p)
			p.clocks.mu.Unlock()
			if err := p.applySnapshotRule(ctx); err != nil {
				t.Fatal(err)
			}
			after, err := p.Snapshots(ctx)
			if err != nil {
				t.Fatal(err)
			}
			still := false
			for _, s := range after {
				still = still || s.Name == before[0].Name
			}
			if !still {
				t.Errorf("the snapshot is gone; left are %v", after)
			}
			if err := p.spread.everything(ctx); err != nil {
				t.Fatal(err)
			}
			p.collect(CollectOptions{})
			if !p.store.InTrash(garbage) {
				t.Error("the trash is emptied before its time")
			}
		})
	}
}
