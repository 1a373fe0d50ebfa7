package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// replay reads the log from a place on and makes the changes that its records say.
type replay struct {
	s       *Store
	rebuild bool // from nothing: check the bytes of all records, all of which are on disk
	report  func(Problem)
	synced  map[uint64]int64 // by segment: what is known to have been on disk
	known   []cut            // as the log says
	records int

	cuts     []cut // found torn, not in the log yet
	cutBytes int64

	replaced []replaced // not deleted in the log yet
	graves   uint64     // the first segment with their deletions; 0: none yet
}

// run syncs what it reads first, so that a row never names bytes that aren't on disk.
func (rp *replay) run(ctx context.Context, from place) error {
	var segs []*segment
	for _, g := range rp.s.sortedSegments() {
		if g.num >= from.seg {
			segs = append(segs, g)
		}
	}
	for _, g := range segs {
		if err := g.file.SyncData(); err != nil {
			return fmt.Errorf("sync segment %d: %w", g.num, err)
		}
	}
	if err := syncDir(rp.s.fs, rp.s.dir); err != nil {
		return err
	}
	start := func(g *segment) int64 {
		if g.num == from.seg {
			return min(from.off, g.end)
		}
		return 0
	}
	if err := rp.survey(ctx, segs, start); err != nil {
		return err
	}
	for _, g := range segs {
		if err := rp.segment(ctx, g, start(g)); err != nil {
			return fmt.Errorf("segment %d: %w", g.num, err)
		}
	}
	return rp.bury()
}

// survey learns from all the records what was synced and what is cut.
func (rp *replay) survey(ctx context.Context, segs []*segment, start func(*segment) int64) error {
	rp.synced = make(map[uint64]int64)
	later := false // a later segment was synced: then all of this one was
	for _, g := range slices.Backward(segs) {
		synced := start(g)
		sc := scanner{r: g.file, nonce: g.nonce, off: start(g), end: g.end}
		for {
			if err := ctx.Err(); err != nil {
				return err
			}
			r, _, err := sc.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("segment %d: %w", g.num, err)
			}
			synced = max(synced, r.synced)
			if r.kind == kindCut {
				if c, err := readCut(g, r); err == nil {
					rp.known = append(rp.known, c)
				}
			}
		}
		if later || rp.rebuild {
			rp.synced[g.num] = g.end
		} else {
			rp.synced[g.num] = synced
		}
		later = later || synced > 0
	}
	return nil
}

// segment replays one segment from an offset on.
func (rp *replay) segment(ctx context.Context, g *segment, from int64) error {
	s := rp.s
	sc := scanner{r: g.file, nonce: g.nonce, off: from, end: g.end}
	clean := from // behind the last good record
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, gap, err := sc.next()
		rp.gap(g, gap)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if rp.isCut(g, span{r.off, r.end()}) {
			clean = r.end()
			continue // its head came through, its bytes did not
		}
		if rp.rebuild || r.end() > rp.synced[g.num] {
			if bad := s.checkRecord(g, r); bad != nil {
				if !errors.Is(bad, block.ErrCorrupt) {
					return bad
				}
				rp.bad(g, r, bad)
				continue
			}
		}
		clean = r.end()
		if err := rp.fold(g, r); err != nil {
			return err
		}
		if len(s.pending) >= unsyncedRowsMax {
			if err := rp.writeOut(place{g.num, clean}); err != nil {
				return err
			}
		}
	}
	s.mu.Lock()
	g.end = max(clean, min(g.end, rp.synced[g.num])) // what is torn at the end is not part of it
	g.synced = g.end
	s.mu.Unlock()
	return nil
}

// checkRecord reads the bytes behind a record's head and checks them.
func (s *Store) checkRecord(g *segment, r record) error {
	buf := s.bufs.get(int(r.size()))
	defer s.bufs.put(buf)
	_, err := readRecord(g, r.off, *buf)
	return err
}

// bad deals with a record whose head is good and whose bytes are not: torn, deleted and punched,
// or damaged. Only for the last is it a problem, and only if nothing deletes it further on; then
// whoever checks the rows finds it.
func (rp *replay) bad(g *segment, r record, reason error) {
	if r.end() > rp.synced[g.num] {
		rp.gap(g, span{r.off, r.end()})
		return
	}
	rp.s.o.Log.Debug("record is damaged or deleted", "segment", g.num, "offset", r.off, "error", reason)
}

// isCut says whether the log itself says that there are no records.
func (rp *replay) isCut(g *segment, at span) bool {
	for _, c := range rp.known {
		if c.seg == g.num && c.from <= at.from && at.to <= c.to {
			return true
		}
	}
	return false
}

// gap judges bytes that are no records. Only what lies beyond all that was synced may be cut.
func (rp *replay) gap(g *segment, gap span) {
	if gap.from >= gap.to || rp.isCut(g, gap) {
		return
	}
	if gap.from < rp.synced[g.num] {
		rp.report(Problem{Kind: Garbage, Segment: g.num, Offset: gap.from, Bytes: gap.to - gap.from})
		return
	}
	rp.cutBytes += gap.to - gap.from
	rp.cuts = append(rp.cuts, cut{g.num, gap})
	rp.s.o.Log.Warn("torn bytes are cut", "segment", g.num, "offset", gap.from, "bytes", gap.to-gap.from)
}

// fold makes the change that a record says.
func (rp *replay) fold(g *segment, r record) error {
	s := rp.s
	rp.records++
	if r.kind == kindCut {
		return nil
	}
	since := int64(0)
	if r.kind == kindTrash {
		var err error
		if since, err = readSince(g, r); errors.Is(err, block.ErrCorrupt) {
			rp.bad(g, r, err) // the block stays what it is: that loses nothing
			return nil
		} else if err != nil {
			return err
		}
	}
	var of block.Fragment
	if r.kind.isFragment() {
		var err error
		if of, err = readName(g, r); errors.Is(err, block.ErrCorrupt) {
			rp.report(Problem{Kind: Garbage, Segment: g.num, Offset: r.off, Bytes: r.size(), Err: err})
			return nil // whose fragment it is can't be said
		} else if err != nil {
			return err
		}
	}
	old, had, err := s.find(r.id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := place{g.num, r.off}
	switch {
	case r.kind.isBlock():
		if had && old.place == at {
			return nil
		}
		if had && !rp.rebuild && old.before(at) && s.segs[old.seg] != nil {
			rp.replaced = append(rp.replaced, replaced{r.id, old})
		}
		now := newRow(at, r, of)
		if r.kind.isTrashed() {
			since := s.unix() // replaced by the mark that follows
			if had && old.trashed() {
				since = old.since
			}
			now = now.as(kindTrash, since)
		}
		s.setRow(r.id, old, had, now)
	case !had || old.place != r.target:
		// It is about a record that was replaced since, or is gone.
	case r.kind == kindGone:
		s.dropRow(r.id, old)
	default:
		s.setRow(r.id, old, true, old.as(r.kind, since))
	}
	return nil
}

// writeOut writes the changes so far to the index; the log before upTo is on disk. During a
// rebuild they go to rows that are not in use yet, so the rest of the index stays as it is.
func (rp *replay) writeOut(upTo place) error {
	s := rp.s
	// An index that goes beyond the newer record does not tell of the one that it replaced any more.
	if err := rp.bury(); err != nil {
		return err
	}
	snap, changed := s.snapshot()
	if !changed {
		return nil
	}
	snap.meta.upTo = upTo
	b := s.index.db.NewBatch()
	if err := snap.encode(b, s.cache.lastUse, !rp.rebuild); err != nil {
		return err
	}
	if err := s.index.apply(b); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushing = nil
	s.punches = append(s.punches, snap.punches...)
	if rp.rebuild {
		for _, g := range s.segs {
			g.saved = segmentStats{} // not written
		}
	}
	return nil
}
