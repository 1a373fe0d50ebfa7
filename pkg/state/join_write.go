package state

import (
	"bytes"
	"errors"
	"fmt"
	"maps"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// write writes a batch: the rows, and that the join is under way, or, with the last one, what it brought.
func (j *joiner) write(last bool) error {
	d := j.d
	d.opMu.Lock()
	defer d.opMu.Unlock()
	t := d.begin()
	defer t.close()
	mine, err := newInodeReader(d.db) // each row is written once
	if err != nil {
		return err
	}
	defer mine.close()
	for i := range j.rows {
		if err := t.joinRow(j, &j.rows[i], mine); err != nil {
			return fmt.Errorf("row %x: %w", j.rows[i].key, err)
		}
	}
	record := j.record
	t.more = !last
	if last {
		t.ends = d.joining != nil
		err = j.end(t)
	} else {
		record.upTo = bytes.Clone(j.rows[len(j.rows)-1].key)
		err = t.set(textKey(keyOwn, ownJoining), record.encode())
	}
	if err == nil {
		err = t.finish(false)
	}
	if err != nil {
		return err
	}
	j.rows, j.bytes = j.rows[:0], 0
	if !last {
		j.record = record
		d.joining = &record
		return nil
	}
	j.remember()
	return nil
}

// end puts into the last batch how far each label's commits are applied now, and which branches there are.
func (j *joiner) end(t *tx) error {
	next := t.d.forks.clone()
	for name, b := range j.p.root.branches.byName {
		if _, known := next.byName[name]; known {
			continue
		}
		next.set(name, b)
		if err := t.set(branchKey(name), b.encode()); err != nil {
			return err
		}
	}
	t.forks = next
	j.heads = map[ident.Actor]actorState{}
	for a := range j.p.news {
		to := j.p.root.VV[a]
		e, ok, err := t.entryAt(a, to)
		if err == nil && !ok {
			err = fmt.Errorf("state: digest of commit %d of actor %s: %w", to, a, block.ErrNotFound)
		}
		if err != nil {
			return err
		}
		s := actorState{seq: to, digest: e.digest, hlc: j.p.newest} // no earlier than its own, of which the header may be gone
		if len(e.encoded) > 0 {
			h, err := headerOf(e.encoded)
			if err != nil {
				return err
			}
			s.hlc = h.HLC
		}
		j.heads[a] = s
		if err := errors.Join(t.cut(a, to, j.p.mine[a]), t.set(actorKey(a), s.encode())); err != nil {
			return err
		}
		if a == t.d.self && (t.d.signer() != nil || j.p.replace) { // made in an earlier life, and given back by others
			if err := t.renew(); err != nil {
				return err
			}
		}
	}
	if j.p.replace {
		if err := j.retract(t); err != nil {
			return err
		}
	}
	if j.adopt {
		cp := t.d.checkpoint // written under commitMu alone, which is held
		cp.rows = j.p.root.Rows
		if err := t.set(textKey(keyOwn, ownCheckpoint), cp.encode()); err != nil {
			return err
		}
	}
	return t.del(textKey(keyOwn, ownJoining))
}

// remember brings memory up to the last batch.
func (j *joiner) remember() {
	d := j.d
	maps.Copy(d.heads, j.heads)
	d.reach = nil
	j.forget()
	d.hlc = max(d.hlc, j.p.newest)
	d.joining = nil
	if j.adopt {
		d.mu.Lock()
		d.checkpoint.rows = j.p.root.Rows
		d.mu.Unlock()
	}
}

// joinRow joins one row, and keeps the index with it.
func (t *tx) joinRow(j *joiner, row *joinRow, inodes *inodeReader) error {
	kind, ino, _, err := ParseKey(row.key)
	if err != nil {
		return err
	}
	var mine []byte
	if kind == KeyInode {
		mine, err = inodes.get(row.key)
	} else {
		mine, err = get(t.r, row.key)
	}
	if err != nil || bytes.Equal(mine, row.theirs) {
		return err
	}
	if kind == KeyInode {
		return t.joinInode(j, ino, row, mine)
	}
	var out []byte
	if kind == KeyWish {
		s := j.p.wishes()
		err = s.join(j.p, mine, row.theirs)
		out = s.out
	} else {
		s := j.p.snaps()
		err = s.join(j.p, mine, row.theirs)
		out = s.out
	}
	if err != nil {
		return err
	}
	return t.putJoined(j, row, mine, out)
}

// check says whether what a root has under a key can be joined.
func (p *proof) check(key, theirs []byte) error {
	kind, ino, _, err := ParseKey(key)
	if err == nil {
		switch kind {
		case KeyInode:
			s := p.inodes(ino)
			err = s.join(p, nil, theirs)
		case KeyWish:
			s := p.wishes()
			err = s.join(p, nil, theirs)
		default:
			s := p.snaps()
			err = s.join(p, nil, theirs)
		}
	}
	if err != nil {
		return fmt.Errorf("row %x: %w", key, err)
	}
	return nil
}

func (p *proof) inodes(ino Ino) sets[*Inode] {
	return sets[*Inode]{decode: DecodeInodeSet, encode: AppendInodeSet, check: func(dot Dot, n *Inode) error { return p.inode(ino, dot, n) }}
}

func (p *proof) wishes() sets[*Wish] {
	return sets[*Wish]{decode: DecodeWishSet, encode: AppendWishSet, check: func(dot Dot, w *Wish) error { return p.stamped(dot, w.Newest()) }}
}

func (p *proof) snaps() sets[block.ID] {
	return sets[block.ID]{decode: DecodeSnapSet, encode: AppendSnapSet, check: func(Dot, block.ID) error { return nil }}
}

func (t *tx) joinInode(j *joiner, ino Ino, row *joinRow, mine []byte) error {
	s := j.p.inodes(ino)
	if err := s.join(j.p, mine, row.theirs); err != nil {
		return err
	}
	if err := t.putJoined(j, row, mine, s.out); err != nil || bytes.Equal(mine, s.out) {
		return err
	}
	t.at = j.p.newest
	if len(s.is) > 0 {
		t.at = 0
	}
	for _, v := range s.is {
		if !s.was.Has(v.Dot) {
			t.at = max(t.at, v.Value.Newest().HLC)
		}
	}
	if t.at > 0 && len(s.is) > 0 {
		t.d.contentSeq++
		if err := t.set(seqKey(keyContent, t.d.contentSeq), row.key[1:]); err != nil {
			return err
		}
	}
	var dirty *dirtyValue
	if t.d.dirty[string(row.key)] != nil {
		var err error
		if dirty, err = t.dirty(row.key); err != nil {
			return err
		}
	}
	before, err1 := (&current[*Inode]{set: s.was, dirty: dirty}).versions(DecodeInode)
	after, err2 := (&current[*Inode]{set: s.is, dirty: dirty}).versions(DecodeInode)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return t.reindex(ino, t.d.fold(before), t.d.fold(after))
}

// putJoined writes a row's versions, and marks it for the checkpoint unless the tree has it so.
func (t *tx) putJoined(j *joiner, row *joinRow, mine, out []byte) error {
	if !j.adopt || !bytes.Equal(out, row.theirs) {
		if err := t.set(markKey(keyRowMark, t.d.epoch, row.key), nil); err != nil {
			return err
		}
	}
	switch {
	case bytes.Equal(out, mine):
		return nil
	case len(out) == 0:
		return t.del(row.key)
	}
	return t.set(row.key, out)
}

// sets joins the versions of one row.
type sets[T any] struct {
	decode func([]byte) (VerSet[T], error)
	encode func([]byte, VerSet[T]) []byte
	check  func(Dot, T) error // of a version of the root that was not seen here

	was, is VerSet[T]
	out     []byte // is, encoded; empty: none
}

func (s *sets[T]) join(p *proof, mine, theirs []byte) (err error) {
	var other VerSet[T]
	if len(mine) > 0 {
		if s.was, err = s.decode(mine); err != nil {
			return err
		}
	}
	if len(theirs) > 0 {
		if other, err = s.decode(theirs); err != nil {
			return err
		}
	}
	news := 0
	for _, v := range other {
		if !p.root.VV.Covers(v.Dot) {
			return fmt.Errorf("a version of commit %d of actor %s, which the root has not seen: %w", v.Dot.Seq, v.Dot.Actor, block.ErrCorrupt)
		}
		if p.mine.Covers(v.Dot) {
			continue
		}
		news++
		if err := s.check(v.Dot, v.Value); err != nil {
			return fmt.Errorf("version of commit %d of actor %s: %w: %w", v.Dot.Seq, v.Dot.Actor, err, block.ErrCorrupt)
		}
	}
	if p.replace || news == len(other) && len(s.was) == 0 {
		s.is, s.out = other, theirs
		return nil
	}
	if s.is = Join(s.was, p.mine, other, p.root.VV); len(s.is) > 0 {
		s.out = s.encode(nil, s.is)
	}
	return nil
}

// stamped says whether a version has no stamp later than its author's last commit.
func (p *proof) stamped(dot Dot, newest TS) error {
	if limit, ok := p.news[dot.Actor]; !ok || newest.HLC > limit {
		return errors.New("a stamp is after its author's last commit")
	}
	return nil
}

// inode says whether a version of an inode names only what its author can name.
func (p *proof) inode(ino Ino, dot Dot, n *Inode) error {
	if err := checkPlaces(ino, n); err != nil {
		return err
	}
	for i := range n.Contents {
		if !p.root.VV.Covers(n.Contents[i].Dot) {
			return errors.New("a content of a commit that the root has not seen")
		}
	}
	for _, d := range n.Seen {
		if !p.root.VV.Covers(d) {
			return errors.New("it saw a content of a commit that the root has not seen")
		}
	}
	return p.stamped(dot, n.Newest())
}
