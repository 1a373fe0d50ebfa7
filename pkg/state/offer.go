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

// Offer is what Join needs of another pod, beside the blocks of the tree: its head, which names the state root, and what proves the root's version vector.
type Offer struct {
	Head []byte
	// Forks are the statements of the forks that tell the root's labels apart.
	Forks [][]byte
	// Ways are those of all labels in the root's version vector, sorted by label.
	Ways []Way
	// LogBytes is how many bytes of commits would have to be sent instead; -1: the log does not reach back that far.
	LogBytes int64
	// Asked is what had been seen where the offer was asked for, at that time; it is not sent, who asked sets it. What of that has another label
	// now, or none, the ways don't show: then Join says ErrOutdated. Nil: not known.
	Asked VV
}

// Way is what an Offer shows of the commits of one label: those from one that both pods have, or the label's first, up to the last one in the root.
type Way struct {
	Label    ident.Actor
	From, To uint64 // 1 <= From <= To
	// Digests are those of the commits from From on, 32 bytes each; an Offer that was just made or decoded may lack the last ones: see Complete.
	Digests []byte
	// Headers are, if the root has more than was asked with, the signed header of To and of the commits that its skip links lead to, as far as they are
	// the label's and lacking. None: the label ends where a fork begins, and the statement of that proves To.
	Headers [][]byte
}

// Limits of an offer.
const (
	offerDigests = 1 << 17 // digests in all that Offer puts into the ways itself: 4 MiB
	digestsPage  = 1 << 15 // digests that Digests returns at the most: 1 MiB
	digestsMax   = 1 << 24 // digests that Complete and Join take in all: half a GiB
)

// Complete asks for the digests that the ways lack: get is DB.Digests of who made the offer. The error is block.ErrCorrupt, or that of get.
func (o *Offer) Complete(ctx context.Context, get func(ctx context.Context, label ident.Actor, from uint64) ([]byte, error)) error {
	left := uint64(digestsMax)
	for i := range o.Ways {
		w := &o.Ways[i]
		if n := w.To - w.From; n >= left {
			return corrupt("offer", fmt.Errorf("%d commits of actor %s and others", n, w.Label))
		}
		left -= w.To - w.From + 1
		for next := w.next(); next <= w.To; next = w.next() {
			b, err := get(ctx, w.Label, next)
			if err != nil {
				return fmt.Errorf("state: digests of actor %s from %d on: %w", w.Label, next, err)
			}
			if len(b) == 0 || len(b)%digestLen != 0 || len(b) > digestsPage*digestLen {
				return corrupt("digests", fmt.Errorf("%d bytes", len(b)))
			}
			w.Digests = append(slices.Clip(w.Digests), b...)
		}
		w.Digests = w.Digests[:(w.To-w.From+1)*digestLen]
	}
	return nil
}

// next is the first commit of which the digest is lacking.
func (w *Way) next() uint64 { return w.From + uint64(len(w.Digests)/digestLen) }

// digest is that of a commit on the way.
func (w *Way) digest(seq uint64) (digest [32]byte, ok bool) {
	if seq < w.From || seq > w.To || seq >= w.next() {
		return digest, false
	}
	copy(digest[:], w.Digests[(seq-w.From)*digestLen:])
	return digest, true
}

// Digests are those of the commits of a label from one on, 32 bytes each: as many as were applied, within a limit. Every pod has those of all commits, whether it
// applied them, joined a tree, or dropped them from its log. Error: block.ErrNotFound (there is none).
func (d *DB) Digests(ctx context.Context, label ident.Actor, from uint64) ([]byte, error) {
	upTo := d.VV()[label]
	return readAs(d, func(v view) ([]byte, error) {
		out, err := v.digests(label, from, min(upTo, from+digestsPage-1))
		if err == nil && len(out) == 0 {
			err = fmt.Errorf("state: commit %d of actor %s: %w", from, label, block.ErrNotFound)
		}
		return out, errors.Join(err, ctx.Err())
	})
}

// digests are those of the commits from one to another, as far as they are here without a gap.
func (v view) digests(a ident.Actor, from, to uint64) ([]byte, error) {
	var out []byte
	next := from
	err := scan(v.r, logKey(a, from), logKey(a, to+1), func(key, value []byte) error {
		if len(value) < digestLen || string(key) != string(logKey(a, next)) {
			return errStop
		}
		out = append(out, value[:digestLen]...)
		next++
		return nil
	})
	return out, err
}

// Offer is what somebody who has seen have needs to join the newest checkpoint. Errors: vfs.ErrReadOnly (this pod's head counts for nothing);
// block.ErrNotFound (the newest checkpoint has nothing that is lacking, or is from before a fork was known; the next one is better), with LogBytes.
func (d *DB) Offer(ctx context.Context, have VV) (Offer, error) {
	if d.signer() == nil {
		return Offer{}, fmt.Errorf("state: offer: %w", vfs.ErrReadOnly)
	}
	d.mu.Lock()
	vv, cp, self := d.published.Clone(), d.checkpoint, d.self
	d.mu.Unlock()
	return readAs(d, func(raw view) (o Offer, err error) {
		v, err := raw.logs()
		if err != nil {
			return o, err
		}
		if o.LogBytes, err = v.lacking(have, vv); err != nil {
			return o, err
		}
		if cp.State.IsZero() || cp.VV.LessEqual(have) || !cp.VV.LessEqual(vv) {
			return o, fmt.Errorf("state: offer: the newest checkpoint has nothing that is lacking: %w", block.ErrNotFound)
		}
		if o.Forks, err = v.statements(cp.VV); err != nil {
			return o, err
		}
		room := uint64(offerDigests)
		for _, a := range cp.VV.Actors() {
			w, err := v.way(a, cp.VV[a], have[a], &room)
			if err = errors.Join(err, ctx.Err()); err != nil {
				return o, err
			}
			o.Ways = append(o.Ways, w)
		}
		o.Head, err = v.head(self, vv, cp)
		return o, err
	})
}

// head is the pod's signed head.
func (v view) head(self ident.Actor, vv VV, cp checkpointState) ([]byte, error) {
	d := v.d
	if !cp.VV.LessEqual(vv) {
		cp = checkpointState{} // it was made before a fork was known: its numbers are read otherwise now
	}
	h := Head{
		Network: d.o.Network, Actor: self, Seq: vv[self], VV: vv,
		Checkpoint: cp.State, TreeRoot: cp.Tree, HLC: HLCOf(d.o.Clock.Now()),
	}
	if h.Seq > 0 {
		var err error
		if h.CommitDigest, _, err = v.commitAt(h.Actor, h.Seq); err != nil {
			return nil, err
		}
	}
	return h.Encode(d.headSigner()), nil
}

// statements are those of the forks behind which the branches of a vector begin.
func (v logView) statements(vv VV) ([][]byte, error) {
	seen := map[forkPoint]bool{}
	var out [][]byte
	for _, a := range branchesIn(vv) {
		p := v.t.byName[a].point
		if seen[p] {
			continue
		}
		seen[p] = true
		b, err := get(v.r, forkKey(p))
		if err != nil {
			return nil, err
		}
		if b == nil {
			return nil, fmt.Errorf("state: fork of actor %s after commit %d: %w", p.actor, p.seq, block.ErrCorrupt)
		}
		out = append(out, b)
	}
	return out, nil
}

// way is a label's way from what somebody has to a commit. It takes its digests off room.
func (v logView) way(a ident.Actor, to, have uint64, room *uint64) (Way, error) {
	floor := v.t.floor(a)
	w := Way{Label: a, From: max(min(have, to), floor+1), To: to}
	n := min(w.To-w.From+1, *room)
	var err error
	if n > 0 {
		if w.Digests, err = v.digests(a, w.From, w.From+n-1); err != nil {
			return w, err
		}
		*room -= n
	}
	for seq := to; seq > max(have, floor); seq = SkipSeq(seq) {
		e, _, err := v.entryAt(a, seq)
		switch {
		case err != nil:
			return w, err
		case len(e.encoded) > 0:
			h, err := headerOf(e.encoded)
			if err != nil {
				return w, err
			}
			w.Headers = append(w.Headers, h.AppendSigned(nil))
		case seq == to && v.t.points[forkPoint{actor: v.t.incarnation(a), seq: to, digest: e.digest}]:
			return w, nil
		default:
			return w, fmt.Errorf("state: header of commit %d of actor %s: %w", seq, a, block.ErrNotFound)
		}
	}
	return w, nil
}

// lacking is how many bytes the commits have that somebody who has seen have lacks of upTo; -1: not all of them are in the log.
func (v logView) lacking(have, upTo VV) (sum int64, err error) {
	floors, err := v.floors()
	if err != nil {
		return 0, err
	}
	for a, seq := range upTo {
		from := max(have[a], v.t.floor(a))
		switch {
		case from >= seq:
			continue
		case from < floors[a]:
			return -1, nil
		}
		n, err := v.bytesBetween(a, from, seq)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
