package store

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// TestPutMany breaks if blocks that are put together are not as they would be one by one: new ones, one that is there twice, a cached copy, one in the
// trash, one that was found damaged.
func TestPutMany(t *testing.T) {
	ctx := t.Context()
	mem := vfs.NewCrashableMem()
	s := openAt(t, mem, Options{SegmentBytes: 64 << 10})
	var list []block.Block
	for seed := range uint64(300) {
		id, b := testBlock(seed, 1+int(seed*97)%3000)
		list = append(list, block.Block{ID: id, Plain: b})
	}
	large, b := testBlock(1000, 300_000)
	list = append(list, list[0], list[3], block.Block{ID: large, Plain: b})
	if err := s.PutCached(ctx, list[1].ID, list[1].Plain); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{2, 3} {
		if err := s.Put(ctx, list[i].ID, list[i].Plain); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Trash(ctx, list[2].ID, nil); err != nil {
		t.Fatal(err)
	}
	r, _, err := s.lookup(list[3].ID)
	if err != nil {
		t.Fatal(err)
	}
	s.setBad(list[3].ID, r, errors.New("test"))
	if err := s.PutMany(ctx, list); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	all := func(s *Store) {
		t.Helper()
		for i, one := range list {
			if owned, _ := s.Has(one.ID); !owned {
				t.Errorf("block %d is not owned", i)
			}
			if got, err := s.Get(ctx, one.ID); err != nil || !bytes.Equal(got, one.Plain) {
				t.Errorf("block %d: %d bytes, %v", i, len(got), err)
			}
		}
	}
	all(s)
	syncHome(t, mem)
	all(openAt(t, mem.CrashClone(vfs.CrashCloneCfg{}), Options{}))
	if err := s.PutMany(ctx, []block.Block{{}}); !errors.Is(err, block.ErrBadID) {
		t.Errorf("the zero ID: %v", err)
	}
	if err := s.PutMany(ctx, append(list[:2:2], block.Block{})); !errors.Is(err, block.ErrBadID) {
		t.Errorf("the zero ID among others: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.PutMany(canceled, list); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended: %v", err)
	}
	if n := len(s.claims.held); n > 0 {
		t.Errorf("%d IDs are claimed for ever", n)
	}
}

// TestPutManyNoSpace: blocks for which there is room are put, though not all fit; what a failed write of many left is none of them after a crash.
func TestPutManyNoSpace(t *testing.T) {
	ctx := t.Context()
	s := openAt(t, vfs.NewMem(), Options{CapacityBytes: 20_000, ReserveBytes: 1000})
	var list []block.Block
	for seed := range uint64(10) {
		id, b := testBlock(seed, 3000)
		list = append(list, block.Block{ID: id, Plain: b})
	}
	if err := s.PutMany(ctx, list); !errors.Is(err, ErrNoSpace) {
		t.Errorf("10 blocks of 3000 bytes into 20,000: %v", err)
	}
	if owned, _ := s.Has(list[4].ID); !owned {
		t.Error("a block was not put though there was room")
	}

	mem := vfs.NewCrashableMem()
	fails := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt {
			return errorfs.ErrInjected
		}
		return nil
	})}
	s = openAt(t, errorfs.Wrap(mem, &fails), Options{})
	if err := s.PutMany(ctx, list[:2]); err != nil {
		t.Fatal(err)
	}
	fails.On()
	if err := s.PutMany(ctx, list[2:]); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("a write that fails: %v", err)
	}
	fails.Off()
	for i, one := range list {
		if owned, _ := s.Has(one.ID); owned != (i < 2) {
			t.Errorf("block %d: owned %v", i, owned)
		}
	}
	if err := s.PutMany(ctx, list[3:5]); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	syncHome(t, mem)
	again := openAt(t, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}), Options{})
	for i, one := range list {
		if owned, _ := again.Has(one.ID); owned != (i < 2 || i == 3 || i == 4) {
			t.Errorf("block %d after a crash: owned %v", i, owned)
		}
	}
}

// syncHome makes the folders of the store durable, which are not its own affair.
func syncHome(t *testing.T, fs vfs.FS) {
	t.Helper()
	for _, dir := range []string{"/", "home"} {
		if err := syncDir(fs, dir); err != nil {
			t.Fatal(err)
		}
	}
}
