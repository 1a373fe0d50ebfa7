package state

import (
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
)

// TestForgottenStaysForgotten: a file that a sync made durable, uncommitted, and that was removed before anybody heard of it, is gone after the
// next Commit, although that has nothing to commit. If this fails, a loss of power brings back what was removed and synced.
func TestForgottenStaysForgotten(t *testing.T) {
	n := newPods()
	fs := pebblevfs.NewCrashableMem()
	o := n.options(1, fs)
	d := openWith(t, o)
	mkfile(t, d, RootIno, "f", "text")
	if err := d.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	must[Node](t)(d.Remove(RootIno, "f", false))
	if made := must[int](t)(d.Commit(t.Context())); made != 0 {
		t.Errorf("%d rows are committed", made)
	}
	o.FS = fs.CrashClone(pebblevfs.CrashCloneCfg{})
	wantTree(t, openWith(t, o), map[string]string{})
}
