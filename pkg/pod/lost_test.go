package pod

import (
	"errors"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestLostIsTold: a pod may not write any more while contents wait to be named, and drops them. If it fails, whoever comes to make them durable after that pass is told that they are, or
// who writes again once the pod may is told for ever that they are not.
func TestLostIsTold(t *testing.T) {
	p := newStill(t)
	ctx := quickly(t)
	f := p.open("f")
	if err := p.pass(ctx); err != nil {
		t.Fatal(err)
	}
	n := f.(*file).n //nolint:forcetypeassert // a view opens only these
	if _, err := f.WriteAt(ctx, []byte("first"), 0); err != nil {
		t.Fatal(err)
	}
	if err := p.stage(ctx, n); err != nil {
		t.Fatal(err)
	}
	if _, err := p.db.MayWrite(ctx, false); err != nil {
		t.Fatal(err)
	}
	if err := p.pass(ctx); !errors.Is(err, vfs.ErrReadOnly) {
		t.Errorf("the pass: %v", err)
	}
	if err := f.Sync(ctx); !errors.Is(err, errLost) {
		t.Errorf("an fsync: %v", err)
	}
	if err := f.Flush(ctx); !errors.Is(err, errLost) {
		t.Errorf("a close: %v", err)
	}
	if _, err := p.db.MayWrite(ctx, true); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(ctx, []byte("again"), 0); err != nil {
		t.Fatal(err)
	}
	if err := p.stage(ctx, n); err != nil {
		t.Fatal(err)
	}
	if err := p.pass(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(ctx); err != nil {
		t.Errorf("an fsync of what is there: %v", err)
	}
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
}
