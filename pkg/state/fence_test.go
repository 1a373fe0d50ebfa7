package state

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// inos is everything below the root: paths and numbers.
func inos(t testing.TB, d *DB) map[string]Ino {
	t.Helper()
	out := map[string]Ino{}
	var walk func(ino Ino, path string)
	walk = func(ino Ino, path string) {
		for _, e := range must[[]Entry](t)(d.List(ino, "", 0)) {
			out[path+"/"+e.Name] = e.Node.ID
			if e.Node.Kind == vfs.KindFolder {
				walk(e.Node.ID, path+"/"+e.Name)
			}
		}
	}
	walk(RootIno, "")
	return out
}

// oneVersion says that no inode has versions beside each other: one pod alone commits.
func oneVersion(t testing.TB, d *DB) {
	t.Helper()
	err := scanPrefix(d.db, []byte{KeyInode}, func(key, value []byte) error {
		set, err := DecodeInodeSet(value)
		if err == nil && len(set) > 1 {
			t.Errorf("row %x has %d versions", key, len(set))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFence: a commit behind a fence has the tree as it was at the fence, with the contents that were given since, whatever else was done since: another pod shows just that, and all of it after the
// next commit.
func TestFence(t *testing.T) {
	eachSeed(t, 200, 40, func(t *testing.T, seed uint64) {
		n := newPods()
		u := &user{t: t, rng: rand.New(rand.NewPCG(seed, 2))}
		o := n.options(1, pebblevfs.NewMem())
		o.BeforeCommit = u.beforeCommit
		u.d = openWith(t, o)
		d, other := u.d, n.open(t, 2)
		for round := range 10 {
			for i := range u.rng.IntN(15) {
				u.step(i)
			}
			want, numbers := tree(t, d), inos(t, d)
			d.Fence(func() {})
			u.behind = true
			for i := range u.rng.IntN(10) {
				if u.rng.IntN(3) > 0 {
					u.step(100 + i)
					continue
				}
				c := inline(u.name())
				_, _, f := u.pick()
				row := string(InodeKey(f.ID))
				if w := d.dirty[row]; !slices.Contains(slices.Collect(maps.Values(numbers)), f.ID) || w != nil && !d.fence.precedes(row, w) {
					continue // nobody has finished it before, or it changed, for which a pod waits until it has its contents
				}
				if _, err := d.SetContent(f.ID, c); err != nil {
					continue
				}
				for path, ino := range numbers {
					if ino == f.ID {
						want[path] = textOf(t, Node{Body: c.Body})
					}
				}
			}
			if u.rng.IntN(5) == 0 {
				must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
				want = tree(t, d)
				for i := range u.rng.IntN(10) {
					u.step(200 + i)
				}
			}
			u.busy = u.rng.IntN(4)
			if u.rng.IntN(3) == 0 {
				c, name := inline("imported"), fmt.Sprintf("imported%d", round)
				file := NewFile{Parent: RootIno, Name: name, Node: vfs.NewNode{Kind: vfs.KindFile}, CreateOptions: CreateOptions{Content: &c}}
				if made := must[[]Imported](t)(d.Import(t.Context(), []NewFile{file})); made[0].Err != nil {
					t.Fatal(made[0].Err)
				}
				want["/"+name] = "imported"
				for i := range u.rng.IntN(5) {
					u.step(300 + i)
				}
			}
			must[int](t)(d.Commit(t.Context()))
			u.behind, u.busy = false, 0
			pull(t, other, d)
			if diff := cmp.Diff(tree(t, other), want); diff != "" {
				t.Fatalf("the other pod: got - want +\n%s", diff)
			}
			check(t, d)
			check(t, other)
			oneVersion(t, other)
			if u.rng.IntN(2) == 0 {
				continue
			}
			must[int](t)(d.Commit(t.Context()))
			pull(t, other, d)
			if !maps.Equal(tree(t, other), tree(t, d)) {
				t.Fatalf("after the next commit: got - want +\n%s", cmp.Diff(tree(t, other), tree(t, d)))
			}
		}
	})
}
