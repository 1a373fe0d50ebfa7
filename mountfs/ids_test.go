//go:build linux || darwin

package mountfs

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
)

// TestIDMapIsOneToOne: pairs hold, what is set is shown again, and no two owners become one, whatever the pairs are.
func TestIDMapIsOneToOne(t *testing.T) {
	const idMax = 12
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		here, fs := rng.Perm(idMax), rng.Perm(idMax)
		ids := IDs{Pairs: make(map[uint32]uint32)}
		for i := range rng.IntN(idMax) {
			ids.Pairs[uint32(here[i])] = uint32(fs[i])
		}
		m := newIDMap(ids)
		var shown []uint32
		for id := range uint32(idMax) {
			h := m.here(id)
			if got := m.fs(h); got != id {
				t.Fatalf("seed %d: %d is shown as %d, which is set as %d; pairs %v", seed, id, h, got, ids.Pairs)
			}
			if want, paired := ids.Pairs[h]; paired && want != id {
				t.Fatalf("seed %d: %d is shown as %d, which is paired with %d", seed, id, h, want)
			}
			shown = append(shown, h)
		}
		slices.Sort(shown)
		if len(slices.Compact(shown)) != idMax {
			t.Fatalf("seed %d: two owners are shown as one: %v", seed, ids.Pairs)
		}
	}
}

// TestMapIDs: owners go through the map in both directions.
func TestMapIDs(t *testing.T) {
	ctx, tree := t.Context(), memfs.New(memfs.Options{})
	a, err := tree.Create(ctx, vfs.RootID, "theirs", vfs.NewNode{Kind: vfs.KindFile, UID: 1000, GID: 100})
	if err != nil {
		t.Fatal(err)
	}
	mapped := mapIDs(tree, Options{UIDs: IDs{Pairs: map[uint32]uint32{1001: 1000}}})
	if got, err := mapped.Lookup(ctx, vfs.RootID, "theirs"); err != nil || got.UID != 1001 || got.GID != 100 {
		t.Errorf("shown as %d:%d, %v", got.UID, got.GID, err)
	}
	made, err := mapped.Create(ctx, vfs.RootID, "ours", vfs.NewNode{Kind: vfs.KindFile, UID: 1001, GID: 7})
	if err != nil || made.UID != 1001 {
		t.Errorf("made as %d, %v", made.UID, err)
	}
	if under, err := tree.GetAttr(ctx, made.ID); err != nil || under.UID != 1000 || under.GID != 7 {
		t.Errorf("kept as %d:%d, %v", under.UID, under.GID, err)
	}
	uid, gid, mode := uint32(5), uint32(0), uint32(0o600)
	one := mapIDs(tree, Options{UIDs: IDs{All: &uid}, GIDs: IDs{All: &gid}})
	list, err := one.ReadDir(ctx, vfs.RootID, "", 10)
	if err != nil || len(list) != 2 || list[0].Attr.UID != 5 || list[1].Attr.GID != 0 {
		t.Errorf("list %+v, %v", list, err)
	}
	if got, err := one.SetAttr(ctx, a.ID, vfs.SetAttr{UID: &uid, Mode: &mode}); err != nil || got.UID != 5 || got.Mode != mode {
		t.Errorf("set to who it is shown as: %+v, %v", got, err)
	}
	if _, err := one.SetAttr(ctx, a.ID, vfs.SetAttr{UID: &mode}); !errors.Is(err, vfs.ErrNotPermitted) {
		t.Errorf("set to another: %v", err)
	}
	if under, err := tree.GetAttr(ctx, a.ID); err != nil || under.UID != 1000 {
		t.Errorf("kept as %d, %v", under.UID, err)
	}
	if mapIDs(tree, Options{}) != vfs.FS(tree) {
		t.Error("an FS is wrapped for nothing")
	}
}

// TestOwnIDs breaks if a user can't write on the mount that they made, since all there is somebody else's, or if root, or who asked for something else, is
// shown owners that are not so.
func TestOwnIDs(t *testing.T) {
	if got := ownIDs(Options{}, 1000); got.UIDs.All == nil || *got.UIDs.All != 1000 || got.GIDs.All != nil {
		t.Errorf("of a user's mount: %+v", got)
	}
	if got := ownIDs(Options{}, 0); got.UIDs.All != nil {
		t.Errorf("of root's mount: %+v", got)
	}
	pairs := IDs{Pairs: map[uint32]uint32{1000: 1000}}
	if got := ownIDs(Options{UIDs: pairs}, 1000); got.UIDs.All != nil {
		t.Errorf("of one with options: %+v", got)
	}
}
