package state

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Journal writes what was written to a file beside its row (DESIGN section 4). It is durable after Sync, together with all that was done
// before. Until a content with the record folded in is set, no commit has the file's row (I4). gen names the record: it is greater
// than those of all others, and never used again.
//
// The first record of a file has a base, the others have none. Errors: vfs.ErrNotExist (no row: a record would bring back a file that was
// removed here), vfs.ErrInvalid (a base where none belongs, or none; what the limits don't allow), vfs.ErrReadOnly.
func (d *DB) Journal(ino Ino, r *JournalRecord) (gen uint64, err error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return 0, vfs.ErrClosed
	}
	if err := r.check(); err != nil {
		return 0, fmt.Errorf("state: journal of file %d: %w", ino, err)
	}
	value := appendJournal(make([]byte, 0, r.Len()), r)
	d.opMu.Lock()
	defer d.opMu.Unlock()
	if err := d.readOnly(); err != nil {
		return 0, err
	}
	if (r.Base == nil) != (len(d.journal[ino]) > 0) {
		return 0, fmt.Errorf("state: journal of file %d: %d records, and a new one with the base %v: %w", ino, len(d.journal[ino]), r.Base, vfs.ErrInvalid)
	}
	if c, err := (view{d: d, r: d.db}).inode(ino); err != nil || c.f == nil {
		return 0, orNotExist(err, ino)
	}
	// Opening takes the clock from the records, and what deletes the last one is an operation, with a later stamp.
	d.hlc = NextHLC(d.hlc, d.o.Clock.Now())
	gen = uint64(d.hlc)
	if err := d.db.Set(journalKey(ino, gen), value, pebble.NoSync); err != nil {
		return 0, fmt.Errorf("state: journal of file %d: %w", ino, err)
	}
	d.journal[ino] = append(d.journal[ino], gen)
	return gen, nil
}

// Sync makes all operations and journal records that were done before the call durable: one sync of the write-ahead log, which
// concurrent calls share.
func (d *DB) Sync(ctx context.Context) error {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return err
	}
	return d.sync()
}

// Journaled calls f with every journal record, by file, in the order of their numbers. For one that can't be used err says why
// (block.ErrCorrupt) and r is nil; it stays where it is. r is valid during the call. An error of f ends it and is returned.
func (d *DB) Journaled(f func(ino Ino, gen uint64, r *JournalRecord, err error) error) error {
	return d.read(func(v view) error { return v.journaled(f) })
}

func (v view) journaled(f func(ino Ino, gen uint64, r *JournalRecord, err error) error) error {
	var last Ino // that has a base
	return scanPrefix(v.r, []byte{keyJournal}, func(key, value []byte) error {
		ino, gen, err := splitJournalKey(key)
		if err != nil {
			return f(0, 0, nil, err)
		}
		r, err := decodeJournal(value)
		if err == nil && (r.Base == nil) != (ino == last) {
			err = corrupt("journal", errors.New("the first record alone has a base"))
		}
		if err != nil {
			return f(ino, gen, nil, fmt.Errorf("journal record %d of file %d: %w", gen, ino, err))
		}
		last = ino
		return f(ino, gen, r, nil)
	})
}

// loadJournal reads which files have records. Those that can't be used are left out: nothing waits for them.
func (d *DB) loadJournal() error {
	return view{d: d, r: d.db}.journaled(func(ino Ino, gen uint64, _ *JournalRecord, err error) error {
		if err == nil {
			d.hlc = max(d.hlc, HLC(gen))
			d.journal[ino] = append(d.journal[ino], gen)
		} else if !errors.Is(err, block.ErrCorrupt) {
			return err
		}
		return nil
	})
}

// dropJournal deletes a file's records, which a content has in it or which belong to a file that is removed.
func (t *tx) dropJournal(mark JournalMark) error {
	gens := t.d.journal[mark.Ino]
	if mark.Gen == 0 || len(gens) == 0 {
		return nil
	}
	if last := gens[len(gens)-1]; last > mark.Gen {
		return fmt.Errorf("state: journal of file %d: record %d is to stay, and %d, which it rests on, to go: %w", mark.Ino, last, mark.Gen, vfs.ErrInvalid)
	}
	for _, gen := range gens {
		if err := t.del(journalKey(mark.Ino, gen)); err != nil {
			return err
		}
	}
	t.folded = append(t.folded, mark.Ino)
	return nil
}

// held are the leaders of the groups of dirty rows that wait for a file's records to be folded, and of what is in folders that wait with them.
// opMu must be held.
func (d *DB) held() map[*dirtyMark]bool {
	var held map[*dirtyMark]bool
	for ino := range d.journal {
		if w := d.dirty[string(InodeKey(ino))]; w != nil {
			if held == nil {
				held = map[*dirtyMark]bool{}
			}
			held[w.leader()] = true
		}
	}
	if fresh := d.heldFolders(held); len(fresh) > 0 {
		d.holdEntries(held, fresh)
	}
	return held
}

// heldFolders are the folders that nobody has heard of yet and that wait.
func (d *DB) heldFolders(held map[*dirtyMark]bool) map[Ino]bool {
	var fresh map[Ino]bool
	if len(held) == 0 {
		return nil
	}
	for key, w := range d.dirty {
		kind, ino, _, err := ParseKey([]byte(key))
		if err != nil || kind != KeyInode || !IsDerived(ino) || !held[w.leader()] {
			continue
		}
		if committed, err := get(d.db, []byte(key)); err != nil || committed != nil {
			continue // an error comes again where the row is taken
		}
		if fresh == nil {
			fresh = map[Ino]bool{}
		}
		fresh[ino] = true
	}
	return fresh
}

// holdEntries adds to held what is in folders that wait and that nobody has heard of: others would have it nowhere.
func (d *DB) holdEntries(held map[*dirtyMark]bool, fresh map[Ino]bool) {
	v := view{d: d, r: d.db}
	more := false
	for key, w := range d.dirty {
		if key[0] != KeyInode || held[w.leader()] {
			continue
		}
		change, err := v.dirty([]byte(key))
		if err != nil || change == nil || len(change.value) == 0 {
			continue // as above
		}
		n, err := DecodeInode(change.value)
		if err == nil && slices.ContainsFunc(n.Links, func(l Link) bool { return fresh[l.Parent] }) {
			held[w.leader()], more = true, true
		}
	}
	if more {
		d.holdEntries(held, d.heldFolders(held))
	}
}

// Uncommitted says what a Commit that begins now has to do: ready, whether it would commit anything; held, which files' journals must be
// folded before it can commit the rest.
func (d *DB) Uncommitted() (ready bool, held []Ino) {
	if !d.isDirty.Load() {
		return false, nil
	}
	d.opMu.Lock()
	defer d.opMu.Unlock()
	for ino := range d.journal {
		if d.dirty[string(InodeKey(ino))] != nil {
			held = append(held, ino)
		}
	}
	groups := d.held()
	for _, w := range d.dirty {
		if !groups[w.leader()] {
			return true, held
		}
	}
	return false, held
}
