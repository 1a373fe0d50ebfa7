package pod

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// Pods that know no address of each other any more meet by an entry point, as soon as it is set; one that leads to nobody, or to a stranger, hurts nobody.
func TestEntryPoints(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "b")
	sameRoot(t, a, b)
	a.stop()
	b.stop()
	a, b = openPod(t, a.dir), openPod(t, b.dir) // each on another port
	stranger := firstPod(t)
	connected := func() error {
		if !b.net.Connected(a.id) {
			return errors.New("not connected")
		}
		return nil
	}
	b.Tune(quickly(t), Tuning{Entries: []string{"127.0.0.1:1", stranger.net.Addrs()[0]}})
	time.Sleep(200 * time.Millisecond)
	if connected() == nil {
		t.Fatal("they are connected: nothing is tested")
	}
	b.Tune(quickly(t), Tuning{Entries: []string{"127.0.0.1:1", fmt.Sprintf("127.0.0.1:%d", a.ListenPort())}})
	eventually(t, "they meet", connected)
	a.write("/f", "after")
	b.reads("/f", "after")
}

// Copies go to the pods of the highest priority while those are enough, and to others when they are not; a priority over the limit is refused.
func TestPriority(t *testing.T) {
	pods := somePods(t, 4, time.Nanosecond)
	ctx := quickly(t)
	for _, p := range pods[:2] {
		fatal(t, p.SetShare(ctx, Share{Weight: 100, Priority: 5}))
	}
	if err := pods[0].SetShare(ctx, Share{Weight: 100, Priority: 101}); !errors.Is(err, placement.ErrBadEntry) {
		t.Errorf("a priority over the limit: %v", err)
	}
	eventually(t, "all know it", func() error {
		for _, p := range pods {
			for _, o := range pods[:2] {
				if e, ok := p.reg.entry(o.id); !ok || e.Priority() != 5 {
					return fmt.Errorf("%+v", e)
				}
			}
		}
		return nil
	})
	for i := range 6 {
		path := fmt.Sprint("/f", i)
		pods[3].write(path, randomText(uint64(i), 200<<10))
		pods[3].settle()
		settled(t, path, 2, pods...)
		w, err := pods[3].Where(ctx, pods[3].at(path))
		fatal(t, err)
		for _, c := range w.Chunks {
			for _, h := range c.Holders {
				if h.Kind == "whole" && c.ID.Codec() == block.Raw && h.Pod != pods[0].id && h.Pod != pods[1].id {
					t.Errorf("%s has a copy of %s", h.Name, path)
				}
			}
		}
	}
}

// What a pod is to leave free is not free to it.
func TestReserve(t *testing.T) {
	a := firstPod(t)
	a.stop()
	free := func(reserve int64) int64 {
		p := runPod(t, Options{Dir: a.dir, Offline: true, CapacityBytes: 1 << 30, ReserveBytes: reserve})
		defer p.stop()
		return p.usage().Free
	}
	if usual, large := free(0), free(256<<20); usual-large != 192<<20 {
		t.Errorf("%d and %d bytes are free", usual, large)
	}
}
