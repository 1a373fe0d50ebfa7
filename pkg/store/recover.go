package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

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
		if len(s.segs) == 1 { // a young store, of which the index was not written yet
			s.o.Log.Info("store has no index yet: it is made from the segment")
		} else {
			s.o.Log.Error("store index is lost: it is made anew from the segments", "segments", len(s.segs))
		}
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
	if n := len(segs); !s.o.NeverResume && n > 0 && segs[n-1].num >= upTo.seg && segs[n-1].num+1 == s.nextSeg {
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
