package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// round is one flush that serves all the Syncs which asked for it before it began.
type round struct {
	done chan struct{}
	err  error // valid once done is closed
}

// Sync makes durable all that Put and the other changes did before Sync was called. Concurrent
// callers share one fdatasync. A context that ends ends the waiting only.
//
// A failed sync is ErrPoisoned: what was put since the last good one may be lost.
func (s *Store) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := s.nextRound()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	case s.syncing <- struct{}{}:
	}
	return s.endRound(r)
}

// nextRound is the flush that is made next.
func (s *Store) nextRound() *round {
	s.roundMu.Lock()
	defer s.roundMu.Unlock()
	if s.round == nil {
		s.round = &round{done: make(chan struct{})}
	}
	return s.round
}

// endRound has a round made; the caller holds the token, and has it no more then.
func (s *Store) endRound(r *round) error {
	s.punching.RLock() // while the token is held: who has it next, to close the store, waits for what comes after the round
	defer s.punching.RUnlock()
	dead, err := s.runRound(r)
	if len(dead) > 0 { // no other Sync waits for it
		s.punch(dead)
		s.ballast.take(s.disk.refresh())
	}
	return err
}

// runRound flushes for a round, unless another holder of the token did it, and gives the token back. dead are rows whose space may be
// given back.
func (s *Store) runRound(r *round) (dead []row, err error) {
	defer func() { <-s.syncing }()
	select {
	case <-r.done:
		return nil, r.err
	default:
	}
	s.roundMu.Lock()
	s.round = nil // who comes now may have put after the flush began
	s.roundMu.Unlock()
	dead, r.err = s.flush()
	close(r.done)
	return dead, r.err
}

// snapshot is what a flush makes durable: the log up to a place, and what changed up to there.
type snapshot struct {
	meta    meta
	rows    map[block.ID]change
	dirty   []*segment // not synced to their ends, in order
	stats   []segmentStats
	dir     bool // a segment was made
	punches []row

	uncached []part // appended, and not to be read from the operating system's memory
}

// segmentStats is a segment's row in the index.
type segmentStats struct {
	num                uint64
	end, live, punched int64
}

// flush writes out all changes; the caller holds the token. The order makes I2a: segments are
// synced, then their directory, then the rows that name what is in them. dead are the rows of what was deleted, for punch.
func (s *Store) flush() (dead []row, err error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	snap, changed := s.snapshot()
	if !changed {
		return nil, nil
	}
	for _, g := range snap.dirty {
		if err := g.file.SyncData(); err != nil {
			return nil, s.poison(fmt.Errorf("sync segment %d: %w", g.num, err))
		}
	}
	if snap.dir {
		if err := syncDir(s.fs, s.dir); err != nil {
			return nil, s.poison(fmt.Errorf("sync segments: %w", err))
		}
	}
	s.forget(s.noteSynced(&snap), snap.uncached)
	if err := s.writeIndex(&snap); err != nil {
		return nil, s.poison(err)
	}
	s.mu.Lock()
	s.flushing = nil
	due := s.filter.due()
	s.mu.Unlock()
	if due {
		s.growFilter()
	}
	s.ballast.take(s.disk.refresh())
	return snap.punches, nil
}

// snapshot takes over what changed since the last one; changed says whether that is anything.
func (s *Store) snapshot() (snap snapshot, changed bool) {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 && s.unsynced == 0 && !s.newFiles {
		return snap, false
	}
	snap = snapshot{
		meta:    meta{generation: s.generation, totals: s.totals, upTo: place{seg: s.nextSeg}},
		rows:    s.pending,
		dir:     s.newFiles,
		punches: s.punches,

		uncached: s.uncached,
	}
	if s.active != nil {
		snap.meta.upTo = place{s.active.num, s.active.end}
	}
	for _, g := range s.sortedSegments() {
		if g.synced < g.end {
			snap.dirty = append(snap.dirty, g)
		}
		if st := (segmentStats{g.num, g.end, g.live, g.punched}); st != g.saved {
			snap.stats = append(snap.stats, st)
			g.saved = st
		}
	}
	s.flushing, s.pending = s.pending, make(map[block.ID]change, min(len(s.pending), 4096)) // as many are likely to come again
	s.unsynced, s.newFiles, s.punches, s.uncached = 0, false, nil, nil
	return snap, true
}

// noteSynced lets later records say how far their segment is on disk, and tells what is there now of each.
func (s *Store) noteSynced(snap *snapshot) (synced []part) {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range snap.stats {
		if g := s.segs[st.num]; g != nil && g.synced < st.end {
			synced = append(synced, part{g, g.synced, st.end})
			g.synced = st.end
		}
	}
	return synced
}

// writeIndex brings the index up to the snapshot, in one batch.
func (s *Store) writeIndex(snap *snapshot) error {
	b := s.index.db.NewBatch()
	if err := snap.encode(b, s.cache.lastUse, true); err != nil {
		return err
	}
	return s.index.apply(b)
}

// encode adds the snapshot to a batch: the rows, and with them what the index knows of the log.
func (snap *snapshot) encode(b *pebble.Batch, lastUse func(block.ID) []byte, withLog bool) error {
	var errs []error
	for id, c := range snap.rows {
		errs = append(errs, writeRow(b, snap.meta.generation, id, c, lastUse))
	}
	if withLog {
		for _, st := range snap.stats {
			errs = append(errs, b.Set(segmentKey(st.num), st.encode(), nil))
		}
		errs = append(errs, b.Set([]byte{keyMeta}, snap.meta.encode(), nil))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return nil
}

// writeRow adds to a batch what became of a block.
func writeRow(b *pebble.Batch, generation byte, id block.ID, c change, lastUse func(block.ID) []byte) error {
	key := blockKey(generation, id)
	var err error
	if c.gone {
		err = b.Delete(key, nil)
	} else {
		var value [rowLenMax]byte
		err = b.Set(key, c.append(value[:0]), nil)
	}
	switch {
	case !c.gone && c.cached() && !c.bad():
		err = errors.Join(err, b.Set(cachedKey(id), lastUse(id), nil))
	case c.uncache:
		err = errors.Join(err, b.Delete(cachedKey(id), nil))
	}
	return err
}
