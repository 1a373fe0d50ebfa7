package pod

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/store"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// cutUp says why a file's chunks do not lie as rs:k+m has them: fragments on k+m different pods and no whole copy of their own, of what is short m+1 whole copies.
func cutUp(w Where, k, m int) error {
	if !w.Safe {
		return fmt.Errorf("it is %s", w.Safety)
	}
	for _, c := range w.Chunks {
		pods, indexes := map[ident.Pod]bool{}, map[int]bool{}
		for _, h := range c.Holders {
			if h.Kind == "fragment" {
				pods[h.Pod], indexes[h.Index] = true, true
			}
		}
		n := whole(c)
		switch {
		case c.ID.Codec() != block.Raw, len(pods) == 0 && n == m+1:
		case n != 0 || len(pods) != k+m || len(indexes) != k+m:
			return fmt.Errorf("chunk %s: %d whole copies, %d fragments on %d pods", c.ID, n, len(indexes), len(pods))
		}
	}
	return nil
}

// until lets pods work until a file lies as it should.
func until(t *testing.T, path string, fits func(Where) error, pods ...*testPod) {
	t.Helper()
	sameRoot(t, pods...)
	eventually(t, path, func() error {
		for _, p := range pods {
			if err := p.spread.everything(quickly(t)); err != nil {
				return err
			}
		}
		w, err := pods[0].Where(quickly(t), pods[0].at(path))
		return errors.Join(err, fits(w))
	})
}

// uncached drops what pods read from others.
func uncached(t *testing.T, pods ...*testPod) {
	t.Helper()
	for _, p := range pods {
		p.forget()
		if _, err := p.store.EvictTo(quickly(t), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRS: six pods and rs:4+2. Chunks are cut, a fragment on each pod; whole copies go; with any two pods gone all files are read on all others, and what is written then is completed when they
// come back.
func TestRS(t *testing.T) {
	pods := metPods(t, 6)
	a, ctx := pods[0], quickly(t)
	if err := a.SetPolicy(ctx, vfs.RootID, "rs:4+2", ""); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"/large": randomText(1001, 2<<20), "/text": strings.Repeat("what compresses; ", 100_000), "/small": randomText(1002, 50_000),
	}
	for path, text := range texts {
		a.write(path, text)
	}
	if err := a.SyncWait(ctx, vfs.RootID); err != nil {
		t.Fatal(err)
	}
	for path := range texts {
		until(t, path, func(w Where) error { return cutUp(w, 4, 2) }, pods...)
	}
	var stored int64
	for _, p := range pods {
		stored += p.store.Usage().OwnedBytes
	}
	t.Logf("%d bytes stored", stored)
	net := a.end().net
	for i := range pods {
		for j := range i {
			if testing.Short() && (i+j)%3 != 0 {
				continue
			}
			uncached(t, pods...)
			net.cut(pods[i].end())
			net.cut(pods[j].end())
			for r, p := range pods {
				if r == i || r == j {
					continue
				}
				for path, text := range texts {
					if got, err := p.read(path); err != nil || got != text {
						t.Fatalf("without pods %d and %d, %s on %d: %v", i, j, path, r, err)
					}
				}
			}
			net.join(pods[i].end())
			net.join(pods[j].end())
		}
	}
	net.cut(pods[4].end())
	late := randomText(1003, 1<<20)
	a.write("/late", late)
	a.settle()
	pods[1].reads("/late", late)
	net.join(pods[4].end())
	until(t, "/late", func(w Where) error { return cutUp(w, 4, 2) }, pods...)
	for _, p := range pods {
		p.clean()
	}
}

// TestShortForm: a chunk that compresses to less than is ever cut is kept whole on some pods. Those that have nothing of it know that, and take it for safe.
func TestShortForm(t *testing.T) {
	pods := metPods(t, 4)
	a, ctx := pods[0], quickly(t)
	if err := a.SetPolicy(ctx, vfs.RootID, "rs:2+1", ""); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("what compresses; ", 30_000)
	a.write("/text", text)
	if err := a.SyncWait(ctx, vfs.RootID); err != nil {
		t.Fatal(err)
	}
	sameRoot(t, pods...)
	settled(t, "/text", 2, pods...)
	uncached(t, pods...)
	without := 0
	for i, p := range pods {
		if p.holdsAll("/text", false) == nil {
			continue
		}
		without++
		soon, cancel := context.WithTimeout(ctx, spreadEvery/6)
		if err := p.SyncWait(soon, vfs.RootID); err != nil {
			t.Errorf("pod %d: %v", i+1, err)
		}
		cancel()
		if w, err := p.Where(ctx, p.at("/text")); err != nil || !w.Safe {
			t.Errorf("pod %d: %+v, %v", i+1, w, err)
		}
	}
	if without == 0 {
		t.Fatal("all pods have it")
	}
}

// TestRSConversions: a file goes from whole copies to fragments, to other fragments and back while it is read, with nothing too many and nothing too few in the end.
func TestRSConversions(t *testing.T) {
	pods := somePods(t, 4, time.Nanosecond)
	a := pods[0]
	text := randomText(1004, 2<<20)
	a.write("/f", text)
	settled(t, "/f", 2, pods...)
	for _, step := range []struct {
		policy string
		fits   func(Where) error
	}{
		{"rs:2+1", func(w Where) error { return cutUp(w, 2, 1) }},
		{"rs:2+2", func(w Where) error { return cutUp(w, 2, 2) }},
		{"replica:2", func(w Where) error { return copied(w, 2) }},
		{"rs:3+1", func(w Where) error { return cutUp(w, 3, 1) }},
		{"none", func(w Where) error { return copied(w, 1) }},
	} {
		if err := a.SetPolicy(quickly(t), vfs.RootID, step.policy, ""); err != nil {
			t.Fatal(err)
		}
		until(t, "/f", step.fits, pods...)
		for _, p := range pods {
			p.forget()
			if got, err := p.read("/f"); err != nil || got != text {
				t.Errorf("%s: %v", step.policy, err)
			}
		}
		uncached(t, pods...)
	}
	for _, p := range pods {
		p.clean()
	}
}

// copied says why a file's chunks are not so many whole copies and nothing else.
func copied(w Where, n int) error {
	for _, c := range w.Chunks {
		if got := whole(c); c.ID.Codec() == block.Raw && got != n {
			return fmt.Errorf("chunk %s has %d copies", c.ID, got)
		}
		for _, h := range c.Holders {
			if h.Kind == "fragment" {
				return fmt.Errorf("chunk %s: fragment %d is left on %s", c.ID, h.Index, h.Name)
			}
		}
	}
	return nil
}

// TestRSRebuilt: a pod that leaves for good has its fragments made again on the one that is free.
func TestRSRebuilt(t *testing.T) {
	pods := somePods(t, 4, time.Nanosecond)
	a, ctx := pods[0], quickly(t)
	if err := a.SetPolicy(ctx, vfs.RootID, "rs:2+1", ""); err != nil {
		t.Fatal(err)
	}
	text := randomText(1005, 1<<20)
	a.write("/f", text)
	until(t, "/f", func(w Where) error { return cutUp(w, 2, 1) }, pods...)
	w, err := a.Where(ctx, a.at("/f"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range w.Chunks { // all fragments of one pod are gone, as after a new disk
		list, err := pods[3].store.Fragments(c.ID)
		for _, f := range list {
			err = errors.Join(err, pods[3].store.DeleteFragment(ctx, f))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	until(t, "/f", func(w Where) error { return cutUp(w, 2, 1) }, pods...)
	uncached(t, pods...)
	for _, p := range pods {
		p.reads("/f", text)
	}
}

// TestKeptFragments: others may rely on a fragment once it is synced, unless it is about to be given up, or the pod knows of something that who asks does not.
func TestKeptFragments(t *testing.T) {
	pods := metPods(t, 2)
	a, b, ctx := pods[0], pods[1], quickly(t)
	a.write("/f", "a commit")
	sameRoot(t, a, b)
	plain := []byte(randomText(1006, 150_000))
	id := cutChunk(t, pods, 1, 1, plain)
	list, err := a.store.Fragments(id)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	f := list[0]
	wire, err := a.store.Fragment(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.store.PutFragment(ctx, f, wire); err != nil {
		t.Fatal(err)
	}
	kept := func() int {
		t.Helper()
		c := &placing{wanted: wanted{id: id}}
		if err := a.askKeptFragments(ctx, b.id, []*placing{c}); err != nil {
			t.Fatal(err)
		}
		if len(c.holders) == 0 {
			return 0
		}
		return len(c.holders[0].Fragments)
	}
	if n := kept(); n != 2 {
		t.Errorf("%d fragments are kept", n)
	}
	disk, ok := b.o.FS.(*pebblevfs.MemFS)
	if !ok {
		t.Fatal("the pod is on no disk in memory")
	}
	crashed, err := store.Open(disk.CrashClone(pebblevfs.CrashCloneCfg{}), b.dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !crashed.HasFragment(f) {
		t.Error("a fragment that others rely on is gone after a loss of power")
	}
	if err := crashed.Close(); err != nil {
		t.Error(err)
	}
	b.leaving.mark(id)
	if n := kept(); n != 0 {
		t.Errorf("%d fragments are kept that are about to be given up", n)
	}
	if has := (handler{b.Pod}).HaveFragment(ctx, a.id, f); !has || b.leaving.has(id) {
		t.Errorf("it is offered, and stays: %t, leaving %t", has, b.leaving.has(id))
	}
	if n := kept(); n != 2 {
		t.Errorf("%d fragments are kept again", n)
	}
	answer, err := b.answerKeptFragments(ctx, keptQuestion(nil, []*placing{{wanted: wanted{id: id}}}))
	if err != nil || len(answer) != 1 || answer[0] != 0 {
		t.Errorf("asked by a pod that knows nothing: %v, %v", answer, err)
	}
}
