package state

import (
	"fmt"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestRecent breaks if a node is remembered over a change of it: while one goroutine changes a file, and now and then commits it, others read it by
// its number, its attribute, and the listing of its folder, and none may see less than what was done before it began.
func TestRecent(t *testing.T) {
	d := newPods().open(t, 1)
	f, err := d.Create(RootIno, "f", vfs.NewNode{Kind: vfs.KindFile}, CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const changes = 500
	var done atomic.Uint32
	g, ctx := errgroup.WithContext(t.Context())
	g.Go(func() error {
		for i := uint32(1); i <= changes; i++ {
			if _, err := d.SetAttr(f.ID, vfs.SetAttr{UID: &i}); err != nil {
				return err
			}
			if _, err := d.SetXattr(f.ID, "user.n", []byte{byte(i >> 8), byte(i)}, 0); err != nil {
				return err
			}
			done.Store(i)
			if i%50 == 0 {
				if _, err := d.Commit(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	})
	readers := map[string]func() (uint32, error){
		"get": func() (uint32, error) {
			n, err := d.Get(f.ID)
			return n.UID, err
		},
		"xattr": func() (uint32, error) {
			v, err := d.Xattr(f.ID, "user.n")
			if err != nil {
				return 0, err
			}
			return uint32(v[0])<<8 | uint32(v[1]), nil
		},
		"list": func() (uint32, error) {
			list, err := d.List(RootIno, "", 0)
			if err != nil {
				return 0, err
			}
			return list[0].Node.UID, nil
		},
	}
	for name, read := range readers {
		g.Go(func() error {
			for done.Load() == 0 && ctx.Err() == nil { // the attribute is not there yet
			}
			for at := uint32(0); at < changes && ctx.Err() == nil; {
				at = done.Load()
				got, err := read()
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if got < at {
					return fmt.Errorf("%s: change %d is shown after number %d was made", name, got, at)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// TestRecentRemembers breaks if what was listed is read from the disk again, or if more is kept than what it is for.
func TestRecentRemembers(t *testing.T) {
	d := newPods().open(t, 1)
	for i := range 3 * recentMax {
		if _, err := d.Create(RootIno, fmt.Sprint(i), vfs.NewNode{Kind: vfs.KindFile}, CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := d.List(RootIno, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range list {
		k, ok, err := d.remembered(e.Node.ID)
		if must := i >= len(list)-recentMax; err != nil || ok && k.node.ID != e.Node.ID || must && !ok {
			t.Fatalf("entry %d: %v %v, remembered %t", i, k.node.ID, err, ok)
		}
	}
	if n := len(d.recent.now) + len(d.recent.old); n > 2*recentMax {
		t.Errorf("%d nodes are remembered", n)
	}
}
