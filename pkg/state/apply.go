package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// FutureMax is how far ahead of the clock here a commit may be stamped; those further ahead wait.
const FutureMax = 5 * time.Minute

// applyRows is about how many rows are written in one batch: operations wait while they are.
const applyRows = 1024

// Apply applies commits of others, in this order; those that are known are passed over. applied is how many were new.
// An error is that of the first one that can't be applied; all before it are.
//
// Errors: ErrForeign, block.ErrCorrupt, ErrSignature, Options.Author's, ErrGap (one on which it rests is missing), ErrFork (another
// commit has its number, or it rests on another), ErrFuture. Sync: one of the write-ahead log, for all.
func (d *DB) Apply(ctx context.Context, commits [][]byte) (applied int, err error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return 0, err
	}
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if err := d.finishJoin(ctx); err != nil {
		return 0, err
	}
	news := VV{}
	for len(commits) > 0 && err == nil {
		var batch []*Commit
		var encoded [][]byte
		rows := 0
		for len(commits) > 0 && rows < applyRows && err == nil {
			next := commits[0]
			if commits = commits[1:]; d.has(next) {
				continue
			}
			var c *Commit
			if c, err = d.open(next); err == nil {
				batch, encoded = append(batch, c), append(encoded, next)
				rows += 1 + len(c.Rows)
			}
		}
		n, applyErr := d.applyBatch(batch, encoded, news)
		applied += n
		if applyErr != nil { // it comes before what could not be opened
			err = applyErr
		}
		err = errors.Join(err, ctx.Err())
	}
	if applied == 0 {
		return 0, err
	}
	if syncErr := d.sync(); syncErr != nil {
		return applied, syncErr
	}
	d.publish(news)
	return applied, err
}

// has says whether a commit is in the log, which then needs no second look.
func (d *DB) has(encoded []byte) bool {
	h, err := headerOf(encoded)
	if err != nil {
		return false
	}
	digest, _, err := view{d: d, r: d.db}.commitAt(h.Actor, h.Seq)
	return err == nil && digest == h.Digest()
}

// open decodes a commit and checks all that needs no other commit: the network, the author's right, the signature.
func (d *DB) open(encoded []byte) (*Commit, error) {
	if len(encoded) > CommitMax {
		return nil, corrupt("commit", fmt.Errorf("%d bytes", len(encoded)))
	}
	c, err := DecodeCommit(encoded)
	if err != nil {
		return nil, err
	}
	if c.Network != d.o.Network {
		return nil, fmt.Errorf("state: commit %d of actor %s is of network %s: %w", c.Seq, c.Actor, c.Network.Short(), ErrForeign)
	}
	key, err := d.o.Author(c.Actor)
	if err != nil {
		return nil, fmt.Errorf("state: commit %d of actor %s: %w", c.Seq, c.Actor, err)
	}
	return c, c.Verify(key)
}

// applyBatch applies commits in one batch, as far as they can be. It adds to news what it applied.
func (d *DB) applyBatch(batch []*Commit, encoded [][]byte, news VV) (n int, err error) {
	if len(batch) == 0 {
		return 0, nil
	}
	d.opMu.Lock()
	defer d.opMu.Unlock()
	t := d.begin()
	defer t.close()
	in := intake{tx: t, heads: map[Dot]actorState{}, seqs: VV{}}
	var done []*Commit
	for i, c := range batch {
		known, admitErr := in.admit(c)
		if admitErr != nil {
			err = admitErr
			break
		}
		if known {
			continue
		}
		if err := t.applyCommit(c, encoded[i]); err != nil {
			return 0, err // nothing of the batch is written
		}
		in.seqs[c.Actor] = c.Seq
		in.heads[c.Dot()] = actorState{seq: c.Seq, digest: c.Digest(), hlc: c.HLC}
		done = append(done, c)
	}
	if len(done) == 0 {
		return 0, err
	}
	if err := t.finish(false); err != nil {
		return 0, err
	}
	for _, c := range done {
		t.logged(c)
		news[c.Actor] = c.Seq
	}
	return len(done), err
}

// intake checks commits against those that were applied, in the same batch too.
type intake struct {
	*tx

	heads map[Dot]actorState // applied in this batch
	seqs  VV                 // the same: the last of each actor
}

// admit says whether a commit can be applied now; known: it was already. Errors: ErrGap, ErrFork, ErrFuture.
func (in *intake) admit(c *Commit) (known bool, err error) {
	last := max(in.d.heads[c.Actor].seq, in.seqs[c.Actor])
	if c.Seq <= last {
		return true, in.same(Dot{c.Actor, c.Seq}, c.Digest(), digestLen)
	}
	if c.Seq != last+1 {
		return false, fmt.Errorf("state: commit %d of actor %s after %d: %w", c.Seq, c.Actor, last, ErrGap)
	}
	if last > 0 {
		if err := in.same(Dot{c.Actor, last}, c.Prev, digestLen); err != nil {
			return false, err
		}
	}
	if skip := SkipSeq(c.Seq); skip > 0 {
		if err := in.same(Dot{c.Actor, skip}, c.Skip, digestLen); err != nil {
			return false, err
		}
	}
	for _, dep := range c.Deps {
		if have := max(in.d.heads[dep.Actor].seq, in.seqs[dep.Actor]); have < dep.Seq {
			return false, fmt.Errorf("state: commit %d of actor %s rests on %d of actor %s, here are %d: %w", c.Seq, c.Actor, dep.Seq, dep.Actor, have, ErrGap)
		}
		var digest [32]byte
		copy(digest[:], dep.Digest[:])
		if err := in.same(dep.Dot, digest, len(dep.Digest)); err != nil {
			return false, err
		}
	}
	if ahead := -clock.Since(in.d.o.Clock, c.HLC.Time()); ahead > FutureMax {
		return false, fmt.Errorf("state: commit %d of actor %s is %v ahead: %w", c.Seq, c.Actor, ahead, ErrFuture)
	}
	return false, nil
}

// same compares the digest of a commit that was applied with the first n bytes of another. Error: ErrFork.
func (in *intake) same(dot Dot, digest [32]byte, n int) error {
	s, ok := in.heads[dot]
	if !ok {
		e, found, err := in.entryAt(dot.Actor, dot.Seq)
		if err == nil && !found {
			return in.forgotten(dot)
		}
		if err != nil {
			return err
		}
		s.digest = e.digest
	}
	if string(s.digest[:n]) != string(digest[:n]) {
		return fmt.Errorf("state: commit %d of actor %s: %w", dot.Seq, dot.Actor, ErrFork)
	}
	return nil
}

// applyCommit makes the changes of a commit to rows, index and log.
func (t *tx) applyCommit(c *Commit, encoded []byte) error {
	t.at = c.HLC
	for i := range c.Rows {
		row := c.Rows[i]
		if err := t.applyAndIndex(c.Dot(), row); err != nil {
			return fmt.Errorf("state: commit %d of actor %s, row %x: %w", c.Seq, c.Actor, row.Key, err)
		}
	}
	return t.log(c, encoded)
}

func (t *tx) applyAndIndex(dot Dot, row Row) error {
	old, err := get(t.r, row.Key)
	if err != nil {
		return err
	}
	if row.Key[0] != KeyInode {
		return t.applyRow(old, dot, row)
	}
	_, ino, _, err := ParseKey(row.Key)
	if err != nil {
		return err
	}
	before, err := t.inode(ino)
	if err != nil {
		return err
	}
	if err := t.applyRow(old, dot, row); err != nil {
		return err
	}
	after, err := t.inode(ino)
	if err != nil {
		return err
	}
	return t.reindex(ino, before.f, after.f)
}
