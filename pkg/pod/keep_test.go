package pod

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// holdsAll says whether a pod has all chunks of a file, as its own or not.
func (p *testPod) holdsAll(path string, own bool) error {
	w, err := p.Where(quickly(p.t), p.at(path))
	if err != nil {
		return err
	}
	for _, c := range w.Chunks {
		owned, cached := p.store.Has(c.ID)
		if c.ID.Codec() == block.Raw && !owned && (own || !cached) {
			return fmt.Errorf("chunk %s is not here", c.ID)
		}
	}
	return nil
}

// outsider is a pod that the policy does not want a file's only chunk on.
func outsider(t *testing.T, path string, pods ...*testPod) *testPod {
	t.Helper()
	for _, p := range pods {
		if p.holdsAll(path, true) != nil {
			return p
		}
	}
	t.Fatal("all have it")
	return nil
}

// TestPin breaks if a pinned file is not whole on its pod, does not follow later changes, can be evicted, or is kept after the pin.
func TestPin(t *testing.T) {
	pods := somePods(t, 4, time.Nanosecond)
	a, ctx := pods[0], quickly(t)
	a.write("/f", randomText(920, 200<<10)) // one chunk: who does not have it all has none of it
	settled(t, "/f", 2, pods...)
	on := outsider(t, "/f", pods...)
	if err := a.SetPin(ctx, a.at("/f"), on.reg.name(on.id), true); err != nil {
		t.Fatal(err)
	}
	settled(t, "/f", 3, pods...)
	if got, err := a.Pins(ctx, "/"); err != nil || len(got) != 1 || got[0].Path != "/f" || got[0].Pod != on.id {
		t.Errorf("pins %+v, %v", got, err)
	}
	if got, err := on.Evict(ctx, on.at("/f")); err != nil || got.Blocks != 0 || got.Kept == 0 {
		t.Errorf("evicted %+v, %v", got, err)
	}
	text := randomText(921, 200<<10)
	a.write("/f", text)
	sameRoot(t, pods...)
	eventually(t, "the pin follows", func() error {
		for _, p := range pods {
			if err := p.spread.everything(ctx); err != nil {
				return err
			}
		}
		return on.holdsAll("/f", true)
	})
	if err := errors.Join(a.SetPin(ctx, a.at("/f"), on.reg.name(on.id), false), a.SetPin(ctx, a.at("/f"), "nobody", true)); !errors.Is(err, ErrNoSuchPod) {
		t.Error(err)
	}
	settled(t, "/f", 2, pods...)
}

// TestHomes breaks if a home does not keep whole copies of what is below it, beside those of the policy.
func TestHomes(t *testing.T) {
	pods := somePods(t, 3, time.Nanosecond)
	a, ctx := pods[0], quickly(t)
	if err := a.SetPolicy(ctx, vfs.RootID, "replica:1", ""); err != nil {
		t.Fatal(err)
	}
	if err := a.SetHomes(ctx, vfs.RootID, []string{pods[0].reg.name(pods[0].id), pods[1].reg.name(pods[1].id), pods[2].reg.name(pods[2].id)}); err != nil {
		t.Fatal(err)
	}
	a.write("/f", randomText(922, 1<<20))
	settled(t, "/f", 3, pods...)
	if err := a.SetHomes(ctx, vfs.RootID, nil); err != nil {
		t.Fatal(err)
	}
	settled(t, "/f", 1, pods...)
}

// TestEvict breaks if an eviction takes the last copy, or one that the policy wants here, or leaves what it need not.
func TestEvict(t *testing.T) {
	pods := somePods(t, 4, time.Nanosecond)
	a, ctx := pods[0], quickly(t)
	text := randomText(923, 200<<10) // one chunk: who does not have it all has none of it
	a.write("/f", text)
	settled(t, "/f", 2, pods...)
	out := outsider(t, "/f", pods...)
	out.forget()
	out.reads("/f", text)
	if err := out.holdsAll("/f", false); err != nil {
		t.Fatal(err)
	}
	if got, err := out.Evict(ctx, out.at("/f")); err != nil || got.Blocks == 0 || got.Kept != 0 {
		t.Errorf("evicted %+v, %v", got, err)
	}
	if out.holdsAll("/f", false) == nil {
		t.Error("it is still there")
	}
	for _, p := range pods {
		if p.holdsAll("/f", true) != nil {
			continue
		}
		if got, err := p.Evict(ctx, p.at("/f")); err != nil || got.Blocks != 0 {
			t.Errorf("what the policy wants there: %+v, %v", got, err)
		}
	}
	out.forget()
	out.reads("/f", text)
	for _, p := range pods {
		if p != out {
			p.stop()
		}
	}
	eventually(t, "alone", func() error {
		if n := len(out.connected()); n > 0 {
			return fmt.Errorf("%d are connected", n)
		}
		return nil
	})
	if got, err := out.Evict(ctx, out.at("/f")); !errors.Is(err, ErrNotSafe) || got.Blocks != 0 {
		t.Errorf("the last copy in reach: %+v, %v", got, err)
	}
	if err := out.holdsAll("/f", false); err != nil {
		t.Error(err)
	}
}

// TestEvictCut breaks if a cached copy of what is kept in fragments can't be dropped, or is when too few of them are in reach.
func TestEvictCut(t *testing.T) {
	pods := somePods(t, 4, time.Nanosecond)
	a, ctx := pods[0], quickly(t)
	if err := a.SetPolicy(ctx, vfs.RootID, "rs:2+1", ""); err != nil {
		t.Fatal(err)
	}
	text := randomText(926, 1<<20)
	a.write("/f", text)
	until(t, "/f", func(w Where) error { return cutUp(w, 2, 1) }, pods...)
	for _, p := range pods {
		p.forget()
		p.reads("/f", text)
		if got, err := p.Evict(ctx, p.at("/f")); err != nil || got.Blocks == 0 {
			t.Errorf("evicted %+v, %v", got, err)
		}
		p.forget()
		p.reads("/f", text)
	}
	for _, p := range pods[1:] {
		p.stop()
	}
	eventually(t, "alone", func() error {
		if n := len(a.connected()); n > 0 {
			return fmt.Errorf("%d are connected", n)
		}
		return nil
	})
	if got, err := a.Evict(ctx, a.at("/f")); !errors.Is(err, ErrNotSafe) || got.Blocks != 0 {
		t.Errorf("one fragment is in reach: %+v, %v", got, err)
	}
	a.reads("/f", text)
}

// TestDrain breaks if a drained pod keeps what others need, can be removed before that, or forgets at a restart that it is drained.
func TestDrain(t *testing.T) {
	pods := somePods(t, 4, time.Nanosecond)
	a, ctx := pods[0], quickly(t)
	texts := map[string]string{"/f": randomText(924, 2<<20), "/g": randomText(925, 1<<20)}
	for path, text := range texts {
		a.write(path, text)
	}
	if err := a.SetPolicy(ctx, a.at("/g"), "none", ""); err != nil {
		t.Fatal(err)
	}
	settled(t, "/f", 2, pods...)
	settled(t, "/g", 1, pods...)
	b := pods[1]
	if _, err := b.Drain(ctx, "pod1", false); err == nil {
		t.Error("one who is no admin drains another")
	}
	if _, err := a.RemovePod(ctx, "pod2"); !errors.Is(err, ErrNotSafe) {
		t.Errorf("removed before it is drained: %v", err)
	}
	for _, name := range []string{"pod2", "pod1"} {
		if d, err := a.Drain(ctx, name, false); err != nil || !d.Draining || d.Known {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	drains := func(p *testPod, name string) {
		t.Helper()
		eventually(t, name+" is empty", func() error {
			for _, p := range pods {
				if err := p.spread.everything(ctx); err != nil {
					return err
				}
			}
			d, err := a.DrainState(ctx, name)
			if err == nil && (!d.Known || d.Left > 0) {
				err = fmt.Errorf("%+v", d)
			}
			return err
		})
		for path := range texts {
			if p.holdsAll(path, true) == nil {
				t.Errorf("%s still owns %s", name, path)
			}
		}
	}
	drains(b, "pod2")
	drains(a, "pod1")
	if d, err := a.RemovePod(ctx, "pod2"); err != nil || !d.Removed {
		t.Errorf("%+v, %v", d, err)
	}
	b.stop()
	asked := make(chan error, 1)
	go func() {
		_, err := a.DrainState(ctx, "pod2")
		asked <- err
	}()
	b = openPod(t, b.dir)
	if err := <-asked; err != nil {
		t.Errorf("asked while it was started again: %v", err)
	}
	if e, _ := b.reg.entry(b.id); !e.Drain || e.Weight != 0 {
		t.Errorf("after a restart: %+v", e)
	}
	for path, text := range texts {
		b.reads(path, text)
		a.forget()
		a.reads(path, text)
	}
	if d, err := b.Drain(ctx, "", true); err != nil || d.Draining || d.Removed {
		t.Errorf("used again: %+v, %v", d, err)
	}
	if e, _ := b.reg.entry(b.id); e.Drain || e.Weight == 0 {
		t.Errorf("used again: %+v", e)
	}
}

// TestDrainStuck breaks if a pod that nobody can take over from is said to be empty.
func TestDrainStuck(t *testing.T) {
	pods := somePods(t, 2, time.Nanosecond)
	a, ctx := pods[0], quickly(t)
	a.write("/f", randomText(926, 1<<20))
	settled(t, "/f", 2, pods...)
	if _, err := a.Drain(ctx, "pod2", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is said", func() error {
		if err := pods[1].spread.everything(ctx); err != nil {
			return err
		}
		d, err := a.DrainState(ctx, "pod2")
		if err == nil && (!d.Known || !d.Stuck || d.Left == 0) {
			err = fmt.Errorf("%+v", d)
		}
		return err
	})
	if _, err := a.RemovePod(ctx, "pod2"); !errors.Is(err, ErrNotSafe) {
		t.Errorf("removed: %v", err)
	}
}

// TestDurability breaks if a close returns before as many pods as the durability says have the bytes and the commit.
func TestDurability(t *testing.T) {
	pods := somePods(t, 3, 0)
	a, ctx := pods[0], quickly(t)
	if err := a.SetPolicy(ctx, vfs.RootID, "replica:3", "full"); err != nil {
		t.Fatal(err)
	}
	text := randomText(927, 1<<20)
	a.write("/f", text)
	for _, p := range pods {
		a, err := vfs.Resolve(ctx, p.fs, "/f")
		if err != nil {
			t.Fatal(err)
		}
		w, err := p.Where(ctx, a.ID)
		if err != nil || !w.Safe {
			t.Errorf("%s, %v", w.Safety, err)
		}
		if err := p.holdsAll("/f", true); err != nil {
			t.Error(err)
		}
	}
	got, err := a.fs.GetXattr(ctx, a.at("/f"), xattrState)
	if err != nil || string(got) != "safe" {
		t.Errorf("state %q, %v", got, err)
	}
	if got, err := a.fs.GetXattr(ctx, a.at("/f"), xattrPolicy); err != nil || string(got) != "replica:3" {
		t.Errorf("policy %q, %v", got, err)
	}
	if err := a.SetPolicy(ctx, vfs.RootID, "replica:3", "quorum"); err != nil {
		t.Fatal(err)
	}
	pods[2].stop()
	a.write("/g", text)
	pods[1].stop()
	eventually(t, "alone", func() error {
		if n := len(a.connected()); n > 0 {
			return fmt.Errorf("%d are connected", n)
		}
		return nil
	})
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := writeFS(short, a.fs, "/h", text); !errors.Is(err, ErrNotSafe) {
		t.Errorf("one of two: %v", err)
	}
	if got, err := a.read("/h"); err != nil || got != text {
		t.Errorf("it is not here: %v", err)
	}
}

// If one of these changes, pods of two versions don't understand each other.
func TestGoldenPlacing(t *testing.T) {
	id := block.Sum(block.Raw, []byte("x"))
	q := keptQuestion(state.VV{{Member: 1, Incarnation: 1}: 7}, []*placing{{wanted: wanted{id: id}}})
	d := Drained{Draining: true, Known: true, Left: 1 << 40, Stuck: true}
	golden(t, "kept-question", q)
	golden(t, "drained", d.encode())
}

// FuzzDrained breaks if a peer's answer makes a pod panic, or is read two ways.
func FuzzDrained(f *testing.F) {
	f.Add(Drained{Draining: true, Left: 5}.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := decodeDrained(b); err == nil && string(d.encode()) != string(b) {
			t.Errorf("%x is read as %+v", b, d)
		}
	})
}
