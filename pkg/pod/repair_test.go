package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// TestWatchRepair breaks if a repair ends before all is as the policy wants, does not end, or tells nothing of what it does.
func TestWatchRepair(t *testing.T) {
	pods := metPods(t, 4)
	a, ctx := pods[0], quickly(t)
	ruled(t, map[string]string{"lower": "1ms", "policy": "replica:2", "suspect": "5ms", "down": "10ms", "repair": "20ms"}, pods...)
	for i := range 12 {
		a.write(fmt.Sprintf("/%d", i), randomText(uint64(1501+i), 100<<10))
	}
	sameRoot(t, pods...)
	for i := range 12 {
		settled(t, fmt.Sprintf("/%d", i), 2, pods...) // no copy is left that nobody needs, which would make good for one that is lost
	}
	i := slices.IndexFunc(pods[1:], func(p *testPod) bool { return bytesAt(t, p, "/0") > 0 }) // one of both is not a
	dead := pods[1+i]
	gone(dead)
	left := slices.DeleteFunc(slices.Clone(pods), func(p *testPod) bool { return p == dead })
	eventually(t, "it is down", func() error {
		for _, p := range left {
			if s := p.states()[dead.id]; s != "down" {
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

// bytesAt is how many bytes of a file a pod has to hold, and does.
func bytesAt(t *testing.T, p *testPod, path string) (sum int64) {
	t.Helper()
	w, err := p.Where(t.Context(), p.at(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range w.Chunks {
		if owned, _ := p.store.Has(c.ID); owned && c.ID.Codec() == block.Raw {
			sum += c.Bytes
		}
	}
	return sum
}

// TestRepairGoesOnce breaks if what was lost in whole copies goes more than once: from each pod that has it, or both sent by one that has it and fetched by the one that lacks it.
func TestRepairGoesOnce(t *testing.T) {
	pods := metPods(t, 4)
	a, left, dead, ctx := pods[0], pods[:3], pods[3], quickly(t)
	ruled(t, map[string]string{"lower": "1ms", "policy": "replica:3", "suspect": "5ms", "down": "10ms", "repair": "20ms"}, pods...)
	a.write("/f", randomText(1601, 12<<20))
	settled(t, "/f", 3, pods...)
	lost := bytesAt(t, dead, "/f")
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

// TestRepairOfWhoIsAway breaks if a fragment is cut, or counted as moved, for a pod that is not connected, in each round again; or if it is not when the pod is back.
func TestRepairOfWhoIsAway(t *testing.T) {
	pods := metPods(t, 4)
	a, left, ctx := pods[0], pods[:3], quickly(t)
	ruled(t, map[string]string{"policy": "rs:2+2"}, pods...)
	gone(pods[3])
	a.write("/f", randomText(1701, 3<<20))
	sameRoot(t, left...)
	moved := func() (sum int64) {
		for _, p := range pods {
			sum += p.pace.Moved(pace.Repair)
		}
		return sum
	}
	round := func() (due int64) {
		for _, p := range left {
			if err := p.spread.everything(ctx); err != nil {
				t.Fatal(err)
			}
			due += p.repair.last.Due
		}
		return due
	}
	round() // what can go goes
	before, due := moved(), round()+round()
	if got := moved() - before; got > 0 || due == 0 {
		t.Errorf("%d bytes went for repair while %d wait for who is away", got, due)
	}
	pods[3] = again(t, pods[3])
	until(t, "/f", func(w Where) error { return cutUp(w, 2, 2) }, pods...)
	if moved() == before {
		t.Error("nothing went for repair after it came back")
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
