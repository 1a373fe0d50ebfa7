package pod

import (
	"context"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/store"
)

// TestHasIsDurable breaks if a pod says that it has blocks that a loss of power would take from it: others count them for what a policy promises.
func TestHasIsDurable(t *testing.T) {
	pods := metPods(t, 2)
	a, b, ctx := pods[0], pods[1], quickly(t)
	a.write("/f", "a commit")
	sameRoot(t, a, b)
	disk, ok := b.o.FS.(*pebblevfs.MemFS)
	if !ok {
		t.Fatal("the pod is on no disk in memory")
	}
	for i, ask := range []func(context.Context, ident.Pod, block.ID) (byte, error){
		func(ctx context.Context, pod ident.Pod, id block.ID) (byte, error) {
			has, err := a.askHas(ctx, pod, []block.ID{id})
			if err != nil {
				return 0, err
			}
			return has[0], nil
		},
		func(ctx context.Context, pod ident.Pod, id block.ID) (byte, error) {
			c := &placing{wanted: wanted{id: id}}
			err := a.askKept(ctx, pod, []*placing{c})
			if err != nil || !c.holders[0].Whole {
				return 0, err
			}
			return hasOwned, nil
		},
	} {
		plain := []byte(randomText(uint64(1100+i), 10_000))
		id := block.Sum(block.Raw, plain)
		if err := b.Pod.put(ctx, id, plain); err != nil {
			t.Fatal(err)
		}
		if has, err := ask(ctx, b.id, id); err != nil || has&^hasShort != hasOwned {
			t.Fatalf("question %d: %d, %v", i, has, err)
		}
		crashed, err := store.Open(disk.CrashClone(pebblevfs.CrashCloneCfg{}), b.dir, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if owned, _ := crashed.Has(id); !owned {
			t.Errorf("question %d: a block that others rely on is gone after a loss of power", i)
		}
		if err := crashed.Close(); err != nil {
			t.Error(err)
		}
	}
}
