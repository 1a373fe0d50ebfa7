package state

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// failingBlocks takes no more blocks once it has taken some.
type failingBlocks struct {
	block.Store

	left atomic.Int64 // below 0: without end
}

var errNoBlocks = errors.New("no more blocks")

func (b *failingBlocks) Put(ctx context.Context, id block.ID, plain []byte) error {
	if b.left.Load() >= 0 && b.left.Add(-1) <= 0 {
		b.left.Store(0)
		return errNoBlocks
	}
	return b.Store.Put(ctx, id, plain)
}

// TestCheckpointInParts: one that changes more than is done at a time, after others that failed midway, gives the trees that a pod makes which sees all of it
// at once: if it fails, changes are lost from trees, and converged pods show other roots.
func TestCheckpointInParts(t *testing.T) {
	n := newPods()
	o := n.options(1, pebblevfs.NewMem())
	blocks := &failingBlocks{Store: o.Blocks}
	blocks.left.Store(-1)
	o.Blocks = blocks
	d := openWith(t, o)
	dir := mkdir(t, d, RootIno, "dir")
	name := func(i int) string { return fmt.Sprintf("f%06d", i*7919%100003) }
	files := editBatch + 500
	for i := range files {
		mkfile(t, d, dir.ID, name(i), fmt.Sprint(i))
	}
	must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	mode := uint32(0o600)
	for round := range 3 {
		for i := round; i < files; i += 2 + round {
			if i%10 == 0 { // some are removed
				continue
			}
			f := must[Node](t)(d.Lookup(dir.ID, name(i)))
			must[Node](t)(d.SetAttr(f.ID, vfs.SetAttr{Mode: &mode}))
		}
		must[Node](t)(d.Remove(dir.ID, name(10*round), false))
		mkdir(t, d, dir.ID, fmt.Sprint("sub", round))
		mode++
		if blocks.left.Store(20); round == 2 {
			blocks.left.Store(-1)
		}
		if _, err := d.Checkpoint(t.Context()); (round < 2) != errors.Is(err, errNoBlocks) {
			t.Fatalf("checkpoint %d: %v", round, err)
		}
	}
	other := n.open(t, 2)
	pull(t, other, d)
	wantSame(t, []*DB{d, other})
	if got := len(must[[]string](t)(other.Names(dir.ID, "", 0))); got != files {
		t.Errorf("%d names, want %d", got, files)
	}
}
