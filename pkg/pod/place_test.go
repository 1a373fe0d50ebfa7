package pod

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// somePods is a network of n pods that are connected. What is surplus may go after a time, 0: the usual one.
func somePods(t *testing.T, n int, lower time.Duration) []*testPod {
	t.Helper()
	var pods []*testPod
	for i := range n {
		dir := filepath.Join(t.TempDir(), "pod")
		name := fmt.Sprint("pod", i+1)
		if i == 0 {
			if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: name}); err != nil {
				t.Fatal(err)
			}
		} else {
			token, err := pods[0].Invite(quickly(t), "writer", time.Hour, 1)
			if err == nil {
				_, err = Join(quickly(t), dir, JoinOptions{Token: token, PodName: name})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		pods = append(pods, runPod(t, Options{Dir: dir, Listen: []string{"127.0.0.1:0"}, LowerAfter: lower}))
	}
	meet(t, pods...)
	return pods
}

func meet(t *testing.T, pods ...*testPod) {
	t.Helper()
	eventually(t, "all connected", func() error {
		for _, p := range pods {
			if got := len(p.connected()); got < len(pods)-1 || p.reg.layout().Len() < len(pods) {
				return fmt.Errorf("%d connected, %d in the layout", got, p.reg.layout().Len())
			}
		}
		return nil
	})
}

func (p *testPod) at(path string) vfs.NodeID {
	p.t.Helper()
	a, err := vfs.Resolve(quickly(p.t), p.fs, path)
	if err != nil {
		p.t.Fatal(err)
	}
	return a.ID
}

// settled lets pods work until a file is safe, and each of its chunks on so many pods as their own, not more.
func settled(t *testing.T, path string, copies int, pods ...*testPod) {
	t.Helper()
	until(t, path, func(w Where) error {
		for _, c := range w.Chunks {
			if got := whole(c); c.ID.Codec() == block.Raw && got != copies || !w.Safe {
				return fmt.Errorf("chunk %s has %d copies, %s", c.ID, got, w.Safety)
			}
		}
		return nil
	}, pods...)
}

func whole(c ChunkWhere) (n int) {
	for _, h := range c.Holders {
		if h.Kind == "whole" {
			n++
		}
	}
	return n
}

// TestConversions breaks if a file is not kept as its policy says after that changed, with no copy too many and none too few, or can't
// be read on the way.
func TestConversions(t *testing.T) {
	pods := somePods(t, 4, time.Nanosecond)
	a := pods[0]
	text := randomText(901, 3<<20)
	a.write("/f", text)
	settled(t, "/f", 2, pods...)
	for _, step := range []struct {
		policy string
		copies int
	}{{"replica:4", 4}, {"replica:1", 1}, {"raid1", 2}, {"none", 1}, {"replica:3", 3}} {
		if err := a.SetPolicy(quickly(t), vfs.RootID, step.policy, ""); err != nil {
			t.Fatal(err)
		}
		settled(t, "/f", step.copies, pods...)
		for _, p := range pods {
			p.forget()
			p.reads("/f", text)
		}
	}
	for _, p := range pods {
		p.clean()
	}
}

// TestLowerWaits breaks if what a policy asked for is given up the moment that it is lowered.
func TestLowerWaits(t *testing.T) {
	pods := somePods(t, 3, 0)
	a := pods[0]
	if err := a.SetPolicy(quickly(t), vfs.RootID, "replica:3", ""); err != nil {
		t.Fatal(err)
	}
	a.write("/f", randomText(902, 1<<20))
	settled(t, "/f", 3, pods...)
	if err := a.SetPolicy(quickly(t), vfs.RootID, "replica:1", ""); err != nil {
		t.Fatal(err)
	}
	for range 3 { // rounds that could give them up
		settled(t, "/f", 3, pods...)
	}
}

// TestStrongestPolicy breaks if a chunk that two files name is kept as the weaker of their policies says.
func TestStrongestPolicy(t *testing.T) {
	pods := somePods(t, 3, time.Nanosecond)
	a, ctx := pods[0], quickly(t)
	for _, dir := range []string{"weak", "strong"} {
		if _, err := a.fs.Create(ctx, vfs.RootID, dir, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(a.SetPolicy(ctx, a.at("/weak"), "replica:1", ""), a.SetPolicy(ctx, a.at("/strong"), "replica:3", "")); err != nil {
		t.Fatal(err)
	}
	text, other := randomText(903, 1<<20), randomText(912, 1<<20)
	a.write("/weak/f", text)
	a.write("/weak/g", other)
	a.write("/strong/f", text)
	settled(t, "/weak/g", 1, pods...)
	settled(t, "/strong/f", 3, pods...)
	for range 3 { // rounds that could give them up
		settled(t, "/weak/g", 1, pods...)
	}
	settled(t, "/strong/f", 3, pods...)
}

// TestNeverBothLeave breaks if two pods can each give up a chunk because the other has it.
func TestNeverBothLeave(t *testing.T) {
	pods := somePods(t, 2, time.Nanosecond)
	a, b, ctx := pods[0], pods[1], quickly(t)
	a.write("/f", randomText(904, 1<<20))
	settled(t, "/f", 2, pods...)
	w, err := a.Where(ctx, a.at("/f"))
	if err != nil {
		t.Fatal(err)
	}
	surplus := func(p *testPod) map[block.ID]*placing {
		out := make(map[block.ID]*placing)
		for _, c := range w.Chunks {
			// Either sees itself as the one that need not have it.
			out[c.ID] = &placing{wanted: wanted{c.ID, c.Bytes}, wants: wants{
				policy: placement.Policy{Kind: placement.PolicyNone}, lower: true, author: pods[0].id, keep: nil,
			}}
			if p == a {
				out[c.ID].author = b.id
			}
		}
		return out
	}
	done := make(chan error, 2)
	for _, p := range pods {
		go func() {
			_, err := p.giveUp(ctx, surplus(p))
			done <- err
		}()
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	for _, c := range w.Chunks {
		owns := 0
		for _, p := range pods {
			if owned, _ := p.store.Has(c.ID); owned {
				owns++
			}
		}
		if owns == 0 {
			t.Errorf("nobody keeps %s", c.ID)
		}
	}
}

// TestKeptAsksForMore breaks if a pod that knows of something newer lets another rely on what it has.
func TestKeptAsksForMore(t *testing.T) {
	pods := somePods(t, 2, time.Nanosecond)
	a, b, ctx := pods[0], pods[1], quickly(t)
	a.write("/f", randomText(905, 1<<20))
	settled(t, "/f", 2, pods...)
	w, err := a.Where(ctx, a.at("/f"))
	if err != nil {
		t.Fatal(err)
	}
	c := &placing{wanted: wanted{id: w.Chunks[1].ID}}
	if err := a.askKept(ctx, b.id, []*placing{c}); err != nil || len(c.holders) != 1 || !c.holders[0].Whole {
		t.Errorf("%+v, %v", c.holders, err)
	}
	b.leaving.mark(c.id)
	if err := a.askKept(ctx, b.id, []*placing{c}); err != nil || c.holders[0].Whole {
		t.Errorf("about to be given up: %+v, %v", c.holders, err)
	}
	if err := b.leaving.stay(ctx, c.id); err != nil {
		t.Fatal(err)
	}
	answer, err := b.answerKept(ctx, keptQuestion(nil, []*placing{c}))
	if err != nil || len(answer) != 1 || answer[0] != hasNot {
		t.Errorf("asked by a pod that knows nothing: %v, %v", answer, err)
	}
}

// FuzzKeptQuestion breaks if a peer's question makes a pod panic.
func FuzzKeptQuestion(f *testing.F) {
	f.Add(keptQuestion(nil, []*placing{{wanted: wanted{id: block.Sum(block.Raw, []byte("x"))}}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, ids, err := readKeptQuestion(b); err == nil && len(ids)%block.IDLen != 0 {
			t.Error("ids that are none")
		}
	})
}

// TestEndangeredFirst breaks if a round copies what can bear a loss before what can't, or forgets it.
func TestEndangeredFirst(t *testing.T) {
	made := func(losses int, kinds ...placement.ActionKind) *placing {
		c := &placing{plan: placement.Plan{Losses: losses}}
		for _, k := range kinds {
			c.plan.Actions = append(c.plan.Actions, placement.Action{Kind: k})
		}
		return c
	}
	lost, none, one, two := made(-1), made(0, placement.Rebuild), made(1, placement.CopyWhole), made(2, placement.Encode)
	fine, surplus := made(1), made(2, placement.Release)
	list := []*placing{two, fine, one, surplus, none, lost}
	endangeredFirst(list)
	r := &round{}
	if got := r.putOff(list); !slices.Equal(got, []*placing{lost, none, fine, surplus}) {
		t.Errorf("at once: %+v", got)
	}
	if !slices.Equal(r.later, []*placing{one, two}) {
		t.Errorf("put off: %+v", r.later)
	}
	for range 2 * laterMax {
		if got := r.putOff([]*placing{made(1, placement.CopyWhole)}); len(got) == 1 {
			break
		}
	}
	if len(r.later) != laterMax {
		t.Errorf("%d are put off", len(r.later))
	}
}

// TestSyncWaitForOther breaks if a pod that waits for a copy which only another can make, out of its cache, waits until that one looks of itself.
func TestSyncWaitForOther(t *testing.T) {
	pods := somePods(t, 2, time.Nanosecond)
	waits, other := pods[0], pods[1]
	waits.write("/f", randomText(930, 200<<10))
	settled(t, "/f", 2, pods...)
	begin := time.Now()
	eventually(t, "the round that the new file asked for is over", func() error {
		if other.spread.safeSince().Before(begin) {
			return errors.New("not yet")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(quickly(t), spreadEvery/2)
	defer cancel()
	w, err := other.Where(ctx, other.at("/f"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range w.Chunks {
		if err := other.store.Disown(ctx, c.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := waits.SyncWait(ctx, vfs.RootID); err != nil {
		t.Error(err)
	}
	if err := other.holdsAll("/f", true); err != nil {
		t.Error(err)
	}
}
