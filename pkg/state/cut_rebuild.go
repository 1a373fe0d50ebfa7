package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Rebuild puts the state of another pod, as its Offer names and proves it, in the place of this one, if more was applied here than counts (Beyond) and
// this pod may not write, so that it can't adopt it. The root must have all that was applied here and counts, and nothing that does not. It is written as by Join: in batches, of which
// the first remembers it, also over a crash. If commits of this pod are taken back, it goes on under a new incarnation.
//
// Errors: those of Join; vfs.ErrReadOnly, the other way round: this pod may write; block.ErrNotFound: the root lacks something that counts. Sync: as Join's.
func (d *DB) Rebuild(ctx context.Context, o Offer) (rebuilt bool, err error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return false, err
	}
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if d.signer() != nil {
		return false, fmt.Errorf("state: rebuild of a pod that may write: %w", vfs.ErrReadOnly)
	}
	if err := d.settled(ctx); err != nil {
		return false, err
	}
	d.opMu.Lock()
	beyond, err := d.beyond()
	counting, countErr := d.counting()
	d.opMu.Unlock()
	if err = errors.Join(err, countErr); err != nil || len(beyond) == 0 {
		return false, err
	}
	p, err := d.prove(ctx, &o, true)
	if err != nil {
		return false, err
	}
	if !counting.LessEqual(p.root.VV) {
		return false, fmt.Errorf("state: rebuild: the root lacks changes that count: %w", block.ErrNotFound)
	}
	return d.joinProven(ctx, p, &o)
}

// RebuildFrom is what an offer for Rebuild is to be asked with: what counts here, and of what is taken back nothing, so that the way to it is shown. It is
// less than that of one label at least, so that something is offered.
func (d *DB) RebuildFrom() (VV, error) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	have, err := d.counting()
	if err != nil {
		return nil, err
	}
	beyond, err := d.beyond()
	for a := range beyond {
		delete(have, a)
	}
	if len(beyond) > 0 && len(have) > 0 {
		a := have.Actors()[0]
		if have[a]--; have[a] == 0 {
			delete(have, a)
		}
	}
	return have, err
}

// ended says whether an actor's right to write has ended.
func (d *DB) ended(a ident.Actor) bool {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	_, ended := d.cuts[a.Member]
	return ended
}

// retract takes back, in the last batch, commits that the root does not have.
func (j *joiner) retract(t *tx) error {
	d := t.d
	for a, s := range d.heads {
		to := j.p.root.VV[a]
		if to >= s.seq {
			continue
		}
		if err := t.b.DeleteRange(logKey(a, to+1), logKey(a, s.seq+1), nil); err != nil {
			return fmt.Errorf("state: take back commits of actor %s: %w", a, err)
		}
		if to > 0 {
			continue // the label is among the news
		}
		if err := errors.Join(t.del(actorKey(a)), t.del(floorKey(a))); err != nil {
			return err
		}
		if _, ok := t.forks.byName[a]; ok {
			t.forks.remove(a)
			if err := t.del(branchKey(a)); err != nil {
				return err
			}
		}
		if a == d.self {
			if err := t.renew(); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget is remember for commits that were taken back. opMu must be held.
func (j *joiner) forget() {
	if !j.p.replace {
		return
	}
	d := j.d
	d.mu.Lock()
	defer d.mu.Unlock()
	for a, s := range d.heads {
		switch to := j.p.root.VV[a]; {
		case to == 0:
			delete(d.heads, a)
			delete(d.published, a)
		case d.published[a] > s.seq:
			d.published[a] = s.seq
		}
	}
}
