package state

import (
	"cmp"
	"slices"
)

// FolderPlace is where a folder is, and where it was before its last rename (0: it never moved).
type FolderPlace struct {
	Parent     Ino
	Name       string
	TS         TS // of the place
	PrevParent Ino
	PrevName   string
}

// PlaceOf is the place of a folder's only link; the root has none.
func PlaceOf(n *Inode) (FolderPlace, bool) {
	if len(n.Links) != 1 {
		return FolderPlace{}, false
	}
	l := &n.Links[0]
	return FolderPlace{Parent: l.Parent, Name: l.Name, TS: l.TS, PrevParent: l.PrevParent, PrevName: l.PrevName}, true
}

// EffectiveParents undoes the moves that made loops (A into B, B into A, apart). It returns the places of those folders, among
// start and what is above them, that are not where their rows say.
//
// As long as following parents comes back to a folder, the latest move in that loop is undone: the folder goes back to
// where it was before. A loop in which nothing is left to undo is opened at its folder of the greatest number, which goes to the root under the name in its row.
// Loops have no folder in common and opening one touches no other, so the result depends neither on the order nor on what else is in start.
//
// get tells a folder's place in the rows; not ok (the root, or no such row) ends the way up. To keep a set of all undone
// folders current after some moved: undone = EffectiveParents(get, moved and undone). A new loop has a folder in it that moved, an old one
// that is open now is found from the folder that was undone for it.
func EffectiveParents(get func(Ino) (FolderPlace, bool), start []Ino) map[Ino]FolderPlace {
	w := loopFinder{get: get, undone: map[Ino]FolderPlace{}, done: map[Ino]bool{}}
	for _, ino := range start {
		for loop := w.climb(ino); loop != nil; loop = w.climb(ino) {
			w.open(loop)
		}
	}
	return w.undone
}

// loopFinder climbs from folders to the root.
type loopFinder struct {
	get    func(Ino) (FolderPlace, bool)
	undone map[Ino]FolderPlace
	done   map[Ino]bool // no loop is above these
}

func (w *loopFinder) place(ino Ino) (FolderPlace, bool) {
	if ino == RootIno {
		return FolderPlace{}, false
	}
	if p, ok := w.undone[ino]; ok {
		return p, true
	}
	return w.get(ino)
}

// climb follows parents from a folder, and returns the loop that it came to, or nil.
func (w *loopFinder) climb(ino Ino) []Ino {
	var way []Ino
	at := map[Ino]int{}
	for !w.done[ino] {
		if i, ok := at[ino]; ok {
			return way[i:]
		}
		p, ok := w.place(ino)
		if !ok {
			break
		}
		at[ino] = len(way)
		way = append(way, ino)
		ino = p.Parent
	}
	for _, i := range way {
		w.done[i] = true
	}
	return nil
}

// open undoes the latest move in a loop.
func (w *loopFinder) open(loop []Ino) {
	var movable []Ino
	for _, ino := range loop {
		if p, _ := w.place(ino); p.PrevParent != 0 { // of an undone folder it is 0
			movable = append(movable, ino)
		}
	}
	if len(movable) == 0 {
		last := slices.Max(loop)
		p, _ := w.get(last)
		w.undone[last] = FolderPlace{Parent: RootIno, Name: p.Name, TS: p.TS}
		return
	}
	last := slices.MaxFunc(movable, func(a, b Ino) int {
		pa, _ := w.get(a)
		pb, _ := w.get(b)
		return cmp.Or(pa.TS.Compare(pb.TS), cmp.Compare(a, b))
	})
	p, _ := w.get(last)
	w.undone[last] = FolderPlace{Parent: p.PrevParent, Name: p.PrevName, TS: p.TS}
}
