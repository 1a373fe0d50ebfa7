package pod

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestLastCopyStays breaks if a cached copy is evicted that is the last one of its block, since the pod that had the other is lost.
func TestLastCopyStays(t *testing.T) {
	pods := metPods(t, 3)
	admin, author, reader, ctx := pods[0], pods[1], pods[2], quickly(t)
	ruled(t, map[string]string{"policy": "none", "suspect": "5ms", "down": "10ms"}, pods...)
	text := randomText(1301, 200<<10)
	author.write("/f", text)
	sameRoot(t, pods...)
	reader.reads("/f", text)
	reader.forget()
	if reader.holdsAll("/f", false) != nil || reader.holdsAll("/f", true) == nil {
		t.Fatal("the reader has no cached copy")
	}
	if err := reader.spread.everything(ctx); err != nil { // so that what is kept is known, not merely not known yet
		t.Fatal(err)
	}
	gone(author)
	name := author.reg.name(author.id)
	eventually(t, "it is down", func() error { _, err := admin.RemoveLost(ctx, name); return err })
	eventually(t, "all know", func() error {
		if !reader.reg.isLost(author.id) {
			return errors.New("the reader does not know")
		}
		return nil
	})
	if _, err := reader.CleanCache(ctx); err != nil {
		t.Fatal(err)
	}
	reader.reads("/f", text)
	eventually(t, "a pod has it as its own", func() error {
		if err := errors.Join(reader.spread.everything(ctx), admin.spread.everything(ctx)); err != nil {
			return err
		}
		if admin.holdsAll("/f", true) == nil {
			return nil
		}
		return reader.holdsAll("/f", true)
	})
}

// TestCleanCache breaks if cached copies stay that others have, or the space is not free afterwards.
func TestCleanCache(t *testing.T) {
	pods := somePods(t, 4, time.Nanosecond)
	a, ctx := pods[0], quickly(t)
	a.write("/f", randomText(1302, 1<<20))
	settled(t, "/f", 2, pods...)
	for _, p := range pods {
		if _, err := p.read("/f"); err != nil {
			t.Fatal(err)
		}
		if err := p.spread.everything(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := p.CleanCache(ctx); err != nil {
			t.Fatal(err)
		}
		if info, err := p.Cache(ctx); err != nil || info.Bytes != 0 || info.Copies != 0 {
			t.Errorf("%+v, %v", info, err)
		}
	}
	settled(t, "/f", 2, pods...)
}

// TestPinnedTree breaks if of a tree that is pinned on a pod some file can't be read there while all others are off, or what is outside does not say
// why it can't, or the space does not come back after the pin.
func TestPinnedTree(t *testing.T) {
	pods := metPods(t, 4)
	a, c, ctx := pods[0], pods[3], quickly(t)
	ruled(t, map[string]string{"lower": "1ms"}, pods...)
	for _, dir := range []string{"in", "out"} {
		if _, err := a.fs.Create(ctx, vfs.RootID, dir, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	text := func(i int) string { return randomText(uint64(1310+i), 150<<10) }
	for i := range 8 {
		a.write(fmt.Sprintf("/in/%d", i), text(i))
		a.write(fmt.Sprintf("/out/%d", i), text(100+i))
	}
	sameRoot(t, pods...)
	everywhere := func(what string, done func() error) {
		t.Helper()
		eventually(t, what, func() error {
			for _, p := range pods {
				if err := p.spread.everything(ctx); err != nil {
					return err
				}
			}
			return done()
		})
	}
	everywhere("all is safe", func() error { return a.SyncWait(ctx, vfs.RootID) })
	if _, err := c.CleanCache(ctx); err != nil {
		t.Fatal(err)
	}
	before := c.usage()
	if err := a.SetPin(ctx, a.at("/in"), c.reg.name(c.id), true); err != nil {
		t.Fatal(err)
	}
	everywhere("the pin", func() error {
		var errs []error
		for i := range 8 {
			errs = append(errs, c.holdsAll(fmt.Sprintf("/in/%d", i), true))
		}
		return errors.Join(errs...)
	})
	for _, p := range pods[:3] {
		gone(p)
	}
	c.forget()
	failed := 0
	for i := range 8 {
		if got, err := c.read(fmt.Sprintf("/in/%d", i)); err != nil || got != text(i) {
			t.Errorf("pinned file %d: %v", i, err)
		}
		if _, err := c.read(fmt.Sprintf("/out/%d", i)); err != nil {
			failed++
			if !errors.Is(err, block.ErrUnavailable) && !errors.Is(err, block.ErrNotFound) {
				t.Errorf("why: %v", err)
			}
		}
	}
	if failed == 0 {
		t.Error("every file outside the pinned tree is here")
	}
	for i := range 3 {
		pods[i] = again(t, pods[i])
	}
	if err := c.SetPin(ctx, c.at("/in"), "", false); err != nil {
		t.Fatal(err)
	}
	everywhere("the space is back", func() error {
		if _, err := c.CleanCache(ctx); err != nil {
			return err
		}
		if now := c.usage(); now.Live > before.Live+10<<10 || now.Cache > 0 {
			return fmt.Errorf("%d bytes are live and %d cached, %d were live before the pin", now.Live, now.Cache, before.Live)
		}
		return nil
	})
}

// TestReadOnce breaks if what is read once stays in the cache, or other reads don't.
func TestReadOnce(t *testing.T) {
	a := firstPod(t)
	ctx := quickly(t)
	if err := a.SetRule(ctx, "policy", "none"); err != nil {
		t.Fatal(err)
	}
	b := joinPod(t, a, "b")
	text := randomText(77, 12<<20)
	a.write("/f", text)
	a.settle()
	sameRoot(t, a, b)
	f, err := b.FS().Open(ctx, b.at("/f"))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	buf := make([]byte, 1<<20)
	for off := range int64(12) { // in order, so that it is read ahead too
		if _, err := f.ReadAt(vfs.WithReuse(ctx, vfs.ReadOnce), buf, off<<20); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		got.Write(buf)
	}
	if err := f.Close(ctx); err != nil || got.String() != text {
		t.Fatalf("read %s: %v", shorten(got.String()), err)
	}
	if n := b.usage().Cache; n > 64<<10 { // nodes
		t.Errorf("%d bytes of what was read once are in the cache", n)
	}
	b.forget()
	b.reads("/f", text)
	if n := b.usage().Cache; n < 12<<20 {
		t.Errorf("%d bytes are in the cache, of 12 MiB that were read", n)
	}
}
