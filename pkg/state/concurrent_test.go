package state

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestConcurrent lets operations, reads, commits, checkpoints and commits of another pod run at once; with -race it finds what is not guarded.
func TestConcurrent(t *testing.T) {
	n := newPods()
	d, other := n.open(t, 1), n.open(t, 2)
	g, ctx := errgroup.WithContext(t.Context())
	const count = 100
	for w := range 2 {
		g.Go(func() error {
			for i := range count {
				c := inline(fmt.Sprint(i))
				f, err := d.Create(RootIno, fmt.Sprintf("%d-%d", w, i), vfs.NewNode{Kind: vfs.KindFile}, CreateOptions{})
				if err != nil {
					return err
				}
				if _, err := d.SetContent(f.ID, c); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		for range count / 5 {
			if _, err := d.List(RootIno, "", 0); err != nil {
				return err
			}
			if err := d.Check(ctx, func(p string) { t.Error(p) }); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		for i := range count / 5 {
			if _, err := other.Create(RootIno, fmt.Sprintf("other-%d", i), vfs.NewNode{Kind: vfs.KindFolder}, CreateOptions{}); err != nil {
				return err
			}
			if _, err := other.Commit(ctx); err != nil {
				return err
			}
			log, err := other.Log(ctx, d.VV(), 1<<20)
			if err != nil {
				return err
			}
			if _, err := d.Apply(ctx, log); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		for range count / 10 {
			if _, err := d.Commit(ctx); err != nil {
				return err
			}
			if _, err := d.Checkpoint(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	exchange(t, d, other)
	wantSame(t, []*DB{d, other})
}

func TestSnapshots(t *testing.T) {
	p := newApart(t)
	cp := must[CheckpointInfo](t)(p.a.Checkpoint(t.Context()))
	if err := p.a.SetSnapshot("s", cp.Tree); err != nil {
		t.Fatal(err)
	}
	exchange(t, p.a, p.b)
	if all := must[[]Snapshot](t)(p.b.Snapshots()); len(all) != 1 || all[0].Name != "s" || all[0].Root != cp.Tree || all[0].Author != p.a.o.Actor || all[0].HLC == 0 {
		t.Errorf("%v", all)
	}
	wantSame(t, []*DB{p.a, p.b})
	if err := p.b.SetSnapshot("s", block.ID{}); err != nil {
		t.Fatal(err)
	}
	exchange(t, p.a, p.b)
	if all := must[[]Snapshot](t)(p.a.Snapshots()); len(all) != 0 {
		t.Errorf("%v", all)
	}
}

// TestLostBlocks: a checkpoint whose blocks are gone is made again, with the same roots.
func TestLostBlocks(t *testing.T) {
	p := newApart(t)
	p.write(p.a, "f.txt", "A")
	p.write(p.b, "f.txt", "B")
	exchange(t, p.a, p.b)
	must[CheckpointInfo](t)(p.a.Checkpoint(t.Context()))
	blocks, ok := p.a.o.Blocks.(*memBlocks)
	if !ok {
		t.Fatal("other blocks")
	}
	clear(blocks.m)
	p.make(p.a, "d/new", "new")
	p.want(with(map[string]string{"/f.txt": "B", "/f!pod1.txt": "A", "/d/new": "new"}))
	root := p.a.LastCheckpoint().Tree
	for name := range strings.SplitSeq("d/new", "/") {
		e, ok, err := dag.LookupFolder(t.Context(), blocks, root, name)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", name, ok, err)
		}
		root = e.Child
	}
}
