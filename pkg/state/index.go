package state

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// claim is a link that stands in the index.
type claim struct {
	parent Ino
	name   string
	slot   slot
}

// claims are the places at which an inode that is no folder stands.
func (d *DB) claims(ino Ino, f *Folded) []claim {
	if f == nil || f.Inode.Kind == vfs.KindFolder {
		return nil
	}
	links := f.Shown()
	entries := ViewEntries(ino, f, bodyKey)
	out := make([]claim, len(links))
	for i, l := range links {
		out[i] = claim{parent: l.Parent, name: l.Name, slot: slot{ino: ino, link: l.ID, came: max(l.TS.HLC, l.DeadTS.HLC), multi: len(entries[i].Copies) > 0}}
	}
	return out
}

// reindex brings the index from what an inode was to what it is; nil: no such row.
func (t *tx) reindex(ino Ino, before, after *Folded) error {
	if err := t.dropOrigin(ino, before, after); err != nil {
		return err
	}
	if isFolder(before) || isFolder(after) || ino == RootIno {
		// A number keeps its kind, but a faulty author may give it another.
		if err := t.reindexFile(ino, before, nil); err != nil {
			return err
		}
		if err := t.reindexFolder(ino, before, after); err != nil {
			return err
		}
		if isFolder(after) {
			return nil
		}
		before = nil
	}
	return t.reindexFile(ino, before, after)
}

func isFolder(f *Folded) bool { return f != nil && f.Inode.Kind == vfs.KindFolder }

func (t *tx) reindexFile(ino Ino, before, after *Folded) error {
	was, is := t.d.claims(ino, before), t.d.claims(ino, after)
	for _, c := range was {
		if slices.Contains(is, c) {
			if err := t.mark(c.parent, c.name); err != nil { // its attributes may be others
				return err
			}
			if err := t.noteIrregular(c.parent); err != nil { // and who gets the name
				return err
			}
			continue
		}
		if err := t.drop(c); err != nil {
			return err
		}
	}
	for _, c := range is {
		if !slices.Contains(was, c) {
			if err := t.add(c); err != nil {
				return err
			}
		}
	}
	if len(was) > 0 {
		t.changes = append(t.changes, vfs.Change{Node: ino})
	}
	return t.reindexCopies(ino, before, after)
}

// reindexCopies keeps the numbers of conflict copies.
func (t *tx) reindexCopies(ino Ino, before, after *Folded) error {
	was, is := copyNames(ino, before), copyNames(ino, after)
	for _, c := range was {
		if !slices.Contains(is, c) {
			if err := t.del(inoKey(keyCopy, CopyIno(ino, c))); err != nil {
				return err
			}
			t.changes = append(t.changes, vfs.Change{Node: CopyIno(ino, c)})
		}
	}
	for _, c := range is {
		if !slices.Contains(was, c) {
			if err := t.set(inoKey(keyCopy, CopyIno(ino, c)), inoKey(0, ino)[1:]); err != nil {
				return err
			}
			t.renumber(CopyIno(ino, c), 0)
		}
	}
	return nil
}

// copyNames are the contents of an inode that are shown as copies.
func copyNames(ino Ino, f *Folded) []ContentName {
	if f == nil || len(f.Inode.Contents) < 2 {
		return nil
	}
	var out []ContentName
	for _, e := range ViewEntries(ino, f, bodyKey) {
		for _, c := range e.Copies {
			out = append(out, c.Content)
		}
	}
	return out
}

// mark says that the next checkpoint must look at an entry; no name: at the folder itself.
func (t *tx) mark(parent Ino, name string) error {
	t.changes = append(t.changes, vfs.Change{Parent: parent, Name: name})
	if name == "" {
		t.changes[len(t.changes)-1] = vfs.Change{Node: parent}
	}
	return t.set(markKey(keyEntryMark, t.d.epoch, nameKey(0, parent, name)[1:]), nil)
}

// add puts a link into the index.
func (t *tx) add(c claim) error {
	return t.change(c, func(slots []slot) ([]slot, error) {
		i, found := slices.BinarySearchFunc(slots, c.slot, bySlot)
		if found {
			return nil, fmt.Errorf("state: link %d of inode %d is twice at %q in folder %d: %w", c.slot.link, c.slot.ino, c.name, c.parent, block.ErrCorrupt)
		}
		return slices.Insert(slots, i, c.slot), nil
	}, 1)
}

// drop takes a link out of the index.
func (t *tx) drop(c claim) error {
	return t.change(c, func(slots []slot) ([]slot, error) {
		i, found := slices.BinarySearchFunc(slots, c.slot, bySlot)
		if !found {
			return nil, fmt.Errorf("state: link %d of inode %d is not at %q in folder %d: %w", c.slot.link, c.slot.ino, c.name, c.parent, block.ErrCorrupt)
		}
		return slices.Delete(slots, i, i+1), nil
	}, -1)
}

func bySlot(a, b slot) int { return cmp.Or(cmp.Compare(a.ino, b.ino), cmp.Compare(a.link, b.link)) }

// change edits what stands at a name, and the folder's record with it; by is +1 or -1.
func (t *tx) change(c claim, edit func([]slot) ([]slot, error), by int) error {
	var was []slot
	if at := (place{c.parent, c.name}); at != t.bare {
		var err error
		if was, err = t.slots(c.parent, c.name); err != nil {
			return err
		}
	}
	t.bare = place{}
	irregular := irregularSlots(was)
	is, err := edit(was)
	if err != nil {
		return err
	}
	if len(is) == 0 {
		err = t.del(nameKey(keyIndex, c.parent, c.name))
	} else {
		err = t.set(nameKey(keyIndex, c.parent, c.name), appendSlots(nil, is))
	}
	if err != nil {
		return err
	}
	rec, err := t.folder(c.parent)
	if err != nil {
		return err
	}
	rec.count(c.slot, by)
	rec.changed = max(rec.changed, t.at)
	if err := t.markIrregular(c, rec, irregular, irregularSlots(is)); err != nil {
		return err
	}
	if err := t.mark(c.parent, c.name); err != nil {
		return err
	}
	// Its times changed too.
	t.changes = append(t.changes, vfs.Change{Node: c.parent})
	return t.settle(c.parent, rec)
}

// markIrregular keeps the mark of a name and its count.
func (t *tx) markIrregular(c claim, rec *folderRec, was, is bool) (err error) {
	if was || is || rec.irregular > 0 {
		t.irregular[c.parent] = true
	}
	switch key := nameKey(keyIrregular, c.parent, c.name); {
	case !was && is:
		rec.irregular++
		err = t.set(key, nil)
	case was && !is:
		rec.irregular--
		err = t.del(key)
	}
	return err
}

// noteIrregular notes a folder in which computed names may have changed, for the watchers.
func (t *tx) noteIrregular(parent Ino) error {
	if len(t.d.watchers) == 0 {
		return nil
	}
	rec, err := t.folder(parent)
	if err == nil && rec.irregular > 0 {
		t.irregular[parent] = true
	}
	return err
}

// settle puts a folder's record, and brings the folder into the index or out of it, as the record says.
func (t *tx) settle(ino Ino, rec *folderRec) error {
	if ino != RootIno && !rec.exists {
		t.putFolder(ino, rec)
		t.noteLost(ino) // at the end: its row may come in this very change
		return nil
	}
	show := ino != RootIno && rec.shown()
	if show == rec.attached || (show && t.held[ino]) {
		t.putFolder(ino, rec)
		return nil
	}
	rec.attached = show
	t.putFolder(ino, rec)
	if err := t.mark(ino, ""); err != nil {
		return err
	}
	c := claim{parent: rec.parent, name: rec.name, slot: slot{ino: ino, came: rec.came, dir: true}}
	if show {
		return t.add(c)
	}
	return t.drop(c)
}

// detach takes a folder out of the index for now, if it is there.
func (t *tx) detach(ino Ino) error {
	rec, err := t.folder(ino)
	if err != nil || !rec.attached {
		return err
	}
	rec.attached = false
	t.putFolder(ino, rec)
	return t.drop(claim{parent: rec.parent, name: rec.name, slot: slot{ino: ino, came: rec.came, dir: true}})
}

// reindexFolder follows a folder's row: that it is there, dead or alive, and where it is.
func (t *tx) reindexFolder(ino Ino, before, after *Folded) error {
	rec, err := t.folder(ino)
	if err != nil {
		return err
	}
	isDir := isFolder(after)
	if isDir && !isFolder(before) {
		rec.changed = max(rec.changed, HLCOf(unixNano(after.Inode.Btime)))
	}
	came := cameOf(after)
	if rec.attached && rec.came != came { // the index has it
		if err := t.detach(ino); err != nil {
			return err
		}
		if rec, err = t.folder(ino); err != nil {
			return err
		}
	}
	rec.came = came
	rec.exists = isDir || ino == RootIno
	rec.dead = isDir && after.Dead
	t.putFolder(ino, rec)
	if err := t.mark(ino, ""); err != nil {
		return err
	}
	if ino == RootIno {
		return nil
	}
	if rec.attached { // the entry in its parent shows its attributes
		if err := t.mark(rec.parent, rec.name); err != nil {
			return err
		}
	}
	was, wasThere := placeOf(before)
	is, isThere := placeOf(after)
	if wasThere == isThere && was == is {
		return t.settle(ino, rec)
	}
	if !wasThere && !rec.attached && rec.entries == 0 && is.Parent != ino {
		above, err := t.folder(is.Parent)
		if err != nil {
			return err
		}
		// It is new, and nothing in the index is in it. What is not in the index and names it as its parent, a removed folder with nothing in it, is not above a
		// folder that is in the index: so it is part of no loop. Nor is it in lost+found any more.
		if is.Parent == RootIno || !above.exists || above.attached {
			rec.parent, rec.name = is.Parent, is.Name
			return t.settle(ino, rec)
		}
	}
	return t.replace(ino)
}

// cameOf is when a folder came to its place: its link's stamps, or its birth if it was never moved.
func cameOf(f *Folded) HLC {
	if !isFolder(f) || len(f.Inode.Links) != 1 {
		return 0
	}
	l := &f.Inode.Links[0]
	return max(l.TS.HLC, l.DeadTS.HLC, HLCOf(unixNano(f.Inode.Btime)))
}

// placeOf is the place in a folder's row.
func placeOf(f *Folded) (FolderPlace, bool) {
	if !isFolder(f) {
		return FolderPlace{}, false
	}
	return PlaceOf(f.Inode)
}

// replace puts a folder whose row has another place, and all that loops displace or displaced, where they belong now.
func (t *tx) replace(moved Ino) error {
	was, err := t.displaced()
	if err != nil {
		return err
	}
	var failed error
	get := func(ino Ino) (FolderPlace, bool) {
		c, err := t.inode(ino)
		if err != nil {
			failed = err
			return FolderPlace{}, false
		}
		return placeOf(c.f)
	}
	affected := append(slices.Clone(was), moved)
	undone := EffectiveParents(get, affected)
	for ino := range undone {
		affected = append(affected, ino)
	}
	slices.Sort(affected)
	affected = slices.Compact(affected)
	places := make([]FolderPlace, len(affected))
	for i, ino := range affected {
		p, there := undone[ino]
		if !there {
			p, there = get(ino)
		}
		if places[i] = p; failed != nil {
			return failed
		}
		if err := t.noteDisplaced(ino, slices.Contains(was, ino), undone, there); err != nil {
			return err
		}
	}
	return t.moveAll(affected, places)
}

// moveAll takes folders out of the index, those whose place is another, and then settles each at its new one: so the index never has a loop.
func (t *tx) moveAll(folders []Ino, places []FolderPlace) error {
	t.held = map[Ino]bool{}
	for i, ino := range folders {
		rec, err := t.folder(ino)
		if err != nil {
			return err
		}
		t.held[ino] = rec.parent != places[i].Parent || rec.name != places[i].Name
	}
	for i, ino := range folders {
		if !t.held[ino] {
			continue
		}
		if err := t.detach(ino); err != nil {
			return err
		}
		rec, err := t.folder(ino)
		if err != nil {
			return err
		}
		rec.parent, rec.name = places[i].Parent, places[i].Name
		t.putFolder(ino, rec)
	}
	t.held = nil
	for _, ino := range folders {
		rec, err := t.folder(ino)
		if err != nil {
			return err
		}
		if err := t.settle(ino, rec); err != nil {
			return err
		}
	}
	return nil
}

// displaced are the folders that are not where their rows say, because of loops.
func (v view) displaced() (out []Ino, err error) {
	err = scanPrefix(v.r, []byte{keyDisplaced}, func(key, _ []byte) error {
		ino, _, err := splitNameKey(bytes.Clone(key))
		out = append(out, ino)
		return err
	})
	return out, err
}

func (t *tx) noteDisplaced(ino Ino, was bool, undone map[Ino]FolderPlace, there bool) error {
	_, is := undone[ino]
	switch is = is && there; {
	case is && !was:
		return t.set(inoKey(keyDisplaced, ino), nil)
	case was && !is:
		return t.del(inoKey(keyDisplaced, ino))
	}
	return nil
}
