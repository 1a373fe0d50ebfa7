package pod

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// gone stops a pod for good, as others see it.
func gone(p *testPod) {
	p.t.Helper()
	net, end := p.end().net, p.end()
	p.stop()
	net.cut(end)
}

// again starts a pod that was stopped, on the same disk, and connects it.
func again(t *testing.T, old *testPod) *testPod {
	t.Helper()
	p, err := Open(quickly(t), Options{Dir: old.dir, FS: old.o.FS, Offline: true, NoHistory: true, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	old.end().net.attach(p)
	tp := started(t, p, old.dir)
	t.Cleanup(tp.stop)
	return tp
}

// ruled sets rules of the network and waits until all pods have them.
func ruled(t *testing.T, rules map[string]string, pods ...*testPod) {
	t.Helper()
	for key, value := range rules {
		if err := pods[0].SetRule(quickly(t), key, value); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "rules", func() error {
		for _, p := range pods {
			if diff := cmp.Diff(pods[0].Rules(), p.Rules()); diff != "" {
				return errors.New(diff)
			}
		}
		return nil
	})
}

// stateOf is a pod's state as another one shows it.
func stateOf(t *testing.T, by *testPod, pod ident.Pod) PodInfo {
	t.Helper()
	all, err := by.Pods(quickly(t))
	if err != nil {
		t.Fatal(err)
	}
	return all[slices.IndexFunc(all, func(i PodInfo) bool { return i.Pod == pod })]
}

// TestRemoveLost: a pod that never answers again is taken out by an admin's word: what it held is made again, nothing waits for it. When it comes
// back after all it is emptied, loses nothing that it alone had, and may be used again.
func TestRemoveLost(t *testing.T) {
	pods := metPods(t, 4)
	a, left, dead, ctx := pods[0], pods[:3], pods[3], quickly(t)
	ruled(t, map[string]string{"lower": "1ms", "policy": "rs:2+1"}, pods...)
	text := randomText(1101, 2<<20)
	a.write("/f", text)
	until(t, "/f", func(w Where) error { return cutUp(w, 2, 1) }, pods...)
	if err := errors.Join(a.SetPin(ctx, a.at("/f"), dead.reg.name(dead.id), true), a.SyncWait(ctx, vfs.RootID)); err != nil {
		t.Fatal(err)
	}
	name := dead.reg.name(dead.id)
	if _, err := a.RemoveLost(ctx, name); !errors.Is(err, ErrNotSafe) {
		t.Errorf("a pod that answers is lost: %v", err)
	}
	ruled(t, map[string]string{"suspect": "5ms", "down": "10ms"}, pods...) // not before: on a busy machine one that answers may be down for a moment
	end := dead.end()
	end.net.cut(end)
	dead.write("/its own", "nobody else has this")
	dead.settle()
	gone(dead)
	if _, err := pods[1].RemoveLost(ctx, name); !errors.Is(err, member.ErrDenied) {
		t.Errorf("a writer says that a pod is lost: %v", err)
	}
	if _, err := a.RemoveLost(ctx, "nobody"); !errors.Is(err, ErrNoSuchPod) {
		t.Errorf("nobody is lost: %v", err)
	}
	eventually(t, "it is down", func() error {
		if s := stateOf(t, a, dead.id).State; s != "down" {
			return errors.New(s)
		}
		return nil
	})
	for range 2 { // the second time changes nothing
		if d, err := a.RemoveLost(ctx, name); err != nil || !d.Removed {
			t.Fatal(d, err)
		}
	}
	until(t, "/f", func(w Where) error { return cutUp(w, 2, 1) }, left...)
	if err := a.SyncWait(ctx, vfs.RootID); err != nil {
		t.Errorf("its pin is waited for: %v", err)
	}
	for _, p := range left {
		if err := p.spread.everything(ctx); err != nil { // the status is of its last round, which may have been before others copied
			t.Fatal(err)
		}
		if i := stateOf(t, p, dead.id); i.State != "lost" || i.Weight != 0 || p.reg.layout().Len() != 3 {
			t.Errorf("%+v, %d pods in the layout", i, p.reg.layout().Len())
		}
		if w := p.membersPassed(p.clock.Now()).waiting; len(w) != 0 {
			t.Errorf("the trash waits for %v", w)
		}
		if s, err := p.Status(ctx); err != nil || len(s.Reasons) != 0 {
			t.Errorf("%v, %v", s.Reasons, err)
		}
	}
	uncached(t, left...)
	for _, p := range left {
		p.reads("/f", text)
	}
	if err := a.SetPin(ctx, a.at("/f"), name, false); err != nil {
		t.Fatal(err)
	}

	back := again(t, dead)
	pods = append(slices.Clone(left), back)
	until(t, "/its own", func(w Where) error { return copied(w, 2) }, pods...)
	until(t, "/f", func(w Where) error { return cutUp(w, 2, 1) }, left...)
	eventually(t, "the pod that is back is empty", func() error {
		if err := back.spread.everything(quickly(t)); err != nil {
			return err
		}
		d, err := a.DrainState(ctx, name)
		if !d.Draining || !d.Known || d.Left != 0 {
			err = errors.Join(err, fmt.Errorf("%+v", d))
		}
		return err
	})
	for _, p := range pods {
		p.reads("/its own", "nobody else has this")
		if p.reg.layout().Len() != 4 {
			t.Errorf("%d pods in the layout", p.reg.layout().Len())
		}
	}
	if _, err := a.Drain(ctx, name, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is used again", func() error {
		if i := stateOf(t, pods[1], back.id); i.State != "up" || i.Weight == 0 {
			return fmt.Errorf("%+v", i)
		}
		return nil
	})
	until(t, "/f", func(w Where) error { return cutUp(w, 2, 1) }, left...)
	list, err := a.db.Statements()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(slices.DeleteFunc(list, func(s []byte) bool {
		kind, _, _ := member.DecodeStatement(s)
		return kind != member.KindOut || a.reg.stale(s)
	})); n != 0 {
		t.Errorf("%d statements that it is out still stand", n)
	}
}

// TestOut: a pod that is silent for long keeps its place until more than half say that it is out; then what it has is made again, though it could bear its absence; when it is back it takes its
// place, and what is surplus goes. One that is cut off says of nobody that he is out.
func TestOut(t *testing.T) {
	pods := metPods(t, 5)
	a, ctx := pods[0], quickly(t)
	ruled(t, map[string]string{"lower": "1ms", "policy": "replica:4", "suspect": "10ms", "down": "20ms", "repair": "1h", "out": "1h"}, pods...)
	text := randomText(1102, 200_000)
	a.write("/f", text)
	settled(t, "/f", 4, pods...)
	chunk := chunkOf(t, a, "/f")
	var away *testPod
	var left []*testPod
	for _, p := range pods {
		if owned, _ := p.store.Has(chunk); owned && away == nil && p != a {
			away = p
			continue
		}
		left = append(left, p)
	}
	away.end().net.cut(away.end())
	eventually(t, "it is down", func() error {
		if s := stateOf(t, a, away.id).State; s != "down" {
			return errors.New(s)
		}
		return nil
	})
	copies := func() (n int) {
		for _, p := range left {
			if err := p.spread.everything(ctx); err != nil {
				t.Error(err)
			}
			if owned, _ := p.store.Has(chunk); owned {
				n++
			}
		}
		return n
	}
	if n := copies(); n != 3 {
		t.Errorf("%d copies while the pod is down, and two may still be lost", n)
	}
	ruled(t, map[string]string{"out": "30ms"}, left...)
	eventually(t, "it is out", func() error {
		for _, p := range left {
			if err := p.sayOuts(ctx, p.clock.Now(), p.started); err != nil {
				return err
			}
		}
		for _, p := range left {
			if s := stateOf(t, p, away.id).State; s != "out" {
				return errors.New(s)
			}
		}
		if n := copies(); n != 4 {
			return fmt.Errorf("%d copies", n)
		}
		return nil
	})
	if err := away.sayOuts(ctx, away.clock.Now(), away.started); err != nil {
		t.Error(err)
	}
	for _, p := range left {
		if away.reg.says(away.id, p.id) {
			t.Error("the one that is cut off says that the others are out")
		}
	}
	away.end().net.join(away.end())
	settled(t, "/f", 4, pods...)
	for _, p := range pods {
		eventually(t, "it is back", func() error {
			if s := stateOf(t, p, away.id).State; s != "up" {
				return errors.New(s)
			}
			return nil
		})
		p.reads("/f", text)
	}
}

// TestOutPods: a pod is out by the word of more than half of the active pods, which are fewer once one is out.
func TestOutPods(t *testing.T) {
	pod := func(n int) ident.Pod { return ident.Pod{byte(n)} }
	type word struct {
		by, of  int
		version uint64
	}
	for _, row := range []struct {
		name  string
		pods  int
		words []word
		want  []int
	}{
		{"nobody says anything", 3, nil, nil},
		{"half of four", 4, []word{{1, 4, 9}, {2, 4, 9}}, nil},
		{"three of five", 5, []word{{1, 5, 9}, {2, 5, 9}, {3, 5, 9}}, []int{5}},
		{"the survivor of two", 2, []word{{1, 2, 9}}, nil},
		{"answered", 3, []word{{1, 3, 5}, {2, 3, 5}}, nil},
		{"one of two words answered", 3, []word{{1, 3, 5}, {2, 3, 6}}, nil},
		{"a stranger's word", 3, []word{{1, 3, 9}, {7, 3, 9}}, nil},
		{"fewer are left then", 5, []word{{1, 5, 9}, {2, 5, 9}, {3, 5, 9}, {1, 4, 9}, {2, 4, 9}, {3, 4, 9}}, []int{4, 5}},
		{"one after the other", 4, []word{{1, 4, 9}, {2, 4, 9}, {3, 4, 9}, {1, 3, 9}, {2, 3, 9}}, []int{3, 4}},
		{"a minority's word", 5, []word{{4, 1, 9}, {5, 1, 9}, {1, 4, 9}, {2, 4, 9}, {3, 4, 9}}, []int{4}},
	} {
		var active []placement.Entry
		for i := range row.pods {
			active = append(active, placement.Entry{Pod: pod(i + 1), Weight: 1}.Answer(5))
		}
		said := map[ident.Pod]map[ident.Pod]member.Out{}
		for _, w := range row.words {
			if said[pod(w.of)] == nil {
				said[pod(w.of)] = map[ident.Pod]member.Out{}
			}
			said[pod(w.of)][pod(w.by)] = member.Out{Version: w.version}
		}
		want := map[ident.Pod]bool{}
		for _, i := range row.want {
			want[pod(i)] = true
		}
		if diff := cmp.Diff(want, outPods(active, said)); diff != "" {
			t.Errorf("%s: %s", row.name, diff)
		}
	}
}

// TestUnavailableHoldsTrash breaks if what a content replaced may go while that content can be had nowhere: then it may be all that is left.
func TestUnavailableHoldsTrash(t *testing.T) {
	s := &spreader{}
	first := time.Unix(1000, 0)
	s.found(first, placed{}, nil)
	var lacks placed
	lacks.bytes[placement.StateUnavailable] = 1
	s.found(first.Add(time.Hour), lacks, nil)
	if got := s.safeSince(); !got.Equal(first) {
		t.Errorf("all was safe at %s", got)
	}
	var few placed
	few.bytes[placement.StateDegraded] = 1 // nothing can be done about it, and it can be read
	s.found(first.Add(2*time.Hour), few, nil)
	if got := s.safeSince(); !got.Equal(first.Add(2 * time.Hour)) {
		t.Errorf("all was safe at %s", got)
	}
}
