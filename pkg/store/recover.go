package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// recover brings a store in order at Open. Nobody else uses the store yet. An index that is corrupt, wherever that shows, is
// kept under another name and made anew.
func (s *Store) recover(home string) error {
	if err := s.openSegments(); err != nil {
		return err
	}
	dir, rotten := s.fs.PathJoin(home, "index"), s.fs.PathJoin(home, rottenName)
	err := fmt.Errorf("index: damage was found while it was in use: %w", block.ErrCorrupt)
	if _, serr := s.fs.Stat(rotten); serr != nil {
		err = s.recoverBy(dir)
	}
	if !indexLost(err) {
		return err
	}
	aside := fmt.Sprintf("%s-corrupt-%d", dir, s.o.Clock.Now().UnixMilli())
	s.o.Log.Error("store index is corrupt", "error", err, "kept_as", aside)
	if s.index != nil {
		_ = s.index.close() // it is damaged
		s.index = nil
	}
	if err := s.fs.Rename(dir, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set a corrupt index aside: %w", err)
	}
	if err := syncDir(s.fs, home); err != nil {
		return err
	}
	// Only now: a crash in between makes the index anew once more.
	if err := s.fs.Remove(rotten); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, g := range s.segs {
		_ = g.release() // it is opened anew
	}
	clear(s.segs)
	clear(s.pending)
	s.active, s.flushing, s.punches, s.unsynced, s.recovery = nil, nil, nil, 0, Recovery{}
	s.cache.load(nil)
	if err := s.openSegments(); err != nil {
		return err
	}
	return s.recoverBy(dir)
}

// rottenName is an empty file that says that the index was found damaged while it was in use: Open makes it anew.
const rottenName = "index-rotten"

// noteRotten hears from Pebble of a damaged table; by default Pebble would end the process. What reads it is an error from
// here on, and absent to nobody; the next Open makes the index anew.
func (s *Store) noteRotten(reason error) {
	if s.rotten.Swap(true) {
		return
	}
	s.o.Log.Error("store index is damaged: it is made anew at the next start", "error", reason)
	home := s.fs.PathDir(s.dir)
	f, err := s.fs.Create(s.fs.PathJoin(home, rottenName), vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(f.Close(), syncDir(s.fs, home))
	}
	if err != nil {
		s.o.Log.Error("damage of the store index can't be noted", "error", err)
	}
}

// indexLost says whether an error of recoverBy means that the index must be made anew: any but those of the disk.
func indexLost(err error) bool {
	var errno syscall.Errno
	switch {
	case err == nil || errors.Is(err, ErrNoSpace):
		return false
	case pebble.IsCorruptionError(err), errors.Is(err, block.ErrCorrupt), errors.Is(err, fs.ErrNotExist):
		return true
	case errors.As(err, &errno):
		return false
	}
	return errors.Is(err, errIndexOpen)
}

func (s *Store) openSegments() error {
	segs, err := openSegments(s.fs, s.dir)
	for _, g := range segs {
		s.segs[g.num] = g
	}
	return err
}

// recoverBy opens the index, reads again what it lacks, and finds the log's end.
func (s *Store) recoverBy(dir string) (err error) {
	if err := s.roomForIndex(); err != nil {
		return err
	}
	on := newRoom(s.fs, s.o.Clock, s.ballast.release)
	if s.index, err = openIndex(on, dir, s.o.Log, s.noteRotten); err != nil {
		return err
	}
	m, err := s.index.meta()
	if err != nil {
		return err
	}
	s.generation, s.totals = m.generation, m.totals
	if m == (meta{}) && len(s.segs) > 0 {
		s.recovery.IndexRebuilt = true
		s.o.Log.Error("store index is lost: it is made anew from the segments", "segments", len(s.segs))
	}
	if err := s.loadStats(m.upTo); err != nil {
		return err
	}
	rp := replay{s: s, report: s.noteProblem}
	if err := rp.run(context.Background(), m.upTo); err != nil {
		return err
	}
	s.recovery.Records, s.recovery.CutBytes = rp.records, rp.cutBytes
	if err := s.resume(m.upTo, rp.cuts); err != nil {
		return err
	}
	return s.loadCache(context.Background())
}

func (s *Store) noteProblem(p Problem) {
	s.recovery.Problems = append(s.recovery.Problems, p)
	s.o.Log.Error("store has a problem", "problem", p.String())
}

// loadStats takes over what the index knows of the segments: their ends, where it has read them
// to the end. It finishes removals that Compact began.
func (s *Store) loadStats(upTo place) error {
	s.nextSeg = max(upTo.seg, 1)
	known := make(map[uint64]bool)
	var removed []uint64
	err := s.index.each(context.Background(), []byte{keySegment}, []byte{keySegment}, func(key, value []byte) error {
		st, err := decodeStats(key, value)
		if err != nil {
			return err
		}
		known[st.num] = true
		s.nextSeg = max(s.nextSeg, st.num+1)
		g := s.segs[st.num]
		switch {
		case st.removed():
			removed = append(removed, st.num)
		case g == nil:
			s.noteProblem(Problem{Kind: Missing, Segment: st.num, Bytes: st.live})
		default:
			if g.end < st.end {
				s.noteProblem(Problem{Kind: Missing, Segment: st.num, Offset: g.end, Bytes: st.end - g.end})
			}
			if st.num < upTo.seg || g.end < st.end {
				g.end, g.junk = st.end, g.end
			}
			g.live, g.punched, g.synced, g.saved = st.live, st.punched, st.end, st
		}
		return nil
	})
	if err != nil {
		return err
	}
	for num, g := range s.segs {
		s.nextSeg = max(s.nextSeg, num+1)
		if num < upTo.seg && !known[num] {
			s.o.Log.Warn("segment is not known to the store and left alone", "path", g.path)
			delete(s.segs, num)
			_ = g.release() // nothing was written
		}
	}
	for _, num := range removed {
		if err := s.dropSegment(num); err != nil {
			return err
		}
	}
	return nil
}

// resume finds where the log goes on: behind a clean end, or in a new segment that begins with the
// cuts of what is torn. All that was read is durable when it returns.
func (s *Store) resume(upTo place, cuts []cut) error {
	segs := s.sortedSegments()
	// A segment that upTo has passed is never taken again: a replay would not read it.
	if n := len(segs); n > 0 && segs[n-1].num >= upTo.seg && segs[n-1].num+1 == s.nextSeg {
		s.active = segs[n-1]
	}
	for _, c := range cuts {
		if s.active != nil && s.active.num == c.seg {
			s.active = nil
		}
	}
	s.ballast.take(s.disk.refresh())
	if len(cuts) > 0 {
		s.active = nil
		if err := s.rotate(); err != nil {
			return err
		}
		for _, c := range cuts {
			if err := s.writeCut(c); err != nil {
				return err
			}
		}
	}
	dead, err := s.flush()
	s.punch(dead)
	return err
}

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

// readNumber reads the number that stands behind the head of a cut or a trash mark.
func readNumber(g *segment, r record) (int64, error) {
	var b [8]byte
	if _, err := readAt(g.file, b[:], r.off+recordHead, r.end()); err != nil {
		return 0, err
	}
	if err := r.checkSum(b[:]); err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b[:])), nil
}

// readCut reads what stands behind the head of a cut.
func readCut(g *segment, r record) (cut, error) {
	to, err := readNumber(g, r)
	return cut{r.target.seg, span{r.target.off, to}}, err
}

// readSince reads what stands behind the head of a trash mark.
func readSince(g *segment, r record) (int64, error) {
	since, err := readNumber(g, r)
	if err == nil && since < 0 {
		err = fmt.Errorf("record at %d: time %d: %w", r.off, since, block.ErrCorrupt)
	}
	return since, err
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
