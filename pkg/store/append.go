package store

import (
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// append writes a record at the end of the log: b is the whole record, with room for its head in
// front, r its head but for what the place decides. Then, with the place known, it calls done
// under mu to take note. It is not durable before the next flush.
//
// useReserve is for records that free more than they take.
func (s *Store) append(r record, b []byte, useReserve bool, done func(at place)) error {
	if !s.claims.enter() {
		return ErrClosed
	}
	defer s.claims.leave()
	r.length = uint32(len(b) - recordHead)
	heads := [1]record{r}
	if err := s.appendRecords(heads[:], b, useReserve, done); err != nil {
		return err
	}
	return s.writeBack()
}

// appendMany is append for blocks that stand in b one behind the other, each with room for its head in front; the heads have the lengths. done
// finds in the heads where each stands.
func (s *Store) appendMany(heads []record, b []byte, done func(seg uint64)) error {
	if !s.claims.enter() {
		return ErrClosed
	}
	defer s.claims.leave()
	if err := s.appendRecords(heads, b, false, func(at place) { done(at.seg) }); err != nil {
		return err
	}
	return s.writeBack()
}

// writeBackBytes is how much is appended before the operating system is told to begin to write it to the disk, so that
// the sync at the end finds little left to do. It is no promise that anything is durable.
const writeBackBytes = 16 << 20

// writeBack has the disk begin with what was appended, when that is much.
func (s *Store) writeBack() error {
	s.appendMu.Lock()
	g := s.active
	if g == nil || s.sinceBack < writeBackBytes {
		s.appendMu.Unlock()
		return nil
	}
	s.sinceBack = 0
	end := g.end
	s.appendMu.Unlock()
	// An error of the disk is told once only, here or to the sync, so it counts as one of the sync.
	if _, err := g.file.SyncTo(end); err != nil {
		return s.poison(fmt.Errorf("write back segment %d: %w", g.num, err))
	}
	return nil
}

func (s *Store) appendRecords(heads []record, b []byte, useReserve bool, done func(at place)) error {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	if s.active != nil && s.active.end > 0 && s.active.end+int64(len(b)) > s.o.SegmentBytes {
		s.active = nil // it stays dirty until the next flush
	}
	if !useReserve && s.room() < int64(len(b)) {
		return fmt.Errorf("%d bytes do not fit: %w", len(b), ErrNoSpace)
	}
	at, err := s.write(heads, b)
	if useReserve && errors.Is(err, ErrNoSpace) && s.ballast.release() {
		at, err = s.write(heads, b)
	}
	if err != nil {
		return err
	}
	s.disk.took(int64(len(b)))
	s.sinceBack += int64(len(b))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsynced += int64(len(b))
	done(at)
	return nil
}

// write places records, one behind the other, and returns where the first stands; appendMu is held.
func (s *Store) write(heads []record, b []byte) (place, error) {
	if s.active == nil {
		if err := s.rotate(); err != nil {
			return place{}, err
		}
	}
	if len(s.cuts) > 0 && heads[0].kind != kindCut {
		if err := s.writeCuts(); err != nil {
			return place{}, err
		}
	}
	g := s.active
	rest := b
	for i := range heads {
		r := &heads[i]
		r.nonce, r.off, r.synced = g.nonce, g.end+int64(len(b)-len(rest)), g.synced
		r.sum = checksum(rest[recordHead:r.size()])
		r.encode(rest)
		rest = rest[r.size():]
	}
	if _, err := g.file.WriteAt(b, g.end); err != nil {
		// The next append goes over what this one left.
		g.junk = max(g.junk, g.end+int64(len(b)))
		return place{}, s.unwrite(g, heads, fmt.Errorf("append to segment %d: %w", g.num, noSpace(err)))
	}
	at := place{g.num, g.end}
	s.mu.Lock()
	g.end += int64(len(b))
	s.used += int64(len(b))
	s.mu.Unlock()
	return at, nil
}

// unwrite sees to it that what a failed write left is none of the records after all, together with bytes that an earlier failure left. It
// returns err, or that the store is poisoned, since one of them stands there though it was refused.
func (s *Store) unwrite(g *segment, heads []record, err error) error {
	for i := range heads {
		r := &heads[i]
		if _, zerr := g.file.WriteAt(make([]byte, recordHead), r.off); zerr == nil {
			continue
		}
		if _, rerr := readRecord(g, r.off, make([]byte, r.size())); rerr == nil {
			return s.poison(err)
		}
	}
	return err
}

// rotate begins the next segment; appendMu is held. What a failed write left behind the end of an
// earlier one is cut by a record, so that it is never taken for damage.
func (s *Store) rotate() error {
	g, err := createSegment(s.fs, s.dir, s.nextSeg)
	if err != nil {
		return noSpace(err)
	}
	s.nextSeg++
	s.mu.Lock()
	s.segs[g.num] = g
	s.newFiles = true
	s.cuts = s.cuts[:0]
	for _, old := range s.segs {
		if old.junk > old.end {
			s.cuts = append(s.cuts, cut{seg: old.num, span: span{old.end, old.junk}})
		}
	}
	s.mu.Unlock()
	s.active = g
	return nil
}

// writeCuts appends the cuts that are due, ahead of all else in their segment: what is behind them may say that the bytes
// they cut were on disk.
func (s *Store) writeCuts() error {
	for len(s.cuts) > 0 {
		if err := s.writeCut(s.cuts[0]); err != nil {
			return err
		}
		s.cuts = s.cuts[1:]
	}
	return nil
}

// cut is a range of a segment that holds no records, because of a torn or failed write.
type cut struct {
	seg uint64
	span
}

// writeCut appends a cut; appendMu is held, and there is an active segment.
func (s *Store) writeCut(c cut) error {
	b := make([]byte, recordHead, recordHead+cutLen)
	b = appendUint64(b, uint64(c.to))
	if _, err := s.write([]record{{kind: kindCut, target: place{c.seg, c.from}, length: cutLen}}, b); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsynced += int64(len(b))
	if g := s.segs[c.seg]; g != nil {
		g.junk = 0
	}
	return nil
}

// mark appends a record of kind k about the block record of r; since is for a trash mark.
func (s *Store) mark(k kind, id block.ID, r row, since int64, done func()) error {
	b := make([]byte, recordHead, recordHead+trashLen)
	if k == kindTrash {
		b = appendUint64(b, uint64(since))
	}
	return s.append(record{kind: k, id: id, target: r.place}, b, true, func(place) { done() })
}

// setRow notes a block's new row in place of the old one (had: there was one) and keeps the
// counts; mu is held, and appendMu.
func (s *Store) setRow(id block.ID, old row, had bool, r row) {
	if had {
		s.dropCounts(id, old)
	}
	s.totals.add(r, +1)
	if g := s.segs[r.seg]; g != nil && !r.bad() {
		g.live += r.size()
	}
	if r.cached() && !r.bad() {
		s.cache.add(id, r.size(), s.now())
	}
	s.notePending(id, change{row: r, uncache: had && old.cached() || s.pending[id].uncache})
}

// dropRow notes that a block is gone; mu is held, and appendMu.
func (s *Store) dropRow(id block.ID, old row) {
	s.dropCounts(id, old)
	s.notePending(id, change{row: old, gone: true, uncache: old.cached() || s.pending[id].uncache})
	s.punches = append(s.punches, old)
}

// notePending notes what became of a block, for the next flush; mu is held. There is no other way for a row into the index.
func (s *Store) notePending(id block.ID, c change) {
	s.pending[id] = c
	if !c.gone {
		s.filter.note(id)
	}
}

func (s *Store) dropCounts(id block.ID, old row) {
	s.totals.add(old, -1)
	if g := s.segs[old.seg]; g != nil && !old.bad() {
		g.live -= old.size()
	}
	if old.cached() {
		s.cache.remove(id)
	}
}

// setBad sets a block aside; the ID is claimed.
func (s *Store) setBad(id block.ID, old row, reason error) {
	s.o.Log.Error("block is damaged and set aside", "block", id, "segment", old.seg, "offset", old.off, "error", reason)
	if !s.claims.enter() {
		return
	}
	defer s.claims.leave()
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	bad := old
	bad.flags |= flagBad
	s.setRow(id, old, true, bad)
}
