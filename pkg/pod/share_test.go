package pod

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// TestShareLimits breaks if pod.toml may say what the layout does not take, or may not say what it does.
func TestShareLimits(t *testing.T) {
	key, err := config.PodKeys().Find("weight")
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Check(fmt.Sprint(placement.WeightMax)); err != nil {
		t.Error(err)
	}
	if key.Check(fmt.Sprint(placement.WeightMax+1)) == nil {
		t.Error("a weight over the limit of the layout")
	}
}

// TestSetShare breaks if a pod that becomes a portal goes on being given what others write, or if its zone and weight are not known to others, or forgotten.
func TestSetShare(t *testing.T) {
	pods := somePods(t, 3, time.Nanosecond)
	a, c, ctx := pods[0], pods[2], quickly(t)
	if err := c.SetShare(ctx, Share{Weight: 7, Zone: "no spaces"}); !errors.Is(err, placement.ErrBadEntry) {
		t.Errorf("a zone with a space: %v", err)
	}
	if err := c.SetShare(ctx, Share{Weight: placement.WeightMax + 1}); !errors.Is(err, placement.ErrBadEntry) {
		t.Errorf("too much weight: %v", err)
	}
	known := func(p *testPod, want Share) {
		t.Helper()
		eventually(t, "the share is known", func() error {
			if e, ok := p.reg.entry(c.id); !ok || e.Weight != want.Weight || e.Zone != want.Zone || e.Class != want.Class {
				return fmt.Errorf("%+v", e)
			}
			return nil
		})
	}
	want := Share{Weight: 250, Zone: "cellar", Class: "hdd"}
	if err := c.SetShare(ctx, want); err != nil {
		t.Fatal(err)
	}
	known(a, want)
	if err := c.SetShare(ctx, Share{Zone: "cellar"}); err != nil {
		t.Fatal(err)
	}
	known(a, Share{Zone: "cellar"})
	if a.reg.layout().Len() != 2 {
		t.Errorf("%d pods store data, want 2", a.reg.layout().Len())
	}
	for i := range 8 {
		a.write(fmt.Sprint("/f", i), randomText(uint64(i), 200<<10))
	}
	a.settle()
	for i := range 8 {
		settled(t, fmt.Sprint("/f", i), 2, a, pods[1])
	}
	if err := c.SetShare(ctx, want); err != nil {
		t.Fatal(err)
	}
	known(a, want)
}
