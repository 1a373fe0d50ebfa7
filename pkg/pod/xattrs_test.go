package pod

import (
	"errors"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestPolicyXattr breaks where the attribute user.wh.policy is not the policy that holds, or can't be set and removed as others are.
func TestPolicyXattr(t *testing.T) {
	p := firstPod(t)
	ctx := quickly(t)
	if _, err := p.fs.Create(ctx, vfs.RootID, "d", vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	p.write("/d/f", "bytes")
	id := func(path string) vfs.NodeID {
		t.Helper()
		a, err := vfs.Resolve(ctx, p.fs, path)
		if err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	want := func(path, policy string) {
		t.Helper()
		if got, err := p.fs.GetXattr(ctx, id(path), xattrPolicy); err != nil || string(got) != policy {
			t.Errorf("%s: policy %q, %v, want %q", path, got, err, policy)
		}
	}
	want("/d/f", defaultPolicy)
	if err := p.fs.SetXattr(ctx, id("/d"), xattrPolicy, []byte("none"), 0); err != nil {
		t.Fatal(err)
	}
	want("/d/f", "none")
	for value, flags := range map[string]vfs.XattrFlag{"three": 0, "": 0, "replica:3": vfs.XattrCreate} {
		if err := p.fs.SetXattr(ctx, id("/d"), xattrPolicy, []byte(value), flags); err == nil {
			t.Errorf("policy %q, flags %d is set", value, flags)
		}
	}
	if err := p.fs.SetXattr(ctx, id("/d"), xattrPolicy, []byte("three"), 0); !errors.Is(err, vfs.ErrInvalid) {
		t.Errorf("no policy: %v", err)
	}
	want("/d", "none")
	if err := p.fs.RemoveXattr(ctx, id("/d"), xattrPolicy); err != nil {
		t.Fatal(err)
	}
	want("/d/f", defaultPolicy)
	for _, name := range []string{xattrState, xattrCID} {
		if err := p.fs.SetXattr(ctx, id("/d/f"), name, []byte("safe"), 0); !errors.Is(err, vfs.ErrNotPermitted) {
			t.Errorf("%s is set: %v", name, err)
		}
	}
}

// TestStateXattr breaks where user.wh.state does not follow a file from its writing to its place.
func TestStateXattr(t *testing.T) {
	p := firstPod(t)
	ctx := quickly(t)
	a, err := p.fs.Create(ctx, vfs.RootID, "f", vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	want := func(id vfs.NodeID, state string) {
		t.Helper()
		if got, err := p.fs.GetXattr(ctx, id, xattrState); err != nil || string(got) != state {
			t.Errorf("state %q, %v, want %q", got, err, state)
		}
	}
	f, err := p.fs.Open(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(ctx, make([]byte, 5000), 0); err != nil {
		t.Fatal(err)
	}
	want(a.ID, "dirty")
	if err := errors.Join(f.Close(ctx), p.Settle(ctx)); err != nil {
		t.Fatal(err)
	}
	want(a.ID, "degraded 1/2") // the default wants two pods, and this is the only one
	if err := p.SetPolicy(ctx, a.ID, "none", ""); err != nil {
		t.Fatal(err)
	}
	want(a.ID, "safe")
	if _, err := p.fs.GetXattr(ctx, vfs.RootID, xattrState); !errors.Is(err, vfs.ErrNoXattr) {
		t.Errorf("a folder has a state: %v", err)
	}
}
