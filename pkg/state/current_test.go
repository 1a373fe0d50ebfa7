package state

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestInodeReader: it finds what a look-up finds, in whatever order rows are asked for, those that are not there among them.
func TestInodeReader(t *testing.T) {
	d := newPods().open(t, 1)
	var all []Ino
	for i := range 60 {
		n := mkfile(t, d, RootIno, string(rune('a'+i)), "x")
		all = append(all, n.ID, n.ID+7)
	}
	must[int](t)(d.Commit(t.Context()))
	slices.Sort(all)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		r := must[*inodeReader](t)(newInodeReader(d.db))
		at := rng.IntN(len(all))
		for range 200 {
			if at += rng.IntN(4) - 1; rng.IntN(10) == 0 || at < 0 || at >= len(all) {
				at = rng.IntN(len(all))
			}
			key := InodeKey(all[at])
			got, want := must[[]byte](t)(r.get(key)), must[[]byte](t)(get(d.db, key))
			if !slices.Equal(got, want) || (got == nil) != (want == nil) {
				t.Fatalf("row %x: got %x, want %x", key, got, want)
			}
		}
		r.close()
	}
}
