package pod

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestFreeze breaks if what a pod has is made again while it is restarted as it said, or is not afterwards, or if it takes changes meanwhile.
func TestFreeze(t *testing.T) {
	pods := metPods(t, 4)
	a, b, ctx := pods[0], pods[3], quickly(t)
	ruled(t, map[string]string{"policy": "replica:2", "suspect": "5ms", "down": "10ms", "repair": "20ms", "out": "30ms", "lower": "1ms"}, pods...)
	for i := range 8 {
		a.write(fmt.Sprintf("/%d", i), randomText(uint64(1901+i), 100<<10))
	}
	sameRoot(t, pods...)
	for i := range 8 {
		settled(t, fmt.Sprintf("/%d", i), 2, pods...) // no copy too many that may still go
	}
	if _, err := b.Freeze(ctx, 2*placement.FreezeMax); !errors.Is(err, vfs.ErrInvalid) {
		t.Errorf("frozen for two days: %v", err)
	}
	if _, err := b.Freeze(ctx, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := writeFS(ctx, b.fs, "/0", "x"); !errors.Is(err, vfs.ErrReadOnly) {
		t.Errorf("a change on a frozen pod: %v", err)
	}
	left := pods[:3]
	know := func(frozen bool) {
		t.Helper()
		eventually(t, "others know", func() error {
			for _, p := range left {
				if p.frozen(b.id) != frozen {
					return errors.New("not yet")
				}
			}
			return nil
		})
	}
	know(true)
	gone(b)
	eventually(t, "it is down", func() error {
		for _, p := range left {
			if s := p.states()[b.id]; s != "down" {
				return errors.New(s)
			}
		}
		return nil
	})
	owned := func() (n int64) {
		for _, p := range left {
			n += p.store.Usage().OwnedBytes
		}
		return n
	}
	rounds := func() {
		t.Helper()
		for _, p := range left {
			if err := errors.Join(p.sayOuts(ctx, time.Now().Add(time.Hour), time.Time{}), p.spread.everything(ctx)); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := owned()
	rounds()
	if after := owned(); after > before+100<<10 { // nodes of the trees
		t.Errorf("%d bytes were made again of a frozen pod", after-before)
	}
	if a.reg.isOut(b.id) {
		t.Error("a frozen pod is out")
	}
	b = again(t, b)
	eventually(t, "it takes changes again", func() error { return errors.Join(b.Unfreeze(ctx), writeFS(ctx, b.fs, "/0", "x")) })
	a.reads("/0", "x")
	know(false)
	for i := range 8 {
		settled(t, fmt.Sprintf("/%d", i), 2, a, pods[1], pods[2], b)
	}
	before = owned()
	gone(b)
	eventually(t, "it is missed", func() error {
		rounds()
		if owned() <= before+100<<10 {
			return fmt.Errorf("nothing is made again: %d bytes were there, now %d; it is %s", before, owned(), a.states()[b.id])
		}
		return nil
	})
}
