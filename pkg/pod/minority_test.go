package pod

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestMinority breaks if a pod that is cut off changes what the rules say it must not, refuses what it may, does not say so, or stays so when it is back.
func TestMinority(t *testing.T) {
	pods := metPods(t, 3)
	a, ctx := pods[0], quickly(t)
	ruled(t, map[string]string{"policy": "replica:2", "suspect": "5ms", "down": "10ms", "minority_read_only": "/bank, /till"}, pods...)
	for _, dir := range []string{"bank", "notes"} {
		if _, err := a.fs.Create(ctx, vfs.RootID, dir, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	a.write("/bank/f", "before")
	a.write("/notes/f", "before")
	sameRoot(t, pods...)
	cutOff(t, a, pods[1:]...)
	refused := func(what string, err error, want bool) {
		t.Helper()
		if errors.Is(err, vfs.ErrReadOnly) != want || err != nil && !want {
			t.Errorf("%s: %v", what, err)
		}
	}
	write := func(path string) error { return writeFS(ctx, a.fs, path, "after") }
	refused("write in a fixed folder", write("/bank/f"), true)
	refused("create in it", write("/bank/new"), true)
	refused("remove from it", a.fs.Remove(ctx, a.at("/bank"), "f", false), true)
	refused("rename out of it", a.fs.Rename(ctx, a.at("/bank"), "f", a.at("/notes"), "g", 0), true)
	refused("write elsewhere", write("/notes/f"), false)
	if got, err := a.read("/bank/f"); err != nil || got != "before" {
		t.Errorf("%q, %v", got, err)
	}
	st, err := a.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for _, w := range st.Warnings {
		told = told || w.Code == health.CodeMinority
	}
	if !told {
		t.Error("the status does not say that it is cut off")
	}
	ruled(t, map[string]string{"minority": "read-only"}, a)
	refused("write anywhere", write("/notes/f"), true)
	if err := a.SetPolicy(ctx, a.at("/notes"), "", durabilityFull); err != nil {
		t.Fatal(err)
	}
	ruled(t, map[string]string{"minority": "write"}, a)
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := a.Durable(short, a.at("/notes")); !errors.Is(err, ErrNotSafe) {
		t.Errorf("full durability in a minority: %v", err)
	}
	pods[1] = again(t, pods[1])
	eventually(t, "it is back", func() error { return write("/bank/f") })
	pods[1].reads("/bank/f", "after")
	pods[1].reads("/notes/f", "after")
}

// cutOff ends all pods but one, and waits until that one knows that it sees most of them no more.
func cutOff(t *testing.T, p *testPod, others ...*testPod) {
	t.Helper()
	for _, other := range others {
		gone(other)
	}
	eventually(t, "it is cut off", func() error {
		if !p.cutOff.Load() {
			return errors.New("not yet")
		}
		return nil
	})
}
