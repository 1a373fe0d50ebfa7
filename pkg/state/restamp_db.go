package state

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Restamp makes the pod's own newest commits anew, under a new incarnation and with stamps of now, where they are stamped so far ahead that nobody takes them
// (FutureMax): the clock was wrong when they were made. theirs is the time of another pod: where they are not far ahead of that, it is this clock that is wrong now, and nothing
// is made anew. n is their number. Those that accepted covers, and those that an applied commit of somebody else rests on, stay, with all before
// them; one that somebody took all the same, with a wrong clock of the same kind, is later there twice, as two equal versions.
//
// Errors: ErrUnfolded, vfs.ErrReadOnly. Sync: one of the write-ahead log, before the new commits are published.
func (d *DB) Restamp(ctx context.Context, accepted VV, theirs time.Time) (n int, err error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return 0, err
	}
	if d.signer() == nil {
		return 0, fmt.Errorf("state: restamp: %w", vfs.ErrReadOnly)
	}
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if err := d.settled(ctx); err != nil {
		return 0, err
	}
	d.opMu.Lock()
	from := d.self
	if d.isAhead(theirs) {
		n, err = d.restamp(accepted)
	}
	to := d.self
	seq := d.heads[to].seq
	d.opMu.Unlock()
	if err != nil || n == 0 {
		return 0, err
	}
	d.slog.WarnContext(ctx, "the clock was far ahead: changes that nobody took were made anew with the time of now", "commits", n, "actor", from.String())
	if err := d.sync(); err != nil {
		return 0, err
	}
	d.publish(VV{to: seq})
	return n, nil
}

// Ahead says whether other pods refuse the newest own commit, if their clocks show what this one shows: Reconcile makes it anew.
func (d *DB) Ahead() bool {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	return d.signer() != nil && d.isAhead(d.o.Clock.Now())
}

// isAhead says whether the newest own commit is refused by who has this time. opMu must be held.
func (d *DB) isAhead(now time.Time) bool { return d.heads[d.self].hlc.Time().Sub(now) > FutureMax }

// restamp is Restamp without its sync. commitMu and opMu must be held.
func (d *DB) restamp(accepted VV) (int, error) {
	now := d.o.Clock.Now()
	if !d.isAhead(now) {
		return 0, nil
	}
	r := &restamp{from: d.self, after: accepted[d.self], limit: HLCOf(now.Add(FutureMax)), times: map[HLC]HLC{}, btimeMax: now.UnixNano()}
	commits, err := d.unaccepted(r)
	if err != nil || len(commits) == 0 {
		return 0, err
	}
	if len(d.journal) > 0 {
		return 0, fmt.Errorf("state: restamp: %d files: %w", len(d.journal), ErrUnfolded)
	}
	if err := d.newTimes(r, commits, HLCOf(now)); err != nil {
		return 0, err
	}
	if r.times[commits[0].HLC] > r.limit {
		return 0, nil // others whose changes were taken are as far ahead: it would be refused again, and made anew again
	}
	t := d.begin()
	defer t.close()
	if err := t.renew(); err != nil {
		return 0, err
	}
	r.to = t.self
	left, made, err := t.remake(r, commits)
	if err != nil {
		return 0, fmt.Errorf("state: restamp: %w", err)
	}
	if err := t.finish(false); err != nil {
		return 0, err
	}
	d.mu.Lock()
	d.heads[r.from], d.published[r.from] = left, left.seq
	if left.seq == 0 {
		delete(d.heads, r.from)
		delete(d.published, r.from)
	}
	d.mu.Unlock()
	d.hlc, d.reach = 0, nil
	for _, at := range r.times {
		d.hlc = max(d.hlc, at)
	}
	for _, c := range made {
		t.logged(c, r.to)
	}
	for _, head := range d.heads {
		d.hlc = max(d.hlc, head.hlc)
	}
	return len(made), nil
}

// unaccepted are the commits to make anew, oldest first. It raises r.after to the last one that stays.
func (d *DB) unaccepted(r *restamp) ([]*Commit, error) {
	v := view{d: d, r: d.db}
	for a, head := range d.heads {
		if a == r.from {
			continue
		}
		digest, encoded, err := v.commitAt(a, head.seq)
		if len(encoded) == 0 && d.forks.points[forkPoint{actor: d.forks.incarnation(a), seq: head.seq, digest: digest}] {
			continue // the branches that follow it rest on more
		}
		if err == nil {
			var h *Header
			if h, err = headerOf(encoded); err == nil {
				r.after = max(r.after, h.Past()[r.from])
			}
		}
		if err != nil { // it is no longer in the log, and nobody can tell what it rests on
			return nil, nil //nolint:nilerr // nothing is made anew
		}
	}
	var out []*Commit
	for seq := d.heads[r.from].seq; seq > r.after; seq-- {
		_, encoded, err := v.commitAt(r.from, seq)
		if err != nil {
			return nil, err
		}
		c, err := DecodeCommit(encoded)
		if err != nil {
			return nil, err
		}
		if c.HLC <= r.limit {
			r.after = seq
			break
		}
		out = append(out, c)
	}
	slices.Reverse(out)
	return out, nil
}

// newTimes gives every stamp beyond the limit another: in the same order, after all that others did, from now on.
func (d *DB) newTimes(r *restamp, commits []*Commit, now HLC) error {
	next := now
	note := func(t *TS) {
		if t.HLC > r.limit {
			r.times[t.HLC] = 0
		} else {
			next = max(next, t.HLC)
		}
	}
	value := func(kind byte, b []byte) error {
		if len(b) == 0 {
			return nil
		}
		switch kind {
		case KeyInode:
			n, err := DecodeInode(b)
			if err != nil {
				return err
			}
			eachTS(n, note)
		case KeyWish:
			w, err := DecodeWish(b)
			if err != nil {
				return err
			}
			eachWishTS(w, note)
		}
		return nil
	}
	for _, c := range commits {
		r.times[c.HLC] = 0
		for i := range c.Rows {
			if err := value(c.Rows[i].Key[0], c.Rows[i].Value); err != nil {
				return err
			}
		}
	}
	err := scanPrefix(d.db, []byte{keyDirty}, func(key, b []byte) error {
		w, err := decodeDirty(b)
		if err != nil {
			return err
		}
		note(&TS{HLC: w.hlc})
		return value(key[1], w.value)
	})
	if err != nil {
		return err
	}
	for a, head := range d.heads {
		if a != r.from {
			next = max(next, head.hlc)
		}
	}
	for _, old := range sortedKeys(r.times) {
		next++
		r.times[old] = next
	}
	return nil
}

// remake writes rows and log as they are read anew: left is the last commit that stays of the old incarnation, made are the new ones.
func (t *tx) remake(r *restamp, commits []*Commit) (left actorState, made []*Commit, err error) {
	if err := t.rereadRows(r.row); err != nil {
		return left, nil, err
	}
	var base Dep
	if r.after > 0 {
		left.seq = r.after
		var encoded []byte
		if left.digest, encoded, err = t.commitAt(r.from, r.after); err != nil {
			return left, nil, err
		}
		h, err := headerOf(encoded)
		if err != nil {
			return left, nil, err
		}
		left.hlc = h.HLC
		base = Dep{Dot: Dot{r.from, r.after}, Digest: [8]byte(left.digest[:8])}
		err = t.set(actorKey(r.from), left.encode())
		if err != nil {
			return left, nil, err
		}
	} else if err := t.del(actorKey(r.from)); err != nil {
		return left, nil, err
	}
	for i, c := range commits {
		var prev *Commit
		var skip [32]byte
		if i > 0 {
			prev = made[i-1]
		}
		if s := SkipSeq(uint64(i + 1)); s > 0 {
			skip = made[s-1].Digest()
		}
		n, err := r.commit(c, prev, skip, base)
		if err != nil {
			return left, nil, err
		}
		encoded := n.Encode(t.d.signer())
		if err := t.del(logKey(r.from, c.Seq)); err != nil {
			return left, nil, err
		}
		if err := t.log(n, r.to, encoded); err != nil {
			return left, nil, err
		}
		made = append(made, n)
	}
	return left, made, t.forgetFuture(r.limit)
}

// forgetFuture takes times beyond a limit out of what is known here of folders alone.
func (t *tx) forgetFuture(limit HLC) error {
	var late []Ino
	err := scanPrefix(t.d.db, []byte{keyFolder}, func(key, value []byte) error {
		rec, err := decodeFolderRec(value)
		if err != nil {
			return err
		}
		if ino, _, err := splitNameKey(key); err != nil {
			return err
		} else if rec.changed > limit {
			late = append(late, ino)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, ino := range late {
		rec, err := t.folder(ino)
		if err != nil {
			return err
		}
		rec.changed = 0
		t.putFolder(ino, rec)
	}
	return nil
}
