package pod

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestWatchRepair breaks if a repair ends before all is as the policy wants, does not end, or tells nothing of what it does.
func TestWatchRepair(t *testing.T) {
	pods := metPods(t, 4)
	a, ctx := pods[0], quickly(t)
	ruled(t, map[string]string{"policy": "replica:2", "suspect": "5ms", "down": "10ms", "repair": "20ms"}, pods...)
	for i := range 12 {
		a.write(fmt.Sprintf("/%d", i), randomText(uint64(1501+i), 100<<10))
	}
	sameRoot(t, pods...)
	eventually(t, "all is safe", func() error { return a.SyncWait(ctx, vfs.RootID) })
	gone(pods[3])
	left := pods[:3]
	eventually(t, "it is down", func() error {
		for _, p := range left {
			if s := p.states()[pods[3].id]; s != "down" {
				return errors.New(s)
			}
		}
		return nil
	})
	var told, due atomic.Int64
	var group errgroup.Group
	for _, p := range left {
		group.Go(func() error {
			last, err := p.WatchRepair(ctx, func(s RepairState) error {
				told.Add(1)
				due.Store(max(due.Load(), s.Due))
				if s.Done > s.Due {
					return fmt.Errorf("%d of %d bytes are done", s.Done, s.Due)
				}
				return nil
			})
			if err == nil && (last.Active || last.Unavailable > 0) {
				err = fmt.Errorf("it ended with %+v", last)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil || told.Load() == 0 {
		t.Fatalf("%v; told %d times", err, told.Load())
	}
	eventually(t, "all is safe without it", func() error {
		for _, p := range left {
			last, err := p.WatchRepair(ctx, func(RepairState) error { return nil })
			if err != nil || last.Unsafe > 0 || last.Endangered > 0 {
				return errors.Join(err, fmt.Errorf("%+v", last))
			}
		}
		return nil
	})
	began, ended := 0, 0
	for _, p := range left {
		err := p.Events(ctx, time.Time{}, false, func(ev Event) error {
			switch ev.Kind {
			case EventRepairBegan:
				began++
			case EventRepairEnded:
				ended++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if began == 0 || ended == 0 {
		t.Errorf("%d repairs are told to have begun, %d to have ended", began, ended)
	}
	if _, err := a.WatchRepair(ctx, func(RepairState) error { return context.Canceled }); !errors.Is(err, context.Canceled) {
		t.Errorf("who has seen enough: %v", err)
	}
}

// TestRepairGoesOnce breaks if what was lost in whole copies goes more than once: from each pod that has it, or both sent by one that has it and fetched by the one that lacks it.
func TestRepairGoesOnce(t *testing.T) {
	pods := metPods(t, 4)
	a, left, dead, ctx := pods[0], pods[:3], pods[3], quickly(t)
	ruled(t, map[string]string{"lower": "1ms", "policy": "replica:3", "suspect": "5ms", "down": "10ms", "repair": "20ms"}, pods...)
	a.write("/f", randomText(1601, 12<<20))
	settled(t, "/f", 3, pods...)
	w, err := a.Where(ctx, a.at("/f"))
	if err != nil {
		t.Fatal(err)
	}
	var lost int64
	for _, c := range w.Chunks {
		if owned, _ := dead.store.Has(c.ID); owned {
			lost += c.Bytes
		}
	}
	moved := func() (sum int64) {
		for _, p := range left {
			sum += p.pace.Moved(pace.Repair)
		}
		return sum
	}
	before := moved()
	gone(dead)
	eventually(t, "all is safe without it", func() error {
		var group errgroup.Group
		for _, p := range left {
			group.Go(func() error { return p.spread.everything(ctx) })
		}
		err := group.Wait()
		w, whereErr := a.Where(ctx, a.at("/f"))
		return errors.Join(err, whereErr, copied(w, 3))
	})
	if got := moved() - before; lost == 0 || float64(got) > 1.1*float64(lost) {
		t.Errorf("%d bytes went to make again the %d that were lost", got, lost)
	}
}

// TestLeaves: in a round a pod leaves it to another one to send what it has, for a while; else it fetches at once.
func TestLeaves(t *testing.T) {
	a := firstPod(t)
	other := ident.Pod{9}
	c := &placing{wanted: wanted{id: block.Sum(block.Raw, []byte("x"))}}
	sent := placement.Action{Kind: placement.CopyWhole, From: other, To: a.id}
	if c.leaves(sent) {
		t.Error("who waits for it does not fetch")
	}
	c.round = a.spread.newRound()
	for _, row := range []struct {
		a    placement.Action
		want bool
	}{
		{sent, true},
		{placement.Action{Kind: placement.CopyFragment, From: other, To: a.id}, true},
		{placement.Action{Kind: placement.CopyWhole, From: a.id, To: a.id}, false},
		{placement.Action{Kind: placement.JoinWhole, To: a.id}, false},
		{placement.Action{Kind: placement.Rebuild, To: a.id}, false},
	} {
		if got := c.leaves(row.a); got != row.want {
			t.Errorf("%+v is left to others: %v", row.a, got)
		}
	}
	a.spread.mu.Lock()
	a.spread.left = map[block.ID]time.Time{c.id: a.clock.Now().Add(-spreadEvery)}
	a.spread.mu.Unlock()
	if c.leaves(sent) {
		t.Error("what does not come is not fetched")
	}
}

// TestRepairAlone breaks if a repair of a pod that is alone does not end.
func TestRepairAlone(t *testing.T) {
	a := firstPod(t)
	a.write("/f", "x")
	a.settle()
	last, err := a.WatchRepair(quickly(t), func(RepairState) error { return nil })
	if err != nil || last.Active || last.Due > 0 {
		t.Errorf("%+v, %v", last, err)
	}
}

// TestTimeLeft: the estimate follows what was done, and what the round has not looked at yet.
func TestTimeLeft(t *testing.T) {
	for name, c := range map[string]struct {
		now, last RepairState
		want      time.Duration
	}{
		"nothing is due":   {RepairState{Active: true, Looked: 10, Of: 10}, RepairState{}, 0},
		"half is done":     {RepairState{Active: true, Looked: 10, Of: 10, Due: 8, Done: 4}, RepairState{}, time.Minute},
		"half is looked":   {RepairState{Active: true, Looked: 10, Of: 20, Due: 4, Done: 4}, RepairState{}, time.Minute},
		"nothing is done":  {RepairState{Active: true, Looked: 10, Of: 10, Due: 8}, RepairState{}, -1},
		"the round before": {RepairState{Active: true, Looked: 1, Of: 100, Due: 1, Done: 1}, RepairState{Due: 201, Done: 0}, 200 * time.Minute},
		"it is over":       {RepairState{Due: 8, Done: 4}, RepairState{}, 0},
	} {
		if got := timeLeft(c.now, c.last, time.Minute); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
