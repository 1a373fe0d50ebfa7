package pod

import (
	"fmt"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestMadeAgainHasOneNode: a file that another pod removed is made again with what was written here, and is opened by its name at that very moment. If it fails, it has two
// nodes: who writes by one takes back what was written by the other.
func TestMadeAgainHasOneNode(t *testing.T) {
	p := newStill(t)
	ctx := quickly(t)
	for i := range 300 {
		name := fmt.Sprint("f", i)
		f := p.open(name)
		write(p, f, 0, "text")
		if _, err := p.db.Remove(vfs.RootID, name, false); err != nil { // as another pod's commit does: its node is not told
			t.Fatal(err)
		}
		if err := f.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		opened := make(chan vfs.File, 1)
		go func() {
			for ctx.Err() == nil {
				a, err := p.fs.Lookup(ctx, vfs.RootID, name)
				if err != nil {
					continue
				}
				if g, err := p.fs.Open(ctx, a.ID); err == nil {
					opened <- g
					return
				}
			}
			close(opened)
		}()
		if err := p.pass(ctx); err != nil {
			t.Fatal(err)
		}
		g := <-opened
		if one, two := f.(*file).n, g.(*file).n; one != two { //nolint:forcetypeassert // a view opens only these
			t.Fatalf("round %d: two nodes", i)
		}
		_, _ = f.Close(ctx), g.Close(ctx)
	}
}
