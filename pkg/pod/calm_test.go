package pod

import (
	"errors"
	"testing"
	"time"
)

// TestCalm breaks if a pod goes on looking at all contents while nothing changes, or leaves out a look that a change asks for: a file, a policy, a rule, bytes
// that a pod has less, a pod that is gone.
func TestCalm(t *testing.T) {
	pods := somePods(t, 3, time.Nanosecond)
	a, b, ctx := pods[0], pods[2], quickly(t)
	calm := func() bool { return a.spread.isCalm(time.Time{}) } // before its end, however quick the round was
	becomes := func() {
		t.Helper()
		eventually(t, "it is calm", func() error {
			if err := a.spread.everything(ctx); err != nil {
				return err
			}
			if !calm() {
				return errors.New("not yet")
			}
			return nil
		})
	}
	ends := func(what string) {
		t.Helper()
		eventually(t, what+" has everything looked at", func() error {
			if calm() {
				return errors.New("not yet")
			}
			return nil
		})
	}
	a.write("/f", randomText(1950, 200<<10))
	settled(t, "/f", 2, pods...)
	becomes()
	if end := a.spread.calm.until; end.After(time.Now().Add(calmMax)) || a.spread.isCalm(end) {
		t.Errorf("it would wait until %v", end)
	}
	b.write("/g", "of another pod")
	ends("a file")
	becomes()
	if err := a.SetPolicy(ctx, a.at("/f"), "replica:3", ""); err != nil {
		t.Fatal(err)
	}
	ends("a policy")
	if err := a.spread.everything(ctx); err != nil {
		t.Fatal(err)
	}
	settled(t, "/f", 3, pods...)
	becomes()
	if err := a.SetRule(ctx, "trash", "1h"); err != nil {
		t.Fatal(err)
	}
	ends("a rule")
	becomes()
	a.peers.update(b.id, func(f *peerFacts) { f.used-- })
	ends("what another pod has lost")
	becomes()
	b.stop()
	ends("a pod that is gone")
	if err := a.spread.everything(ctx); err != nil {
		t.Log(err) // It can't be asked.
	}
	if calm() {
		t.Error("it is calm although a pod is gone: it comes to be down, and out, as time goes by")
	}
}
