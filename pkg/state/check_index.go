package state

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// derive makes from the rows what the index has to be, and looks for all of it there. The index has nothing else if it has as many links and copies.
func (c *checker) derive(ctx context.Context) error {
	c.folders, c.displaced = map[Ino]*folderRec{RootIno: {exists: true}}, map[Ino]bool{}
	places := map[Ino]FolderPlace{}
	v, done, err := c.inOrder()
	if err != nil {
		return err
	}
	defer done()
	err = c.eachInode(func(ino Ino) error {
		cur, err := v.inode(ino)
		switch {
		case errors.Is(err, block.ErrCorrupt):
			c.report("inode %d: %v", ino, err)
		case err != nil:
			return err
		case cur.f == nil:
		case isFolder(cur.f):
			rec := c.rec(ino)
			rec.exists, rec.dead, rec.came = true, cur.f.Dead, cameOf(cur.f)
			if p, ok := placeOf(cur.f); ok {
				places[ino] = p
			}
		default:
			if err := c.file(ino, cur.f); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if err := c.place(places); err != nil {
		return err
	}
	return nil
}

// file looks for the links and copies of an inode.
func (c *checker) file(ino Ino, f *Folded) error {
	for _, l := range c.d.claims(ino, f) {
		if err := c.link(l); err != nil {
			return err
		}
	}
	for _, name := range copyNames(ino, f) {
		c.copies++
		id := CopyIno(ino, name)
		b, err := get(c.r, inoKey(keyCopy, id))
		if err != nil {
			return err
		}
		if !bytes.Equal(b, inoKey(0, ino)[1:]) {
			c.report("index: copy %d is of %x, should be of inode %d", id, b, ino)
		}
	}
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

// link looks for a link.
func (c *checker) link(l claim) error {
	c.links++
	c.rec(l.parent).count(l.slot, 1)
	slots, err := c.slots(l.parent, l.name)
	if err != nil && !errors.Is(err, block.ErrCorrupt) {
		return err
	}
	if !slices.Contains(slots, l.slot) {
		c.report("index: %q in folder %d has %+v, not %+v", l.name, l.parent, slots, l.slot)
	}
	return nil
}

// place puts the folders where loops leave them, those that live, and those that something shown is in.
func (c *checker) place(places map[Ino]FolderPlace) error {
	get := func(ino Ino) (FolderPlace, bool) {
		p, ok := places[ino]
		return p, ok
	}
	undone := EffectiveParents(get, sortedKeys(places))
	for ino, p := range undone {
		places[ino] = p
		c.displaced[ino] = true
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
			if err := c.link(claim{parent: rec.parent, name: rec.name, slot: slot{ino: ino, came: rec.came, dir: true}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// waits says whether a folder has no row because a join is under way.
func (c *checker) waits(ino Ino, rec *folderRec) bool {
	if c.joining == nil || rec.exists {
		return false
	}
	got, err := c.folder(ino)
	return err != nil || !got.attached
}

// compare looks for what the index has and should not have.
func (c *checker) compare(context.Context) error {
	if err := c.compareNames(); err != nil {
		return err
	}
	copies := 0
	err := scanPrefix(c.r, []byte{keyCopy}, func(_, _ []byte) error {
		copies++
		return nil
	})
	if err != nil {
		return err
	}
	if copies != c.copies {
		c.report("index: it has %d conflict copies, should have %d", copies, c.copies)
	}
	err = scanPrefix(c.r, []byte{keyDisplaced}, func(key, _ []byte) error {
		ino, _, err := splitNameKey(key)
		if !c.displaced[ino] {
			c.report("index: folder %d is marked as displaced", ino)
		}
		delete(c.displaced, ino)
		return err
	})
	if err != nil {
		return err
	}
	for _, ino := range sortedKeys(c.displaced) {
		c.report("index: folder %d is not marked as displaced", ino)
	}
	return errors.Join(c.compareFolders(), c.origins())
}

// compareNames counts the links in the index, and compares the names that are marked as irregular with those that are.
func (c *checker) compareNames() (err error) {
	marks, err := c.r.NewIter(&pebble.IterOptions{LowerBound: []byte{keyIrregular}, UpperBound: []byte{keyIrregular + 1}})
	if err != nil {
		return fmt.Errorf("state: check: %w", damaged(err))
	}
	defer func() { err = errors.Join(err, damaged(marks.Error()), marks.Close()) }()
	marks.First()
	// extra reports the marks before a name, or all that are left.
	extra := func(before []byte) {
		for ; marks.Valid() && (before == nil || bytes.Compare(marks.Key()[1:], before) < 0); marks.Next() {
			c.report("index: %q is marked as irregular and is not", marks.Key())
		}
	}
	links := 0
	err = scanPrefix(c.r, []byte{keyIndex}, func(key, value []byte) error {
		slots, err := decodeSlots(value)
		if err != nil || len(key) < 9 {
			c.report("index: %q is %x", key, value)
			return nil //nolint:nilerr // it is reported
		}
		links += len(slots)
		if !irregularSlots(slots) {
			return nil
		}
		c.rec(Ino(binary.BigEndian.Uint64(key[1:]))).irregular++
		if extra(key[1:]); marks.Valid() && bytes.Equal(marks.Key()[1:], key[1:]) {
			marks.Next()
		} else {
			c.report("index: %q is not marked as irregular", key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	extra(nil)
	if links != c.links {
		c.report("index: it has %d links, should have %d", links, c.links)
		err = c.extraLinks()
	}
	return err
}

// extraLinks reports the links of which no row tells.
func (c *checker) extraLinks() error {
	return scanPrefix(c.r, []byte{keyIndex}, func(key, value []byte) error {
		parent, name, err := splitNameKey(key)
		if err != nil {
			return nil //nolint:nilerr // it was reported
		}
		slots, err := decodeSlots(value)
		if err != nil {
			return nil //nolint:nilerr // it was reported
		}
		for _, s := range slots {
			told := false
			if rec := c.folders[s.ino]; s.dir {
				told = rec != nil && rec.attached && rec.parent == parent && rec.name == name
			} else if cur, err := c.inode(s.ino); err == nil {
				told = slices.Contains(c.d.claims(s.ino, cur.f), claim{parent: parent, name: name, slot: s})
			}
			if !told {
				c.report("index: %q in folder %d has %+v, of which no row tells", name, parent, s)
			}
		}
		return nil
	})
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
	if err != nil {
		return err
	}
	for _, ino := range sortedKeys(c.folders) {
		if rec := c.folders[ino]; rec.exists || rec.entries > 0 {
			c.report("folder %d: record %+v is missing", ino, *rec)
		}
	}
	return nil
}
