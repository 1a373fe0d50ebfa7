package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Check calls f with everything that is wrong: the index and what else is derived against the rows, both ways; the committed rows against a
// replay of the log or, where that does not reach back to the beginning, against the newest checkpoint; the log's chain of digests, its signatures and their authors; what uncommitted rows observed; journal records. It reads one
// moment, while everything goes on, and holds all names in memory. An error says that Check itself could not go on.
func (d *DB) Check(ctx context.Context, f func(problem string)) error {
	published := VV{}
	return d.read(func(v view) error {
		err := scanPrefix(v.r, []byte{keyActor}, func(key, value []byte) error {
			a, s, err := decodeHeadRow(key, value)
			published[a] = s.seq
			return err
		})
		if err != nil {
			return err
		}
		joining, err := v.joinRecord()
		if err != nil {
			return err
		}
		c := &checker{view: v, joining: joining, report: func(format string, args ...any) { f(fmt.Sprintf(format, args...)) }, vv: published}
		for _, step := range []func(context.Context) error{c.log, c.dirtyRows, c.journal, c.derive, c.compare} {
			if err := errors.Join(ctx.Err(), step(ctx)); err != nil {
				return err
			}
		}
		return nil
	})
}

// checker makes everything that is derived again from rows and log.
type checker struct {
	view

	report  func(format string, args ...any)
	vv      VV
	joining *joinRecord // nil: no join is under way

	want    map[string][]byte // derived keys and their values
	folders map[Ino]*folderRec
	slots   map[string][]slot // by nameKey
}

// log replays the log and compares the rows with what comes out.
func (c *checker) log(ctx context.Context) error {
	floors, err := c.floors()
	if err != nil {
		return err
	}
	rows := map[string][]byte{}
	p, err := c.logPage(floors.Clone(), c.vv.Clone(), 0)
	if err != nil {
		return err
	}
	for a, floor := range floors {
		if err := c.dropped(p.t, a, floor); err != nil {
			return err
		}
	}
	for progress := true; progress; {
		progress = false
		for _, a := range c.vv.Actors() {
			p.left, p.out = 4<<20, nil
			if _, err := p.advance(ctx, a); err != nil {
				c.report("log of actor %s after commit %d: %v", a, p.at[a], err)
				p.upTo[a] = p.at[a]
			}
			for _, next := range p.out {
				progress = true
				c.commit(p, next, rows)
			}
		}
	}
	for _, a := range c.vv.Actors() {
		if p.at[a] < c.vv[a] {
			c.report("log of actor %s: commit %d rests on one that is not there", a, p.at[a]+1)
		}
	}
	if len(floors) > 0 || c.joining != nil {
		return c.sameAsTree(ctx)
	}
	return c.sameRows(rows)
}

// commit checks one commit and adds its rows to the replay.
func (c *checker) commit(p *logPage, next *nextCommit, rows map[string][]byte) {
	commit, err := c.d.open(next.encoded)
	if err != nil {
		c.report("log: %v", err)
		return
	}
	r := &next.reading
	dot := Dot{r.label, commit.Seq}
	stored, _, err := c.commitAt(dot.Actor, dot.Seq)
	if err != nil || stored != commit.Digest() {
		c.report("log: commit %d of actor %s has another digest than the log says: %v", commit.Seq, commit.Actor, err)
	}
	if commit.Seq > 1 {
		if digest, _, err := c.commitAt(r.parent, commit.Seq-1); err != nil || digest != commit.Prev {
			c.report("log: commit %d of actor %s does not follow the one before it: %v", commit.Seq, commit.Actor, err)
		}
	}
	if skip := SkipSeq(commit.Seq); skip > 0 {
		if digest, _, err := c.commitAt(p.t.at(r.parent, skip), skip); err != nil || digest != commit.Skip {
			c.report("log: commit %d of actor %s names another commit %d: %v", commit.Seq, commit.Actor, skip, err)
		}
	}
	for _, dep := range commit.Deps {
		tip := r.m.dot(dep.Dot)
		digest, _, err := c.commitAt(tip.Actor, tip.Seq)
		if err != nil || !bytes.Equal(digest[:len(dep.Digest)], dep.Digest[:]) {
			c.report("log: commit %d of actor %s rests on another commit %d of actor %s: %v", commit.Seq, commit.Actor, dep.Seq, dep.Actor, err)
		}
	}
	for _, row := range commit.Rows {
		if !r.identity() {
			row = r.row(row)
		}
		value, err := changeVersions(rows[string(row.Key)], dot, row)
		if err != nil {
			c.report("log: commit %d of actor %s, row %x: %v", commit.Seq, commit.Actor, row.Key, err)
		}
		rows[string(row.Key)] = value
	}
}

// sameRows compares the committed rows with a replay.
func (c *checker) sameRows(rows map[string][]byte) error {
	for _, prefix := range []byte{KeyInode, KeyWish, KeySnap} {
		err := scanPrefix(c.r, []byte{prefix}, func(key, value []byte) error {
			if want := rows[string(key)]; want == nil {
				c.report("row %x is there, the log does not make it", key)
			} else if !bytes.Equal(value, want) {
				c.report("row %x is not what the log makes", key)
			}
			delete(rows, string(key))
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, key := range sortedKeys(rows) {
		if rows[key] != nil {
			c.report("row %x is missing", key)
		}
	}
	return nil
}

// dirtyRows checks uncommitted rows.
func (c *checker) dirtyRows(context.Context) error {
	return scanPrefix(c.r, []byte{keyDirty}, func(key, value []byte) error {
		row := key[1:]
		w, err := decodeDirty(value)
		if err != nil {
			c.report("uncommitted row %x: %v", row, err)
			return nil // it is reported
		}
		for _, d := range w.observed {
			if !c.vv.Covers(d) && c.joining == nil {
				c.report("uncommitted row %x observed commit %d of actor %s, which is not here", row, d.Seq, d.Actor)
			}
		}
		if len(w.value) == 0 && len(w.observed) == 0 {
			c.report("uncommitted row %x says nothing", row)
		}
		if kind, _, _, err := ParseKey(row); err != nil || (kind == KeyInode && len(w.value) > 0 && !decodes(w.value)) {
			c.report("uncommitted row %x can't be decoded: %v", row, err)
		}
		return nil
	})
}

// journal checks the records of what was written to files.
func (c *checker) journal(context.Context) error {
	return c.journaled(func(_ Ino, _ uint64, _ *JournalRecord, err error) error {
		if err != nil {
			c.report("%v", err)
		}
		return nil // it is reported
	})
}

func decodes(inode []byte) bool {
	_, err := DecodeInode(inode)
	return err == nil
}

// derive makes from the rows what the index has to be.
func (c *checker) derive(ctx context.Context) error {
	c.want, c.folders, c.slots = map[string][]byte{}, map[Ino]*folderRec{RootIno: {exists: true}}, map[string][]slot{}
	places := map[Ino]FolderPlace{}
	err := c.eachInode(func(ino Ino) error {
		cur, err := c.inode(ino)
		if err != nil || cur.f == nil {
			if err != nil {
				c.report("inode %d: %v", ino, err)
			}
			return ctx.Err()
		}
		if isFolder(cur.f) {
			rec := c.rec(ino)
			rec.exists, rec.dead, rec.came = true, cur.f.Dead, cameOf(cur.f)
			if p, ok := placeOf(cur.f); ok {
				places[ino] = p
			}
			return ctx.Err()
		}
		for _, l := range c.d.claims(ino, cur.f) {
			c.add(l)
		}
		for _, name := range copyNames(ino, cur.f) {
			c.want[string(inoKey(keyCopy, CopyIno(ino, name)))] = inoKey(0, ino)[1:]
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	c.place(places)
	return nil
}

func (c *checker) rec(ino Ino) *folderRec {
	rec := c.folders[ino]
	if rec == nil {
		rec = &folderRec{}
		c.folders[ino] = rec
	}
	return rec
}

func (c *checker) add(l claim) {
	key := string(nameKey(keyIndex, l.parent, l.name))
	i, _ := slices.BinarySearchFunc(c.slots[key], l.slot, bySlot)
	c.slots[key] = slices.Insert(c.slots[key], i, l.slot)
	rec := c.rec(l.parent)
	rec.count(l.slot, 1)
}

// place puts the folders where loops leave them, those that live, and those that something shown is in.
func (c *checker) place(places map[Ino]FolderPlace) {
	get := func(ino Ino) (FolderPlace, bool) {
		p, ok := places[ino]
		return p, ok
	}
	all := sortedKeys(places)
	undone := EffectiveParents(get, all)
	for ino, p := range undone {
		places[ino] = p
		c.want[string(inoKey(keyDisplaced, ino))] = []byte{}
	}
	for again := true; again; {
		again = false
		for _, ino := range sortedKeys(c.folders) {
			rec := c.folders[ino]
			if ino == RootIno || rec.attached || !rec.shown() || c.waits(ino, rec) {
				continue
			}
			rec.attached, again = true, true
			p, ok := places[ino]
			if !ok {
				p = LostPlace(ino)
			}
			rec.parent, rec.name = p.Parent, p.Name
			c.add(claim{parent: rec.parent, name: rec.name, slot: slot{ino: ino, came: rec.came, dir: true}})
		}
	}
	for key, slots := range c.slots {
		c.want[key] = appendSlots(nil, slots)
		if irregularSlots(slots) {
			mark := append([]byte{keyIrregular}, key[1:]...)
			c.want[string(mark)] = []byte{}
			ino, _, _ := splitNameKey(mark) // nameKey made it
			c.folders[ino].irregular++
		}
	}
}

// waits says whether a folder has no row because a join is under way.
func (c *checker) waits(ino Ino, rec *folderRec) bool {
	if c.joining == nil || rec.exists {
		return false
	}
	got, err := c.folder(ino)
	return err != nil || !got.attached
}

// compare compares the index with what it has to be.
func (c *checker) compare(context.Context) error {
	for _, prefix := range []byte{keyIndex, keyCopy, keyDisplaced, keyIrregular} {
		err := scanPrefix(c.r, []byte{prefix}, func(key, value []byte) error {
			if want, ok := c.want[string(key)]; !ok {
				c.report("index: %q is there and should not be", key)
			} else if !bytes.Equal(value, want) {
				c.report("index: %q is %x, should be %x", key, value, want)
			}
			delete(c.want, string(key))
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, key := range sortedKeys(c.want) {
		c.report("index: %q is missing", key)
	}
	return errors.Join(c.compareFolders(), c.origins())
}

func (c *checker) compareFolders() error {
	err := scanPrefix(c.r, []byte{keyFolder}, func(key, value []byte) error {
		ino, _, err := splitNameKey(key)
		if err != nil {
			return err
		}
		got, err := decodeFolderRec(value)
		if err != nil {
			c.report("folder %d: %v", ino, err)
			return nil // it is reported
		}
		want := c.folders[ino]
		if want == nil {
			want = &folderRec{}
		}
		g := *got
		g.changed = 0
		if g.stale {
			g.newest, g.stale = want.newest, false
		}
		if !g.attached {
			g.parent, g.name = 0, "" // where it would be doesn't count
		}
		if want.came != g.came && !want.exists {
			g.came = want.came
		}
		if g != *want {
			c.report("folder %d: record is %+v, should be %+v", ino, g, *want)
		}
		delete(c.folders, ino)
		return nil
	})
	for _, ino := range sortedKeys(c.folders) {
		if rec := c.folders[ino]; rec.exists || rec.entries > 0 {
			c.report("folder %d: record %+v is missing", ino, *rec)
		}
	}
	return err
}
