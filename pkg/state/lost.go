package state

import (
	"fmt"
	"math"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// A folder that links name as their parent, and that has no row, is lost: its row was damaged or never made, by a faulty author. The view shows it all the same, with what is in it, in
// the folder lost+found of the root, under its number. Both are computed, as all of the view is: no row is written for them, and they are gone when nothing is in them,
// or when the row comes. Only folders have derived numbers, and only such numbers may be named as parents, so a lost folder's number is never a file's.

// LostIno is the number of lost+found. No row has it.
const LostIno = derivedBit | 1

// lostName is its name in the root. A folder that users made there keeps the name; then lost+found has a computed one.
const lostName = "lost+found"

// lostTS is the stamp of the places of lost folders: the end of the year 9999, later than any that is taken from others, so that they have no name before these.
var lostTS = TS{HLC: 253402300799999 << 16, Actor: ident.Actor{Member: ident.MemberMax, Incarnation: math.MaxUint32}}

// LostPlace is where a lost folder is shown: lost+found in the root, all others in lost+found, under 16 hexadecimal digits of their numbers.
func LostPlace(ino Ino) FolderPlace {
	if ino == LostIno {
		return FolderPlace{Parent: RootIno, Name: lostName, TS: lostTS}
	}
	return FolderPlace{Parent: LostIno, Name: fmt.Sprintf("%016x", uint64(ino)), TS: lostTS}
}

// LostFolder is what a lost folder is shown as.
func LostFolder(ino Ino) *Folded {
	p := LostPlace(ino)
	return &Folded{Inode: &Inode{Kind: vfs.KindFolder, Mode: Reg[uint32]{Value: 0o755}, Links: []Link{{Parent: p.Parent, Name: p.Name, TS: p.TS}}}}
}

// isParent says whether links may name a number as their parent.
func isParent(ino Ino) bool { return ino == RootIno || IsDerived(ino) && ino != LostIno }

// lost says whether a folder is shown although it has no row.
func (r *folderRec) lost() bool { return !r.exists && r.entries > 0 }

// foldedOf is what an inode's row says, or what a lost folder is shown as; nil if there is nothing.
func (v view) foldedOf(ino Ino) (*Folded, error) {
	c, err := v.inode(ino)
	if err != nil || c.f != nil || !IsDerived(ino) {
		return c.fold(), err
	}
	rec, err := v.folder(ino)
	if err != nil || !rec.lost() || !rec.attached {
		return nil, err
	}
	return LostFolder(ino), nil
}

// fold is what the row says.
func (c *curInode) fold() *Folded {
	if c == nil {
		return nil
	}
	return c.f
}

// notLost refuses a change of what a lost folder is, or a new entry in it: there is no row that could say so. Error: vfs.ErrNotPermitted.
func (v view) notLost(ino Ino) error {
	if !IsDerived(ino) {
		return nil
	}
	rec, err := v.folder(ino)
	if err == nil && rec.lost() {
		err = fmt.Errorf("folder %d is lost: %w", ino, vfs.ErrNotPermitted)
	}
	return err
}

// settleLost brings lost folders into the index, or out of it. While a join is under way none comes, since rows are lacking that will: its last batch looks at all.
func (t *tx) settleLost() error {
	waits := t.more || t.d.joining != nil && !t.ends
	if t.ends {
		if err := t.findLost(); err != nil {
			return err
		}
	}
	for len(t.lost) > 0 { // lost+found comes and goes with what is in it
		for _, ino := range sortedKeys(t.lost) {
			delete(t.lost, ino)
			rec, err := t.folder(ino)
			if err != nil {
				return err
			}
			if rec.exists || rec.lost() == rec.attached || waits && rec.lost() {
				continue
			}
			if err := t.showLost(ino, rec); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) showLost(ino Ino, rec *folderRec) error {
	p := LostPlace(ino)
	rec.attached = rec.lost()
	rec.parent, rec.name, rec.came = p.Parent, p.Name, 0
	t.putFolder(ino, rec)
	if err := t.mark(ino, ""); err != nil {
		return err
	}
	c := claim{parent: p.Parent, name: p.Name, slot: slot{ino: ino, dir: true}}
	if rec.attached {
		return t.add(c)
	}
	return t.drop(c)
}

// findLost notes all folders without a row.
func (t *tx) findLost() error {
	return scanPrefix(t.d.db, []byte{keyFolder}, func(key, value []byte) error {
		ino, _, err := splitNameKey(key)
		if err != nil {
			return err
		}
		rec, err := decodeFolderRec(value)
		if err == nil && !rec.exists {
			t.noteLost(ino)
		}
		return err
	})
}

func (t *tx) noteLost(ino Ino) {
	if t.lost == nil {
		t.lost = map[Ino]bool{}
	}
	t.lost[ino] = true
}
