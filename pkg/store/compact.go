package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Compact gives dead bytes back that hole punching left: it copies what lives in the segments that
// are mostly dead to the end of the log and removes them. It uses the reserve when nothing else is
// free. It runs beside everything else; two at once are one after the other. freed is in bytes.
func (s *Store) Compact(ctx context.Context) (freed int64, err error) {
	s.compacting.Lock()
	defer s.compacting.Unlock()
	for _, g := range s.mostlyDead() {
		n, err := s.compactSegment(ctx, g)
		if err != nil {
			return freed, fmt.Errorf("store: compact segment %d: %w", g.num, err)
		}
		freed += n
	}
	return freed, nil
}

// mostlyDead lists the segments that are worth it: rewriting them frees more than it copies.
func (s *Store) mostlyDead() []*segment {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	var segs []*segment
	for _, g := range s.sortedSegments() {
		if g != s.active && g.end > 0 && g.reclaimable() > g.live && (!g.hides || g.live <= 0) {
			segs = append(segs, g)
		}
	}
	return segs
}

func (s *Store) compactSegment(ctx context.Context, g *segment) (int64, error) {
	if err := s.Sync(ctx); err != nil { // so that the segment is on disk, and its end stands
		return 0, err
	}
	if err := s.eachRecord(ctx, g, s.carry); err != nil {
		return 0, err
	}
	// Durable by this: the copies. Only then may the originals go.
	if err := s.Sync(ctx); err != nil {
		return 0, err
	}
	s.mu.RLock()
	hides := g.live > 0
	s.mu.RUnlock()
	if !hides {
		return s.removeSegment(ctx, g)
	}
	// A rotten head hid a block that the index names; Check reports it. What was copied stays here, too.
	if err := s.eachRecord(ctx, g, s.buryDead); err != nil {
		return 0, err
	}
	g.hides = true
	return 0, nil
}

// eachRecord calls f with the records of a segment that takes no appends any more.
func (s *Store) eachRecord(ctx context.Context, g *segment, f func(context.Context, *segment, record) error) error {
	sc := scanner{r: g.file, nonce: g.nonce, end: g.end}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, _, err := sc.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(ctx, g, r)
		}
		if err == nil {
			err = s.boundUnsynced(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// carry appends a record of a segment that is about to go, if it still says something.
func (s *Store) carry(ctx context.Context, g *segment, r record) error {
	if r.kind.isBlock() {
		if err := s.claims.claim(ctx, r.id); err != nil {
			return err
		}
		defer s.claims.release(r.id)
		return s.carryBlock(g, r)
	}
	s.mu.RLock()
	_, there := s.segs[r.target.seg]
	s.mu.RUnlock()
	if r.target.seg == g.num || !there {
		return nil // what it is about is gone, or goes with it
	}
	if r.kind == kindOwn || r.kind == kindDisown || r.kind == kindTrash {
		return s.carryMark(ctx, r)
	}
	b := make([]byte, r.size())
	if _, err := readRecord(g, r.off, b); err != nil {
		return nil // a damaged cut says nothing
	}
	return s.append(r, b, true, func(place) {})
}

// carryMark appends what is so now: a later mark than r may stand before the end of the log.
func (s *Store) carryMark(ctx context.Context, r record) error {
	if err := s.claims.claim(ctx, r.id); err != nil {
		return err
	}
	defer s.claims.release(r.id)
	now, ok, err := s.lookup(r.id)
	if err != nil || !ok || now.place != r.target && !now.trashed() {
		return err
	}
	// Of a block in the trash that was moved since, r may be the only record of the time, see carryBlock.
	return s.mark(now.markKind(), r.id, now, now.since, func() {})
}

func (s *Store) carryBlock(g *segment, r record) error {
	old, ok, err := s.lookup(r.id)
	switch {
	case err != nil || !ok || old.bad():
		return err
	case old.place != place{g.num, r.off}:
		if old.trashed() {
			// r may be what a copy was made from whose mark did not get to the disk: with r the time would go.
			return s.mark(kindTrash, r.id, old, old.since, func() {})
		}
		return nil
	}
	b := make([]byte, r.size())
	if _, err := readRecord(g, r.off, b); errors.Is(err, block.ErrCorrupt) {
		s.setBad(r.id, old, err)
		return nil
	} else if err != nil {
		return err
	}
	r.kind = old.recordKind()
	now := old
	err = s.append(r, b, true, func(at place) {
		now.place = at
		s.setRow(r.id, old, true, now)
	})
	if err == nil && now.trashed() {
		err = s.mark(kindTrash, r.id, now, now.since, func() {})
	}
	return err
}

// removeSegment removes a segment in which nothing lives. The index is made durable first: one
// that lags behind would name blocks of the segment, whose deletions may be gone from the log.
func (s *Store) removeSegment(ctx context.Context, g *segment) (int64, error) {
	s.syncing <- struct{}{}
	defer func() { <-s.syncing }()
	s.mu.RLock()
	st := segmentStats{g.num, g.end, 0, g.end}
	freed := g.end - g.punched
	failed := s.failed
	s.mu.RUnlock()
	if failed != nil {
		return 0, failed
	}
	b := s.index.db.NewBatch()
	if err := errors.Join(b.Set(segmentKey(g.num), st.encode(), nil), s.index.apply(b)); err != nil {
		return 0, err
	}
	if err := s.index.flush(ctx); err != nil {
		return 0, err
	}
	return freed, s.dropSegment(g.num)
}

// dropSegment removes a segment's file, for good, and then forgets it: as long as the file is
// there, the deletions of its blocks must stay in the log.
func (s *Store) dropSegment(num uint64) error {
	s.mu.RLock()
	g := s.segs[num]
	s.mu.RUnlock()
	if g != nil {
		if err := s.fs.Remove(g.path); err != nil {
			return err
		}
		if err := syncDir(s.fs, s.dir); err != nil {
			return err
		}
		s.mu.Lock()
		delete(s.segs, num)
		s.used -= g.end - g.punched
		s.mu.Unlock()
		if err := g.release(); err != nil {
			return err
		}
	}
	b := s.index.db.NewBatch()
	return errors.Join(b.Delete(segmentKey(num), nil), s.index.apply(b))
}
