package store

import (
	"context"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// replaced is a block record that a later one of the same block replaced, while no deletion in the log is about it.
//
// Nothing but the later record makes it a dead one. Once Compact has dropped that, and with it the deletion of the
// block, an index that is made anew would bring the block back. So it gets a deletion of its own, as soon as the later
// record is on disk: before that, a crash could take the later one and leave the deletion.
type replaced struct {
	id  block.ID
	row row
}

// bury deletes what was found replaced, durably. That comes of a crash that took a deletion and left what was written
// behind it, or that ended a compaction. The records that replaced it are on disk, see run. The deletions go to new
// segments, because where the log ends is not known yet.
func (rp *replay) bury() error {
	if len(rp.replaced) == 0 {
		return nil
	}
	s := rp.s
	if rp.graves == 0 {
		rp.graves = s.nextSeg
	}
	for _, d := range rp.replaced {
		if err := s.mark(kindGone, d.id, d.row, 0, func() {}); err != nil {
			return err
		}
	}
	for _, g := range s.sortedSegments() {
		if g.num < rp.graves {
			continue
		}
		if err := g.file.SyncData(); err != nil {
			return s.poison(err)
		}
	}
	s.o.Log.Warn("replaced records without a deletion are deleted", "records", len(rp.replaced))
	rp.replaced = nil
	return syncDir(s.fs, s.dir)
}

// buryDamaged deletes the record of a block that was damaged and put anew: it may be readable again some day. The ID is
// claimed.
func (s *Store) buryDamaged(ctx context.Context, id block.ID, old row) error {
	s.mu.RLock()
	_, there := s.segs[old.seg]
	s.mu.RUnlock()
	if !there {
		return nil
	}
	// Durable by this: the new record.
	if err := s.Sync(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	return s.mark(kindGone, id, old, 0, func() {})
}

// buryDead deletes a record of a segment that stays, unless it is the one that the index names. The copy that Compact
// made of it is on disk.
func (s *Store) buryDead(ctx context.Context, g *segment, r record) error {
	if !r.kind.isBlock() {
		return nil
	}
	if err := s.claims.claim(ctx, r.id); err != nil {
		return err
	}
	defer s.claims.release(r.id)
	dead := row{place: place{g.num, r.off}}
	now, ok, err := s.lookup(r.id)
	if err != nil || ok && now.place == dead.place {
		return err
	}
	return s.mark(kindGone, r.id, dead, 0, func() {})
}
