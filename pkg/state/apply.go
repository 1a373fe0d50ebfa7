package state

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// FutureMax is how far ahead of the clock here a commit may be stamped; those further ahead wait.
const FutureMax = 5 * time.Minute

// applyRows is about how many rows are written in one batch: operations wait while they are.
const applyRows = 1024

// Apply applies commits of others, in this order; those that are known are passed over. applied is how many were new.
// An error is that of the first one that can't be applied; all before it are. After one that waits for its time, or that does not count (Cut), those are applied that don't rest on it: a clock that
// is wrong, or a member that was revoked, must not keep the changes of others from who hears of them by that pod alone.
//
// Errors: ErrForeign, block.ErrCorrupt, ErrSignature, Options.Author's, ErrGap (one on which it rests is missing), ErrFork (it rests on
// commits that are others than those here, and where they part is not known: see Reconcile), ErrFuture, ErrRefused. A commit whose number and predecessor are those of another
// one here proves a fork, which is taken in. One of this pod's own incarnation proves that it was set back, or copied: it takes a new one. Sync: one of the write-ahead log, for all.
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
	if err := d.noteHeaders(commits); err != nil {
		return 0, err
	}
	news := VV{}
	var late passedOver
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
			if c, err = d.open(next); late.by(err) {
				err = nil
			} else if err == nil {
				batch, encoded = append(batch, c), append(encoded, next)
				rows += 1 + len(c.Rows)
				if c.Actor == d.self { // which this pod ceases to be then
					err = d.publishInstalled()
				}
			}
		}
		n, applyErr := d.applyForked(batch, encoded, news, &late)
		applied += n
		if applyErr != nil { // it comes before what could not be opened
			err = applyErr
		}
		err = errors.Join(err, ctx.Err())
	}
	return applied, errors.Join(late.future, late.refused, err, d.settle(news))
}

// passedOver is why the first commits are not applied that are no reason not to go on.
type passedOver struct {
	future  error // it waits for its time
	refused error // it does not count
}

// by says whether a commit is passed over, for what is wrong with it, or since it may rest on one that was.
func (p *passedOver) by(err error) bool {
	switch {
	case errors.Is(err, ErrFuture):
		p.future = cmp.Or(p.future, err)
	case errors.Is(err, ErrRefused):
		p.refused = cmp.Or(p.refused, err)
	case errors.Is(err, ErrGap):
		return p.future != nil || p.refused != nil
	default:
		return false
	}
	return true
}

// settle makes what was applied durable, and publishes it.
func (d *DB) settle(news VV) error {
	if len(news) == 0 {
		return nil
	}
	if err := d.sync(); err != nil {
		return err
	}
	d.publish(news)
	clear(news)
	return nil
}

// applyForked is applyBatch that takes in the forks that the commits prove.
func (d *DB) applyForked(batch []*Commit, encoded [][]byte, news VV, late *passedOver) (applied int, err error) {
	for {
		n, done, err := d.applyBatch(batch, encoded, news, late)
		applied += n
		var forked *forkedError
		if !errors.As(err, &forked) {
			return applied, err
		}
		// News are published under the labels that they have so far.
		if err := errors.Join(d.settle(news), d.proveFork(forked)); err != nil {
			return applied, err
		}
		batch, encoded = batch[done:], encoded[done:]
	}
}

// proveFork takes in the fork of which an applied commit and another are the proof. Error: ErrFork (the applied one is no longer in the log).
func (d *DB) proveFork(e *forkedError) error {
	_, held, err := view{d: d, r: d.db}.commitAt(e.held.Actor, e.held.Seq)
	if err != nil {
		return errors.Join(e, err)
	}
	h, err := headerOf(held)
	if err != nil {
		return errors.Join(e, err)
	}
	f, err := NewFork(h, e.h)
	if err != nil {
		return err
	}
	if err := d.publishInstalled(); err != nil {
		return err
	}
	_, err = d.learn(f)
	return err
}

// has says whether a commit was applied, so that it needs no second look. commitMu must be held.
func (d *DB) has(encoded []byte) bool {
	h, err := headerOf(encoded)
	if err != nil {
		return false
	}
	digest := h.Digest()
	d.opMu.Lock()
	defer d.opMu.Unlock()
	_, err = d.forks.holder(h.Actor, h.Seq, digest[:], d.applied())
	return err == nil
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

// applyBatch applies commits in one batch, as far as they can be: done of them were looked at, n were new. It adds to news what it applied. late is the error of the
// first one that waits for its time, here or in a batch before: those that rest on it are passed over.
func (d *DB) applyBatch(batch []*Commit, encoded [][]byte, news VV, late *passedOver) (n, done int, err error) {
	if len(batch) == 0 {
		return 0, 0, nil
	}
	d.opMu.Lock()
	defer d.opMu.Unlock()
	t := d.begin()
	defer t.close()
	in := &intake{tx: t, digests: map[Dot][32]byte{}, seqs: VV{}}
	if in.limits, err = d.limits(); err != nil {
		return 0, 0, err
	}
	var fresh []labelled
	for i, c := range batch {
		r, readErr := in.admit(c)
		if late.by(readErr) {
			done++
			continue
		}
		if readErr != nil {
			if parted := (*partedError)(nil); errors.As(readErr, &parted) {
				d.refused[parted.incarnation] = true // for Reconcile
			}
			err = readErr
			break
		}
		done++
		if r.known {
			continue
		}
		if err := t.applyCommit(c, &r, encoded[i]); err != nil {
			return 0, 0, err // nothing of the batch is written
		}
		in.seqs[r.label], in.digests[Dot{r.label, c.Seq}] = c.Seq, c.Digest()
		fresh = append(fresh, labelled{c, r.label})
	}
	if len(fresh) == 0 {
		return 0, done, err
	}
	if err := t.finish(false); err != nil {
		return 0, 0, err
	}
	for _, l := range fresh {
		t.logged(l.Commit, l.label)
		news[l.label] = l.Seq
	}
	return len(fresh), done, err
}

// labelled is a commit and whose it is.
type labelled struct {
	*Commit

	label ident.Actor
}

// intake checks commits against those that were applied, in the same batch too. opMu must be held.
type intake struct {
	*tx

	digests map[Dot][32]byte // applied in this batch, by label
	seqs    VV               // the same: the last of each label
	limits  *reach           // how far cut members' commits count; nil: none is cut
}

// applied is what was applied, for reading. opMu must be held.
func (d *DB) applied() *intake { return &intake{tx: &tx{view: view{d: d, r: d.db}}} }

// last is chains'.
func (in *intake) last(label ident.Actor) uint64 { return max(in.d.heads[label].seq, in.seqs[label]) }

// digestAt is chains'.
func (in *intake) digestAt(label ident.Actor, seq uint64) (digest [32]byte, ok bool, err error) {
	if digest, ok := in.digests[Dot{label, seq}]; ok {
		return digest, true, nil
	}
	if head := in.d.heads[label]; head.seq == seq && seq > 0 {
		return head.digest, true, nil
	}
	digest, _, err = in.commitAt(label, seq)
	if errors.Is(err, block.ErrNotFound) {
		return digest, false, nil
	}
	return digest, err == nil, err
}

// admit says how a commit is to be read, and whether it can be applied now. Errors: ErrGap, *forkedError, ErrFork, ErrFuture.
func (in *intake) admit(c *Commit) (reading, error) {
	t := in.known()
	r, err := t.read(&c.Header, in)
	if err != nil || r.known {
		return r, err
	}
	if ahead := -clock.Since(in.d.o.Clock, c.HLC.Time()); ahead > FutureMax {
		return r, fmt.Errorf("state: commit %d of actor %s is %v ahead: %w", c.Seq, c.Actor, ahead, ErrFuture)
	}
	if err := in.refuses(&c.Header, &r); err != nil {
		return r, err
	}
	if r.begins() {
		in.forks = t.enter(&c.Header, &r)
		r.m.t = in.forks
		b := in.forks.byName[r.label]
		if err := in.set(branchKey(r.label), b.encode()); err != nil {
			return r, err
		}
	}
	if c.Actor == in.d.self && in.self == (ident.Actor{}) && in.d.signer() != nil {
		in.d.slog.Warn("other pods have changes of this one that it doesn't know: it was set back, or is a copy, and goes on under a new incarnation", "actor", c.Actor.String())
		return r, in.renew()
	}
	return r, nil
}

// applyCommit makes the changes of a commit to rows, index and log.
func (t *tx) applyCommit(c *Commit, r *reading, encoded []byte) error {
	t.at = c.HLC
	for i := range c.Rows {
		row := c.Rows[i]
		if !r.identity() {
			row = r.row(row)
		}
		if err := t.applyAndIndex(Dot{r.label, c.Seq}, c, row); err != nil {
			return fmt.Errorf("state: commit %d of actor %s, row %x: %w", c.Seq, c.Actor, row.Key, err)
		}
	}
	return t.log(c, r.label, encoded)
}

func (t *tx) applyAndIndex(dot Dot, c *Commit, row Row) error {
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
	if err := t.noteApart(c, ino, &row, before, after); err != nil {
		return err
	}
	return t.reindex(ino, before.f, after.f)
}
