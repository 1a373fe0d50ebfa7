package pod

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestSnapshotsOfTwoPods breaks if a snapshot is not known or not readable on the other pod, if its nodes are not on both, or if the other pod's collection
// takes what it holds of it.
func TestSnapshotsOfTwoPods(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	eventually(t, "connected", func() error {
		if len(a.connected()) != 1 {
			return errors.New("not yet")
		}
		return nil
	})
	content := randomText(3, 2<<20)
	a.write("/f", content)
	if err := a.SyncWait(quickly(t), vfs.RootID); err != nil {
		t.Fatal(err)
	}
	s := a.snapshot("s")
	eventually(t, "the snapshot on the other pod", func() error {
		all, err := b.Snapshots(quickly(t))
		if err == nil && len(all) != 1 {
			err = fmt.Errorf("%d snapshots", len(all))
		}
		return err
	})
	a.remove("/f")
	a.settle()
	sameRoot(t, a, b)
	b.collect(CollectOptions{Now: true, atOnce: true})
	a.collect(CollectOptions{Now: true, atOnce: true})
	a.stop()
	b.forget()
	b.wantAt("s", "/f", content)
	nodes := 0
	err := b.eachNewNode(quickly(t), block.ID{}, s.Root, retained{}, 0, func(id block.ID) error {
		nodes++
		if owned, _ := b.store.Has(id); !owned {
			t.Errorf("node %s is not this pod's own", id)
		}
		return nil
	})
	if err != nil || nodes < 2 {
		t.Errorf("%d nodes, %v", nodes, err)
	}
	if err := b.RemoveSnapshot(quickly(t), "s"); err != nil {
		t.Error(err)
	}
	b.clean()
}

// TestAutomaticSnapshots breaks if one is made while nothing changed, not made when something did, or if two pods make them.
func TestAutomaticSnapshots(t *testing.T) {
	turn := &shifted{}
	turn.by(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour + 5*time.Minute))) // all of it is within an hour
	p := historyPod(t, Options{Clock: turn})
	rule := func(want int) {
		t.Helper()
		if err := p.applySnapshotRule(quickly(t)); err != nil {
			t.Fatal(err)
		}
		all, err := p.Snapshots(quickly(t))
		if err != nil || len(all) != want {
			t.Fatalf("%d snapshots, %v, want %d", len(all), err, want)
		}
		for _, s := range all {
			if !s.Auto || !strings.HasPrefix(s.Name, "auto-20") {
				t.Errorf("%+v", s)
			}
		}
	}
	p.write("/f", "one")
	rule(1)
	p.write("/f", "two")
	rule(1) // not due
	turn.by(11 * time.Minute)
	rule(2)
	turn.by(11 * time.Minute)
	rule(2) // nothing changed
	p.write("/f", "three")
	rule(3)
	turn.by(3 * time.Hour)
	p.write("/f", "four")
	rule(2) // of the first hour one is left
	p.wantAt("1h", "/f", "three")
	p.wantAt("now", "/f", "four")
	if !p.keepsSnapshots() {
		t.Error("a pod alone doesn't make them")
	}
}

// TestLeastPodMakesSnapshots breaks if two pods that see each other both make automatic snapshots, or none does.
func TestLeastPodMakesSnapshots(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	eventually(t, "one pod for snapshots", func() error {
		if x, y := a.keepsSnapshots(), b.keepsSnapshots(); x == y || len(a.connected()) != 1 {
			return fmt.Errorf("%v and %v", x, y)
		}
		return nil
	})
}

// shifted is a clock that can be turned on.
type shifted struct {
	mu    sync.Mutex
	shift time.Duration
}

func (s *shifted) by(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shift += d
}

// Now is the turned time.
func (s *shifted) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.shift)
}

// NewTimer is not turned.
func (s *shifted) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// TestSnapshotContentsAreRepaired breaks if what only a snapshot has gets no new copy when a pod that held it is gone.
func TestSnapshotContentsAreRepaired(t *testing.T) {
	a := firstPod(t)
	content := randomText(5, 2<<20)
	a.write("/f", content)
	a.snapshot("s")
	a.remove("/f")
	a.settle()
	if _, err := a.Root(quickly(t)); err != nil {
		t.Fatal(err)
	}
	b := joinPod(t, a, "second")
	eventually(t, "the snapshot on the new pod", func() error {
		all, err := b.Snapshots(quickly(t))
		if err == nil && (len(all) != 1 || len(a.connected()) != 1) {
			err = errors.New("not yet")
		}
		return err
	})
	sameRoot(t, a, b)
	for _, p := range []*testPod{a, b} {
		if err := p.placeSnapshots(quickly(t), nil); err != nil {
			t.Fatal(err)
		}
	}
	a.stop()
	b.forget()
	b.wantAt("s", "/f", content)
}
