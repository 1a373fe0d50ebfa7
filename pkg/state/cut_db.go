package state

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// pendingMax is of how many actors a header is remembered that was not applied yet.
const pendingMax = 1024

// SetCuts tells whose right to write has ended, and how far their commits count. It replaces what was told before; it must be told after each Open, before
// anything of others is taken in. Options.Author must go on to tell the keys of these members.
func (d *DB) SetCuts(cuts []Cut) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	d.cuts = make(map[uint32][]Dep, len(cuts))
	for _, c := range cuts {
		d.cuts[c.Member] = append(d.cuts[c.Member], c.Last...)
	}
	d.reach = nil
}

// limits is how far the commits of members count that are cut; nil: none is. opMu must be held. What it returns is valid until something is applied.
func (d *DB) limits() (*reach, error) {
	if len(d.cuts) == 0 || d.reach != nil {
		return d.reach, nil
	}
	in := d.applied()
	pending := make([]*Header, 0, len(d.pending))
	for a, h := range d.pending {
		if digest := h.Digest(); in.isHere(a, h.Seq, digest) {
			delete(d.pending, a)
			continue
		}
		pending = append(pending, h)
	}
	labels := make(VV, len(d.heads))
	for a, s := range d.heads {
		labels[a] = s.seq
	}
	var err error
	d.reach, err = newReach(d.cuts, d.forks, in, labels.Actors(), in.signedAt, pending)
	return d.reach, err
}

func (in *intake) isHere(a ident.Actor, seq uint64, digest [32]byte) bool {
	_, err := in.known().holder(a, seq, digest[:], in)
	return err == nil
}

// signedAt is the signed header of a commit of the log; nil: it is not there any more.
func (v view) signedAt(label ident.Actor, seq uint64) (*Header, error) {
	h, err := v.headerAt(Dot{label, seq})
	if errors.Is(err, block.ErrNotFound) {
		return nil, nil //nolint:nilnil // that is what it says
	}
	return h, err
}

// noteHeaders has the signed headers of commits counted before these are applied: what they rest on may be refused else, and they could never be.
func (d *DB) noteHeaders(commits [][]byte) error {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	r, err := d.limits()
	if r == nil || err != nil {
		return err
	}
	for _, b := range commits {
		h, err := HeaderOf(b)
		if err != nil || !r.raises(h) || h.Network != d.o.Network {
			continue // what is wrong with it is said when it is applied
		}
		key, err := d.o.Author(h.Actor)
		if err != nil || h.Verify(key) != nil {
			continue
		}
		known := d.pending[h.Actor]
		if known == nil && len(d.pending) >= pendingMax || known != nil && known.Seq >= h.Seq {
			continue
		}
		if d.pending == nil {
			d.pending = map[ident.Actor]*Header{}
		}
		d.pending[h.Actor], d.reach = h, nil
	}
	return nil
}

// refuses says whether a commit that comes next on a label does not count. Error: ErrRefused.
func (in *intake) refuses(h *Header, r *reading) error {
	limits := in.limits
	if limits.counts(r.label, h.Actor, h.Seq) {
		return nil
	}
	return &cutError{at: Dot{h.Actor, h.Seq}, last: limits.exact[r.label]}
}

// Wanted is what of another pod's version vector counts, as far as is known here: the rest is not to be had.
func (d *DB) Wanted(vv VV) (VV, error) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	r, err := d.limits()
	if r == nil || err != nil {
		return vv, err
	}
	out := make(VV, len(vv))
	for a, seq := range vv {
		if out[a] = max(r.upTo(a, seq), min(seq, d.heads[a].seq)); out[a] == 0 {
			delete(out, a)
		}
	}
	return out, nil
}

// Beyond are the labels of which more was applied here than counts, with how far they count.
func (d *DB) Beyond() (VV, error) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	return d.beyond()
}

func (d *DB) beyond() (VV, error) {
	r, err := d.limits()
	if r == nil || err != nil {
		return nil, err
	}
	out := VV{}
	for a, s := range d.heads {
		if upTo := r.upTo(a, s.seq); upTo < s.seq {
			out[a] = upTo
		}
	}
	return out, nil
}

// Counting is what was applied here and counts.
func (d *DB) Counting() (VV, error) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	return d.counting()
}

func (d *DB) counting() (VV, error) {
	r, err := d.limits()
	if err != nil {
		return nil, err
	}
	out := make(VV, len(d.heads))
	for a, s := range d.heads {
		if out[a] = r.upTo(a, s.seq); out[a] == 0 {
			delete(out, a)
		}
	}
	return out, nil
}

// Adopt makes a commit of no rows, if there are commits here that don't count: since it rests on them, they do then. A pod that may not write does
// nothing. Sync: one of the write-ahead log, before it is published.
func (d *DB) Adopt(ctx context.Context) (adopted bool, err error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return false, err
	}
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if d.signer() == nil {
		return false, nil
	}
	if err := d.settled(ctx); err != nil {
		return false, err
	}
	head, err := d.adopt()
	if err != nil || head.Seq == 0 {
		return false, err
	}
	d.slog.InfoContext(ctx, "changes of a member that may not write any more were adopted, since they are here", "commit", head.Seq)
	if err := d.sync(); err != nil {
		return false, err
	}
	d.publish(VV{head.Actor: head.Seq})
	return true, nil
}

// adopt is Adopt without its sync. commitMu must be held.
func (d *DB) adopt() (head Dot, err error) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	beyond, err := d.beyond()
	if _, ended := d.cuts[d.o.Actor.Member]; err != nil || len(beyond) == 0 || ended {
		return head, err
	}
	c, err := d.prepare(nil)
	if err != nil {
		return head, err
	}
	t := d.begin()
	defer t.close()
	t.at = c.HLC
	if err := t.finishCommit(c, c.Encode(d.signer())); err != nil {
		return head, fmt.Errorf("state: adopt: %w", err)
	}
	return c.Dot(), nil
}

// signer signs commits; nil: this pod may not write.
func (d *DB) signer() func(msg []byte) []byte {
	if f := d.sign.Load(); f != nil {
		return *f
	}
	return nil
}

// headSigner signs heads; nil: nothing does.
func (d *DB) headSigner() func(msg []byte) []byte {
	if d.o.SignHead != nil {
		return d.o.SignHead
	}
	return d.signer()
}

// MayWrite says whether the pod may write: operations are refused with vfs.ErrReadOnly from its return on if not. What was not committed by then is dropped,
// dropped is how many rows it was: no other pod would take it. Sync: one of the write-ahead log.
func (d *DB) MayWrite(ctx context.Context, may bool) (dropped int, err error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return 0, err
	}
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if may == (d.signer() != nil) || may && d.o.Sign == nil {
		return 0, nil
	}
	if may {
		d.sign.Store(&d.o.Sign)
		return 0, nil
	}
	if err := d.settled(ctx); err != nil {
		return 0, err
	}
	d.sign.Store(nil)
	if dropped, err = d.dropDirty(); err != nil {
		return dropped, err
	}
	return dropped, d.sync()
}

// dropDirty drops what was not committed. commitMu must be held, or nobody use the DB yet.
func (d *DB) dropDirty() (dropped int, err error) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	d.fence = nil
	if len(d.dirty) == 0 && len(d.journal) == 0 {
		return 0, nil
	}
	keys := sortedKeys(d.dirty)
	slices.SortFunc(keys, func(a, b string) int { return int(int64(d.dirty[b].order - d.dirty[a].order)) }) // what is in a folder before the folder
	t := d.begin()
	defer t.close()
	t.at = d.hlc
	for _, ino := range sortedKeys(d.journal) {
		for _, gen := range d.journal[ino] {
			if err := t.del(journalKey(ino, gen)); err != nil {
				return 0, err
			}
		}
		t.folded = append(t.folded, ino)
	}
	for _, key := range keys {
		if err := t.dropDirtyRow([]byte(key)); err != nil {
			return 0, fmt.Errorf("state: drop uncommitted row %x: %w", key, err)
		}
	}
	return len(keys), t.finish(false)
}

func (t *tx) dropDirtyRow(row []byte) error {
	kind, ino, _, err := ParseKey(row)
	if err != nil {
		return err
	}
	drop := func() error {
		t.cleaned = append(t.cleaned, string(row))
		return t.del(textKey(keyDirty, row))
	}
	if kind != KeyInode {
		return drop()
	}
	before, err := t.inode(ino)
	if err != nil {
		return err
	}
	if err := drop(); err != nil {
		return err
	}
	after, err := t.inode(ino)
	if err != nil {
		return err
	}
	return t.reindex(ino, before.f, after.f)
}

// readOnly says that operations are refused. opMu must be held.
func (d *DB) readOnly() error {
	switch {
	case d.signer() != nil:
		return nil
	case d.o.WhyReadOnly != nil:
		return d.o.WhyReadOnly()
	}
	return vfs.ErrReadOnly
}
