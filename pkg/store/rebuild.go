package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// RebuildIndex makes the index anew from the segments, verifying the checksum of every record.
// What the old index named and the segments don't hold is reported to f and kept as damaged: the
// new index never names less than the old one; where that is corrupt, f is told so, with segment 0. All other calls wait
// until it is done, so f must make none. A crash on the way leaves the old index.
func (s *Store) RebuildIndex(ctx context.Context, f func(Problem)) error {
	s.syncing <- struct{}{}
	defer func() { <-s.syncing }()
	s.punching.Lock()
	defer s.punching.Unlock()
	s.claims.gate.Lock()
	defer s.claims.gate.Unlock()
	if s.claims.closing {
		return ErrClosed
	}
	// From here on nothing is appended: the log is on disk to its end, and no change is pending.
	dead, err := s.flush()
	if err != nil {
		return err
	}
	s.punch(dead)
	if err := s.rebuild(ctx, f); err != nil {
		// The counts in memory are neither the old nor the new ones.
		return s.poison(fmt.Errorf("rebuild the index: %w", err))
	}
	return s.index.flush(ctx)
}

func (s *Store) rebuild(ctx context.Context, f func(Problem)) error {
	old := s.generation
	s.mu.Lock()
	s.generation++
	s.totals = totals{}
	for _, g := range s.segs {
		g.live, g.saved = 0, segmentStats{}
	}
	s.mu.Unlock()
	s.cache.load(nil)
	fresh := []byte{keyBlock, s.generation}
	if err := s.index.db.DeleteRange(fresh, prefixEnd(fresh), pebble.NoSync); err != nil {
		return err
	}
	rp := replay{s: s, report: f, rebuild: true}
	if err := rp.run(ctx, place{}); err != nil {
		return err
	}
	if err := s.keepNamed(ctx, old, f); indexLost(err) {
		f(Problem{Kind: Garbage, Err: fmt.Errorf("the index was corrupt, what else it named is not known: %w", err)})
	} else if err != nil {
		return err
	}
	s.mu.Lock()
	s.punches = nil   // what was deleted long ago is punched already
	s.newFiles = true // the snapshot is written even if no row is left for it
	s.mu.Unlock()
	// Durable by these: first the rows of the new generation, then the switch to it.
	snap, _ := s.snapshot()
	if err := s.writeIndex(&snap); err != nil {
		return err
	}
	s.mu.Lock()
	s.flushing = nil
	s.mu.Unlock()
	stale := []byte{keyBlock, old}
	return s.index.db.DeleteRange(stale, prefixEnd(stale), pebble.NoSync)
}

// keepNamed adds the blocks that the old generation named and the log doesn't, as damaged.
func (s *Store) keepNamed(ctx context.Context, old byte, f func(Problem)) error {
	prefix := []byte{keyBlock, old}
	return s.index.each(ctx, prefix, prefix, func(key, value []byte) error {
		id, err := readID(key[len(prefix):])
		if err != nil {
			return errors.Join(err, block.ErrCorrupt)
		}
		r, err := decodeRow(value)
		if err != nil {
			return err
		}
		if _, ok, err := s.find(id); err != nil || ok {
			return err
		}
		r.flags |= flagBad
		p := r.problem(Damaged, id)
		if s.segs[r.seg] == nil {
			p.Kind = Missing
		}
		f(p)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.notePending(id, change{row: r, uncache: true})
		return nil
	})
}
