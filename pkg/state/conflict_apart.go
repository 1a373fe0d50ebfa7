package state

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Rows forget some of what was done apart: a removal leaves nothing behind, and of two places the later one stays. What a
// person should know of that is noted where a commit is applied, under a key that is never replicated; each pod sees it by itself,
// since it applies both sides. Such a mark is over once somebody who had seen both sides changed the row, or gave it new contents.

// apartMark is such a note.
type apartMark struct {
	ino  Ino
	kind ConflictKind // ConflictDeleted, ConflictRenamed
	vv   VV           // what had been seen here, with the commit that made the conflict
	at   HLC          // no earlier than the stamp of anything in vv
	// Of the side that lost: the removal or the place.
	ts     TS
	link   uint64
	parent Ino
	name   string
}

func apartKey(ino Ino, kind ConflictKind) []byte { return append(inoKey(keyApart, ino), byte(kind)) }

// encode writes [vv, at, hlc, actor, link, parent, name].
func (m *apartMark) encode() []byte {
	b := m.vv.Append(cbor.AppendArray(nil, 7))
	b = cbor.AppendUint(b, uint64(m.at))
	b = cbor.AppendUint(b, uint64(m.ts.HLC))
	b = cbor.AppendUint(b, m.ts.Actor.Uint())
	b = cbor.AppendUint(b, m.link)
	b = cbor.AppendUint(b, uint64(m.parent))
	return cbor.AppendName(b, m.name)
}

func decodeApartMark(key, value []byte) (apartMark, error) {
	if len(key) != 10 {
		return apartMark{}, fmt.Errorf("state: mark of a conflict under %x: %w", key, block.ErrCorrupt)
	}
	ino, kind, _ := splitNameKey(key) // it is long enough
	m := apartMark{ino: ino, kind: ConflictKind(kind[0])}
	r := cbor.NewReader(value)
	r.Tuple(7)
	m.vv, m.at = readVV(r), HLC(r.Uint())
	m.ts = TS{HLC: HLC(r.Uint()), Actor: readActor(r)}
	m.link, m.parent, m.name = r.Uint(), Ino(r.Uint()), r.Name(vfs.NameMax)
	if err := r.Done(); err != nil {
		return apartMark{}, corrupt("mark of a conflict", err)
	}
	return m, nil
}

func (v view) apartMarks() (out []apartMark, err error) {
	err = scanPrefix(v.r, []byte{keyApart}, func(key, value []byte) error {
		m, err := decodeApartMark(key, bytes.Clone(value))
		out = append(out, m)
		return err
	})
	return out, err
}

func (v view) apartMark(ino Ino, kind ConflictKind) (m apartMark, ok bool, err error) {
	key := apartKey(ino, kind)
	b, err := get(v.r, key)
	if err != nil || b == nil {
		return m, false, err
	}
	m, err = decodeApartMark(key, b)
	return m, err == nil, err
}

// forgetApart removes marks that are over, unless they were made anew. They matter to nobody: a crash may bring them back.
func (d *DB) forgetApart(marks []apartMark) error {
	if len(marks) == 0 {
		return nil
	}
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return vfs.ErrClosed
	}
	d.opMu.Lock()
	defer d.opMu.Unlock()
	for i := range marks {
		key := apartKey(marks[i].ino, marks[i].kind)
		now, err := get(d.db, key)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, marks[i].encode()) {
			continue
		}
		if err := d.db.Delete(key, pebble.NoSync); err != nil {
			return fmt.Errorf("state: write: %w", err)
		}
	}
	return nil
}

// apartOver says whether somebody who had seen both sides changed the inode since, or it was given contents.
func (v view) apartOver(m apartMark, cur *curInode) (bool, error) {
	if cur.dirty != nil && cur.dirty.hlc > m.at {
		return true, nil
	}
	for i := range cur.f.Inode.Contents {
		if d := cur.f.Inode.Contents[i].Dot; m.kind == ConflictDeleted && !m.vv.Covers(d) {
			return true, nil
		}
	}
	for _, one := range cur.set {
		past, err := v.pastOf(one.Dot)
		if errors.Is(err, block.ErrNotFound) {
			continue // older than the log
		}
		if err != nil || m.vv.LessEqual(past) {
			return err == nil, err
		}
	}
	return false, nil
}

// pastOf is what the author of a commit had seen. Error: block.ErrNotFound, if the log has it no more.
func (v view) pastOf(d Dot) (VV, error) {
	h, err := v.headerAt(d)
	if err != nil {
		return nil, err
	}
	return h.Past(), nil
}

// headerAt is the header of a commit of the log. Error: block.ErrNotFound, also where the log dropped it.
func (v view) headerAt(d Dot) (*Header, error) {
	_, encoded, err := v.commitAt(d.Actor, d.Seq)
	if err == nil && len(encoded) == 0 {
		err = fmt.Errorf("state: header of commit %d of actor %s: %w", d.Seq, d.Actor, block.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return headerOf(encoded)
}

// noteApart notes what the row of a commit that was just applied makes of an inode, if that is to be known.
func (t *tx) noteApart(c *Commit, ino Ino, row *Row, before, after *curInode) error {
	if after.f == nil || ino == RootIno {
		return nil
	}
	m := apartMark{ino: ino, ts: TS{HLC: c.HLC, Actor: c.Actor}}
	file := !isFolder(after.f)
	switch {
	case file && len(row.Value) == 0: // what its author had not seen is left
		past := c.Past()
		for i := range after.f.Inode.Contents {
			if d := after.f.Inode.Contents[i].Dot; d.IsZero() || !past.Covers(d) && d != c.Dot() {
				return nil // an edit wins
			}
		}
		m.kind = ConflictDeleted
	case file && before.f == nil && len(row.Observed) > 0: // of what was removed here, or by others
		for i := range row.inode.Contents {
			if row.inode.Contents[i].Dot.IsZero() {
				return nil
			}
		}
		m.kind, m.ts = ConflictDeleted, TS{} // who removed it is not known any more
	case file && after.f.Dead && (before.f == nil || !before.f.Dead): // all its names were removed, apart
		m.kind = ConflictDeleted
	default:
		return t.noteRenamed(c, ino, after)
	}
	return t.putApart(c, &m)
}

func (t *tx) putApart(c *Commit, m *apartMark) error {
	m.vv = VV{}
	for a, s := range t.d.heads {
		m.vv[a] = s.seq
	}
	past := c.Past()
	past[c.Actor] = c.Seq
	m.vv.Merge(past)
	m.at = max(t.d.hlc, c.HLC)
	return t.set(apartKey(m.ino, m.kind), m.encode())
}

// noteRenamed looks for places that the versions of an inode give one link, without either author having seen the other's.
func (t *tx) noteRenamed(c *Commit, ino Ino, after *curInode) error {
	i := slices.IndexFunc(after.set, func(v Version[*Inode]) bool { return v.Dot == c.Dot() })
	if len(after.set) < 2 || i < 0 {
		return nil
	}
	mine := after.set[i].Value
	for _, o := range after.set {
		if o.Dot == c.Dot() {
			continue
		}
		for k := range mine.Links {
			a := &mine.Links[k]
			for j := range o.Value.Links {
				b := &o.Value.Links[j]
				if a.ID != b.ID || a.Parent == b.Parent && a.Name == b.Name {
					continue
				}
				lost, past := b, c.Past()
				if comparePlace(*a, *b) < 0 {
					var err error
					if past, err = t.pastOf(o.Dot); errors.Is(err, block.ErrNotFound) {
						continue
					} else if err != nil {
						return err
					}
					lost = a
				}
				if seen, err := t.sawStamp(past, lost.TS, c); seen || err != nil {
					if err != nil {
						return err
					}
					continue
				}
				m := apartMark{ino: ino, kind: ConflictRenamed, ts: lost.TS, link: lost.ID, parent: lost.Parent, name: lost.Name}
				if err := t.putApart(c, &m); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sawStamp says whether who had seen past had seen a stamp: a commit's own stamp is no earlier than those in it, and earlier than
// those of the commits after it.
func (v view) sawStamp(past VV, ts TS, c *Commit) (bool, error) {
	var none ident.Actor
	seq := past[ts.Actor]
	switch {
	case ts.IsZero() || ts.Actor == none:
		return true, nil
	case seq == 0:
		return false, nil
	case ts.Actor == c.Actor && seq == c.Seq:
		return c.HLC >= ts.HLC, nil
	}
	h, err := v.headerAt(Dot{Actor: ts.Actor, Seq: seq})
	if errors.Is(err, block.ErrNotFound) {
		return true, nil // older than the log: everybody has seen it
	}
	if err != nil {
		return false, err
	}
	return h.HLC >= ts.HLC, nil
}
