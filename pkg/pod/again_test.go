package pod

import (
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestMadeAgainHasOneNode: a file that another pod removed is made again with what was written here, and is opened by its name at the moment at which the state has it. If it
// fails, it has two nodes: who writes by one takes back what was written by the other.
func TestMadeAgainHasOneNode(t *testing.T) {
	const unlessBlocked = 300 * time.Millisecond // who opens it has it by then, or waits until its node is known
	p := newStill(t)
	ctx := quickly(t)
	f := p.open("f")
	write(p, f, 0, "text")
	if _, err := p.db.Remove(vfs.RootID, "f", false); err != nil { // as another pod's commit does: its node is not told
		t.Fatal(err)
	}
	if _, err := p.db.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	opened, failed := make(chan vfs.File, 1), make(chan error, 1)
	p.db.OnDirty(func() { // the file is there, and the operation that made it has not returned
		done := make(chan struct{})
		go func() {
			defer close(done)
			a, err := p.fs.Lookup(ctx, vfs.RootID, "f")
			var g vfs.File
			if err == nil {
				g, err = p.fs.Open(ctx, a.ID)
			}
			if err != nil {
				failed <- err
				return
			}
			opened <- g
		}()
		select {
		case <-done:
		case <-time.After(unlessBlocked):
		}
	})
	if err := p.pass(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		t.Fatal(err)
	case g := <-opened:
		if one, two := f.(*file).n, g.(*file).n; one != two { //nolint:forcetypeassert // a view opens only these
			t.Error("two nodes")
		}
		_ = g.Close(ctx)
	case <-ctx.Done():
		t.Fatal("nobody opened it")
	}
	_ = f.Close(ctx)
}
