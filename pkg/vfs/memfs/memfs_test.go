package memfs_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/vfstest"
)

var newFile = vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644}

// TestConformance runs the suite; its model test compares memfs with itself, which tries the suite.
func TestConformance(t *testing.T) {
	vfstest.Run(t, func(*testing.T) vfs.FS { return memfs.New(memfs.Options{}) })
}

// TestCapacity: a write that doesn't fit does nothing; space comes back when a file goes.
func TestCapacity(t *testing.T) {
	ctx, fs := t.Context(), memfs.New(memfs.Options{CapacityBytes: 8192})
	a, err := fs.Create(ctx, vfs.RootID, "f", newFile)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fs.Open(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.WriteAt(ctx, make([]byte, 8193), 0); n != 0 || !errors.Is(err, vfs.ErrNoSpace) {
		t.Fatalf("write over capacity: %d, %v", n, err)
	}
	if _, err := f.WriteAt(ctx, make([]byte, 8192), 0); err != nil {
		t.Fatal(err)
	}
	if st, err := fs.StatFS(ctx); err != nil || st.Free != 0 {
		t.Fatalf("full: %+v, %v", st, err)
	}
	if err := errors.Join(fs.Remove(ctx, vfs.RootID, "f", false), f.Close(ctx)); err != nil {
		t.Fatal(err)
	}
	if st, err := fs.StatFS(ctx); err != nil || st.Free != 8192 || fs.Nodes() != 1 {
		t.Fatalf("after removal: %+v, %v, %d nodes", st, err, fs.Nodes())
	}
}

// TestWatch: a surface hears what others do, in order, and not what it does itself.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		fs := memfs.New(memfs.Options{})
		other := fs.View()
		var heard []vfs.Change
		done := make(chan error, 1)
		go func() { done <- fs.Watch(ctx, func(c []vfs.Change) { heard = append(heard, c...) }) }()
		synctest.Wait()
		a, err := other.Create(ctx, vfs.RootID, "theirs", newFile)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fs.Create(ctx, vfs.RootID, "mine", newFile); err != nil {
			t.Fatal(err)
		}
		if err := other.SetXattr(ctx, a.ID, "user.x", nil, 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := []vfs.Change{{Node: vfs.RootID, Parent: vfs.RootID, Name: "theirs"}, {Node: a.ID}}
		if diff := cmp.Diff(heard, want); diff != "" {
			t.Errorf("heard (-got +want):\n%s", diff)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("watch ended with %v", err)
		}
	})
}

// TestWatchOverflow: a watcher that falls far behind is told that anything may have changed.
func TestWatchOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		fs := memfs.New(memfs.Options{})
		other := fs.View()
		told, goOn := make(chan []vfs.Change, 8), make(chan struct{})
		go func() {
			_ = fs.Watch(ctx, func(c []vfs.Change) { told <- c; <-goOn })
		}()
		<-told // it waits from now on
		for i := range 6000 {
			if _, err := other.Create(ctx, vfs.RootID, fmt.Sprint(i), newFile); err != nil {
				t.Fatal(err)
			}
		}
		close(goOn)
		if c := <-told; len(c) != 0 {
			t.Errorf("after an overflow: %d changes, want none", len(c))
		}
	})
}

// TestClose: a closed tree refuses everything.
func TestClose(t *testing.T) {
	fs := memfs.New(memfs.Options{})
	fs.View().Close()
	if _, err := fs.GetAttr(t.Context(), vfs.RootID); !errors.Is(err, vfs.ErrClosed) {
		t.Errorf("got %v, want %v", err, vfs.ErrClosed)
	}
}
