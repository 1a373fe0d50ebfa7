package state

import (
	"encoding/binary"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// folderRec is what the index knows of a folder: derived from rows, but for changed.
//
// INVARIANT: attached iff the row exists, is no root, and is not dead or has entries, or there is no row, and entries (a lost folder); then the index has it
// at parent and name, its effective place.
type folderRec struct {
	exists    bool // the row is there and a folder, or it is the root
	dead      bool // its link is dead: it is shown only while it has entries
	attached  bool
	parent    Ino
	name      string
	entries   uint64 // links in the index
	subs      uint64 // those of folders
	irregular uint64 // names marked irregular
	came      HLC    // when it came to where it is: a function of its row
	newest    HLC    // the newest came of its entries, unless stale
	stale     bool   // the entry with the newest came is gone
	changed   HLC    // newest coming or going of an entry that was seen here; a local maximum
}

// shown says whether the folder is in the view.
func (r *folderRec) shown() bool { return r.exists && !r.dead || r.entries > 0 }

// count follows an entry that comes (by 1) or goes (by -1).
func (r *folderRec) count(s slot, by int) {
	r.entries += uint64(by)
	if s.dir {
		r.subs += uint64(by)
	}
	switch {
	case by > 0 && s.came >= r.newest:
		r.newest, r.stale = s.came, false
	case r.entries == 0:
		r.newest, r.stale = 0, false
	case by < 0 && s.came == r.newest:
		r.stale = true
	}
}

func (r *folderRec) encode() []byte {
	b := cbor.AppendArray(make([]byte, 0, 64+len(r.name)), 12)
	b = cbor.AppendBool(b, r.exists)
	b = cbor.AppendBool(b, r.dead)
	b = cbor.AppendBool(b, r.attached)
	b = cbor.AppendUint(b, uint64(r.parent))
	b = cbor.AppendName(b, r.name)
	b = cbor.AppendUint(b, r.entries)
	b = cbor.AppendUint(b, r.subs)
	b = cbor.AppendUint(b, r.irregular)
	b = cbor.AppendUint(b, uint64(r.came))
	b = cbor.AppendUint(b, uint64(r.newest))
	b = cbor.AppendBool(b, r.stale)
	return cbor.AppendUint(b, uint64(r.changed))
}

func decodeFolderRec(b []byte) (*folderRec, error) {
	r := cbor.NewReader(b)
	r.Tuple(12)
	rec := &folderRec{
		exists: r.Bool(), dead: r.Bool(), attached: r.Bool(),
		parent: Ino(r.Uint()), name: r.Name(vfs.NameMax),
		entries: r.Uint(), subs: r.Uint(), irregular: r.Uint(),
		came: HLC(r.Uint()), newest: HLC(r.Uint()), stale: r.Bool(), changed: HLC(r.Uint()),
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("state: folder record: %w: %w", err, block.ErrCorrupt)
	}
	return rec, nil
}

// folder is the record of a folder; a number that is none has a record without exists.
func (v view) folder(ino Ino) (*folderRec, error) {
	if rec, ok := v.recs[ino]; ok {
		return &rec, nil
	}
	b, err := get(v.r, inoKey(keyFolder, ino))
	if err != nil {
		return nil, err
	}
	rec := &folderRec{}
	if b != nil {
		if rec, err = decodeFolderRec(b); err != nil {
			return nil, err
		}
	}
	if v.recs != nil {
		v.recs[ino] = *rec
	}
	return rec, nil
}

// climb counts the steps of a way up to the root, so that one through an index with a loop in it, which is damaged, comes to an end.
type climb int

// climbMax is more than any tree is deep.
const climbMax = 1 << 20

// step is to be called at each folder. Error: block.ErrCorrupt.
func (c *climb) step(at Ino) error {
	if *c++; *c > climbMax {
		return corrupt("index", fmt.Errorf("folder %d is in a loop; wh fsck tells more, and a pod that joins anew has the same rows", at))
	}
	return nil
}

// putFolder keeps a folder's record, which putFolders writes: all that the change reads of folders it finds in recs.
func (t *tx) putFolder(ino Ino, rec *folderRec) {
	t.recs[ino] = *rec
	t.recsPut[ino] = true
}

// putFolders writes the records of folders that the change has put.
func (t *tx) putFolders() error {
	for _, ino := range sortedKeys(t.recsPut) {
		rec := t.recs[ino]
		if err := t.set(inoKey(keyFolder, ino), rec.encode()); err != nil {
			return err
		}
	}
	return nil
}

// slot is a link that stands at a name of a folder.
type slot struct {
	ino   Ino
	link  uint64
	came  HLC  // when the link came to the name
	multi bool // the inode has several contents: copies stand beside it
	dir   bool
}

const slotLen = 25 // ino8 link8 came8 flags1

func appendSlots(b []byte, slots []slot) []byte {
	for _, s := range slots {
		b = binary.BigEndian.AppendUint64(b, uint64(s.ino))
		b = binary.BigEndian.AppendUint64(b, s.link)
		b = binary.BigEndian.AppendUint64(b, uint64(s.came))
		var flags byte
		if s.multi {
			flags |= 1
		}
		if s.dir {
			flags |= 2
		}
		b = append(b, flags)
	}
	return b
}

func decodeSlots(b []byte) ([]slot, error) {
	if len(b)%slotLen != 0 {
		return nil, fmt.Errorf("state: index value of %d bytes: %w", len(b), block.ErrCorrupt)
	}
	slots := make([]slot, len(b)/slotLen)
	for i := range slots {
		slots[i] = decodeSlot(b[i*slotLen:])
	}
	return slots, nil
}

// decodeSlot reads the first slot of b, which has one.
func decodeSlot(b []byte) slot {
	return slot{
		ino: Ino(binary.BigEndian.Uint64(b)), link: binary.BigEndian.Uint64(b[8:]),
		came: HLC(binary.BigEndian.Uint64(b[16:])), multi: b[24]&1 != 0, dir: b[24]&2 != 0,
	}
}

// decodeRegular is the one link that stands at a regular name; regular: it is one.
func decodeRegular(b []byte) (s slot, regular bool, err error) {
	if len(b) == slotLen {
		s = decodeSlot(b)
		return s, !s.multi, nil
	}
	_, err = decodeSlots(b)
	return s, false, err
}

// irregularSlots says whether a name with these links shows more than its one link.
func irregularSlots(slots []slot) bool {
	return len(slots) > 1 || (len(slots) == 1 && slots[0].multi)
}

// slots are the links that stand at a name of a folder, sorted by inode and link.
func (v view) slots(parent Ino, name string) ([]slot, error) {
	b, err := get(v.r, nameKey(keyIndex, parent, name))
	if err != nil {
		return nil, err
	}
	return decodeSlots(b)
}
