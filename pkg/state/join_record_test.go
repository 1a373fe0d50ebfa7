package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestJoiningLongRow: a row that is too long for the tree of rows stays while a join that was begun needs it. If this fails, a garbage collection
// between takes it, and the pod never ends the join, and commits nothing any more.
func TestJoiningLongRow(t *testing.T) {
	n := newJoinPods()
	a, b := n.open(t, 1), n.open(t, 2)
	for i := range 30 {
		mkfile(t, a, RootIno, fmt.Sprint(i), "x")
	}
	long := mkfile(t, a, RootIno, "long", "x")
	pins := make([]ident.Pod, dag.ValueMax/32)
	for i := range pins {
		binary.BigEndian.PutUint32(pins[i][:], uint32(i))
	}
	if err := a.SetWish(long.ID, WishEdit{Pin: pins}); err != nil {
		t.Fatal(err)
	}
	must[int](t)(a.Commit(t.Context()))
	row := block.Sum(block.Raw, must[[]byte](t)(get(a.db, WishKey(long.ID))))
	o := offer(t, a, b)
	b.joinRows = 4
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.Watch(func([]vfs.Change, bool) { cancel() })
	if _, err := b.Join(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("a join that is cut off: %v", err)
	}
	needed := false
	err := b.JoiningBlocks(t.Context(), func(id block.ID) error {
		needed = needed || id == row
		return nil
	})
	if err != nil || !needed {
		t.Errorf("the row's block is not needed: %v", err)
	}
	must[int](t)(b.Commit(t.Context())) // ends the join
	wantSame(t, []*DB{a, b})
}
