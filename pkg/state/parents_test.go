package state

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type folders map[Ino]FolderPlace

func (f folders) get(i Ino) (FolderPlace, bool) {
	p, ok := f[i]
	return p, ok
}

func moved(parent Ino, ms int, prev Ino) FolderPlace {
	return FolderPlace{Parent: parent, Name: "now", TS: at(ms, 1), PrevParent: prev, PrevName: "before"}
}

func undoneTo(parent Ino, ms int) FolderPlace {
	return FolderPlace{Parent: parent, Name: "before", TS: at(ms, 1)}
}

// TestEffectiveParents: of moves into each other the later is undone, and nothing loops.
func TestEffectiveParents(t *testing.T) {
	const a, b, c = 11, 12, 13
	for _, x := range []struct {
		name string
		rows folders
		want map[Ino]FolderPlace
	}{
		{"no loop", folders{a: moved(1, 5, 1), b: moved(a, 6, 1)}, map[Ino]FolderPlace{}},
		{"A into B, B into A", folders{a: moved(b, 5, 1), b: moved(a, 6, 1)}, map[Ino]FolderPlace{b: undoneTo(1, 6)}},
		{"a tie goes to the greater number", folders{a: moved(b, 5, 1), b: moved(a, 5, 1)}, map[Ino]FolderPlace{b: undoneTo(1, 5)}},
		{"three in a ring", folders{a: moved(b, 7, 1), b: moved(c, 6, 1), c: moved(a, 5, 1)}, map[Ino]FolderPlace{a: undoneTo(1, 7)}},
		{"undone into a loop again", folders{a: moved(b, 7, c), b: moved(a, 6, 1), c: moved(a, 5, 1)}, map[Ino]FolderPlace{a: undoneTo(c, 7), c: undoneTo(1, 5)}},
		{"never moved, as nobody honest makes it", folders{a: {Parent: b, Name: "a"}, b: {Parent: a, Name: "b"}}, map[Ino]FolderPlace{b: {Parent: 1, Name: "b"}}},
		{"in itself", folders{a: moved(a, 5, a)}, map[Ino]FolderPlace{a: {Parent: 1, Name: "now", TS: at(5, 1)}}},
		{"below what is not there", folders{a: moved(99, 5, 1)}, map[Ino]FolderPlace{}},
	} {
		if d := cmp.Diff(EffectiveParents(x.rows.get, slices.Collect(maps.Keys(x.rows))), x.want); d != "" {
			t.Errorf("%s: got - want +\n%s", x.name, d)
		}
	}
}

// TestEffectiveParentsAnyStart: after it every way up ends, the result for a folder depends neither on the order nor on
// the other folders asked for, and the set of undone folders can be kept current from the moved ones alone.
func TestEffectiveParentsAnyStart(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for round := range 3000 {
		rows := folders{}
		n := 2 + rng.IntN(8)
		pick := func() Ino { return Ino(1 + rng.IntN(n+1)) }
		for i := range n {
			rows[Ino(i+2)] = moved(pick(), rng.IntN(5), pick())
			if rng.IntN(4) == 0 {
				rows[Ino(i+2)] = FolderPlace{Parent: pick(), Name: "made"}
			}
		}
		all := slices.Sorted(maps.Keys(rows))
		want := EffectiveParents(rows.get, all)
		for _, start := range all {
			at, steps := start, 0
			for ; at != RootIno && steps <= n; steps++ {
				p := rows[at]
				if u, ok := want[at]; ok {
					p = u
				}
				at = p.Parent
			}
			if at != RootIno {
				t.Fatalf("round %d: %d is still in a loop", round, start)
			}
			for ino, p := range EffectiveParents(rows.get, []Ino{start}) {
				if want[ino] != p {
					t.Fatalf("round %d: from %d alone, %d is in %v, want %v", round, start, ino, p, want[ino])
				}
			}
		}
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if d := cmp.Diff(EffectiveParents(rows.get, all), want); d != "" {
			t.Fatalf("round %d: another order: got - want +\n%s", round, d)
		}
		ino, undone := all[0], slices.Collect(maps.Keys(want))
		rows[ino] = moved(pick(), 9, rows[ino].Parent)
		want = EffectiveParents(rows.get, all)
		kept := EffectiveParents(rows.get, append(undone, ino))
		if d := cmp.Diff(kept, want); d != "" {
			t.Fatalf("round %d: kept current: got - want +\n%s", round, d)
		}
	}
}
