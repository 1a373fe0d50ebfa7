package pod

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
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

// TestStatusAfterSync breaks if the status still calls data unsafe, or tells of none, when a sync that was waited for has said that all is safe.
func TestStatusAfterSync(t *testing.T) {
	pods := somePods(t, 2, time.Nanosecond)
	a, ctx := pods[0], quickly(t)
	a.write("/f", randomText(1960, 200<<10))
	a.spread.count(placed{unsafe: 7}) // as a round found it that ended a moment ago
	if err := a.SyncWait(ctx, vfs.RootID); err != nil {
		t.Fatal(err)
	}
	unsafe, bytes := a.spread.counted()
	if unsafe != 0 || bytes[placement.StateSafe] < 200<<10 {
		t.Errorf("unsafe %d, all %v", unsafe, bytes)
	}
}

// TestSyncKnown breaks if a sync that was waited for returns while what was done here is known to no other pod: the loss of this one would take it along.
func TestSyncKnown(t *testing.T) {
	pods := somePods(t, 2, time.Nanosecond)
	a, b, ctx := pods[0], pods[1], quickly(t)
	for i := range 30 {
		a.write("/f", fmt.Sprint("it stands in its row: ", i))
		if err := a.SyncWait(ctx, vfs.RootID); err != nil {
			t.Fatal(err)
		}
		if mine, theirs := a.db.VV(), b.db.VV(); !mine.LessEqual(theirs) {
			t.Fatalf("after %d: %v here, %v there", i, mine, theirs)
		}
		if got, err := a.CanStop(ctx); err != nil || len(got.Reasons) > 0 {
			t.Fatalf("after %d: %v, %v", i, got, err)
		}
	}
}
