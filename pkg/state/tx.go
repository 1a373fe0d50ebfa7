package state

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// tx is one change of rows and index: an operation, or the rows of commits. It reads its own writes, and is
// there at once or not at all. It lives while opMu is held.
type tx struct {
	view

	b         *pebble.Batch
	ts        TS  // of an operation
	at        HLC // of what changes folders: ts, or that of the commit that is applied
	changes   []vfs.Change
	irregular map[Ino]bool // folders that changed and have, or had, irregular names
	held      map[Ino]bool // folders that are being moved: settle doesn't put them into the index yet
	recsPut   map[Ino]bool // folders whose records in recs are not in the batch yet
	rows      []string     // rows made dirty
	cleaned   []string     // rows that are no longer dirty
	folded    []Ino        // files whose journal records are all deleted
	promoted  map[Ino]Ino  // conflict copies that became files
	self      ident.Actor  // not zero: who commits here from now on
	forks     *branches    // not nil: what is known from now on
	bare      place        // the last that was looked at, if no link stands there
	lost      map[Ino]bool // folders without a row that changed: settleLost looks at them
	more      bool         // it is a batch of a join, and not the last
	ends      bool         // it is the last one of several
	gives     bool         // it gives contents, which belong before the fence
}

// place is a name in a folder.
type place struct {
	parent Ino
	name   string
}

// begin starts a change. opMu must be held.
func (d *DB) begin() *tx {
	b := d.db.NewIndexedBatch()
	return &tx{view: view{d: d, r: b, recs: map[Ino]folderRec{}}, b: b, irregular: map[Ino]bool{}, recsPut: map[Ino]bool{}}
}

// beginBlind is begin for a change that does not read what it writes, but for records of folders.
func (d *DB) beginBlind() *tx {
	return &tx{view: view{d: d, r: d.db, recs: map[Ino]folderRec{}}, b: d.db.NewBatch(), irregular: map[Ino]bool{}, recsPut: map[Ino]bool{}}
}

// set and del write one key.
func (t *tx) set(key, value []byte) error {
	if err := t.b.Set(key, value, nil); err != nil {
		return fmt.Errorf("state: write: %w", err)
	}
	return nil
}

func (t *tx) del(key []byte) error {
	if err := t.b.Delete(key, nil); err != nil {
		return fmt.Errorf("state: write: %w", err)
	}
	return nil
}

// finish makes the change visible, without a sync, and tells the watchers; local: it was made here.
func (t *tx) finish(local bool) error {
	d := t.d
	if err := t.settleLost(); err != nil {
		return err
	}
	changes, err := t.allChanges()
	if err != nil {
		return err
	}
	if err := t.putFolders(); err != nil {
		return err
	}
	if !local {
		d.telling.Add(1)
		defer d.telling.Add(-1)
	}
	if err := t.show(); err != nil {
		return err
	}
	if len(changes) > 0 {
		for _, f := range d.watchers {
			f(changes, local)
		}
	}
	return nil
}

// show makes the change visible, in Pebble and in memory.
func (t *tx) show() error {
	d := t.d
	d.version.Add(1)
	defer d.version.Add(1)
	if err := t.b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("state: write: %w", err)
	}
	t.remember()
	return nil
}

// remember brings memory up to what was written: which rows are dirty.
func (t *tx) remember() {
	d := t.d
	var first *dirtyMark
	for _, row := range t.rows {
		w := d.dirty[row]
		if w == nil {
			d.order++
			w = &dirtyMark{order: d.order}
			d.dirty[row] = w
		}
		d.gen++
		w.gen = d.gen
		if first == nil {
			first = w
		}
		w.joinGroup(first)
	}
	for _, row := range t.cleaned {
		if d.dirty[row] != nil {
			d.forgot.Store(true)
		}
		delete(d.dirty, row)
	}
	d.isDirty.Store(len(d.dirty) > 0)
	for _, ino := range t.folded {
		delete(d.journal, ino)
	}
	d.promoted.add(t.promoted)
	if t.forks != nil {
		d.forks = t.forks
	}
	d.reach = nil
	if t.self != (ident.Actor{}) {
		d.fence = nil // what it keeps has stamps of the other one
		d.mu.Lock()
		d.self, d.lot = t.self, lot{}
		d.mu.Unlock()
	}
}

// close drops the change unless it was finished.
func (t *tx) close() { _ = t.b.Close() } // a batch has nothing to lose

// Tick is the time of a change that the state does not hold yet, in ns since 1970: later than all changes before it,
// and before all after it.
func (d *DB) Tick() int64 {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	d.hlc = NextHLC(d.hlc, d.o.Clock.Now())
	return d.hlc.Time().UnixNano()
}

// op runs one operation of this pod.
func (d *DB) op(f func(t *tx) error) error {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return vfs.ErrClosed
	}
	first, err := d.runOp(f)
	if first != nil {
		first()
	}
	return err
}

// runOp returns what is to be called if the operation made the first dirty row, but for those that can't be committed now.
func (d *DB) runOp(f func(t *tx) error) (first func(), err error) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	if err := d.readOnly(); err != nil {
		return nil, err
	}
	was := len(d.dirty) > 0 && len(d.journal) == 0 // rows that wait for a fold do so for long
	t := d.begin()
	defer t.close()
	t.stamp()
	if err := f(t); err != nil {
		return nil, err
	}
	if err := t.keepFenced(); err != nil {
		return nil, err
	}
	if err := t.finish(true); err != nil {
		return nil, err
	}
	t.giveFenced()
	if !was && len(t.rows) > 0 {
		first = d.onDirty
	}
	return first, nil
}

// stamp gives an operation its time.
func (t *tx) stamp() {
	d := t.d
	d.hlc = NextHLC(d.hlc, d.o.Clock.Now())
	t.ts, t.at = TS{HLC: d.hlc, Actor: d.self}, d.hlc
}

// writeDirty writes the uncommitted change of a row; an empty value removes it. A row that was never committed leaves nothing behind.
func (t *tx) writeDirty(row []byte, observed []Dot, value []byte) error {
	t.cleaned = slices.DeleteFunc(t.cleaned, func(s string) bool { return s == string(row) })
	if len(value) == 0 && len(observed) == 0 {
		t.rows = slices.DeleteFunc(t.rows, func(s string) bool { return s == string(row) })
		t.cleaned = append(t.cleaned, string(row))
		return t.del(textKey(keyDirty, row))
	}
	w := dirtyValue{hlc: t.ts.HLC, observed: observed, value: value}
	if known := t.d.dirty[string(row)]; known != nil {
		w.order = known.order
	} else {
		w.order = t.d.order + 1
	}
	if !slices.Contains(t.rows, string(row)) {
		t.rows = append(t.rows, string(row))
	}
	return t.set(textKey(keyDirty, row), w.encode())
}

// putInode makes n, nil for none, the only version of an inode, in place of all that c has, and keeps the index with it.
func (t *tx) putInode(ino Ino, c *curInode, n *Inode) error {
	var value []byte
	var after *Folded
	if n != nil {
		n.Dot = Dot{}
		value = AppendInode(make([]byte, 0, n.roughLen()), n)
		if err := n.FitsOp(len(value)); err != nil {
			return fmt.Errorf("state: inode %d: %w", ino, err)
		}
		after = t.d.fold(VerSet[*Inode]{{Value: n}})
	} else if err := t.dropJournal(JournalMark{Ino: ino, Gen: math.MaxUint64}); err != nil { // a crash must not bring the file back
		return err
	}
	if err := t.writeDirty(InodeKey(ino), c.observed(), value); err != nil {
		return err
	}
	before := c.f
	c.f = after
	return t.reindex(ino, before, after)
}

// update is a copy of an inode that an operation may change and put; its Seen says what it observed.
func (c *curInode) update() *Inode {
	n := c.f.Inode.Clone()
	n.Seen = slices.Clone(c.f.SeenForUpdate())
	return n
}

// joinGroup puts two rows, and all with which they are together, into one commit.
func (w *dirtyMark) joinGroup(o *dirtyMark) {
	if a, b := w.leader(), o.leader(); a != b {
		a.lead = b
	}
}

// leader stands for the group.
func (w *dirtyMark) leader() *dirtyMark {
	for w.lead != nil {
		if w.lead.lead != nil {
			w.lead = w.lead.lead
		}
		w = w.lead
	}
	return w
}

// allChanges are the changes to tell, with the computed names of the folders in which they may have changed.
func (t *tx) allChanges() ([]vfs.Change, error) {
	if len(t.d.watchers) == 0 {
		return nil, nil
	}
	for ino := range t.irregular {
		before, err1 := view{d: t.d, r: t.d.db}.contested(ino)
		after, err2 := t.contested(ino)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		for _, names := range [][]shown{before, after} {
			for i := range names {
				t.changes = append(t.changes, vfs.Change{Parent: ino, Name: names[i].name})
			}
		}
	}
	return t.changes, nil
}
