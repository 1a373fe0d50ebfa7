package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Offer is what Join needs of another pod, beside the blocks of the tree: its head, which names the state root, and the signed headers that
// prove the root's version vector.
type Offer struct {
	Head []byte
	// Headers are, of each actor of whose commits some are lacking, the signed header of its last one in the root, and those that lead from there
	// to the commits that are there: each is named by the one before it, as its skip if that is not too far back, else as its prev.
	Headers [][]byte
	// LogBytes is how many bytes of commits would have to be sent instead; -1: the log does not reach back that far.
	LogBytes int64
}

// Offer is what somebody who has seen have needs to join the newest checkpoint. Errors: vfs.ErrReadOnly (this pod's head counts for nothing);
// block.ErrNotFound (the newest checkpoint has nothing that is lacking, or can't be proven; the next one can, unless copies of a pod have
// parted), with LogBytes.
func (d *DB) Offer(ctx context.Context, have VV) (Offer, error) {
	if d.o.Sign == nil {
		return Offer{}, fmt.Errorf("state: offer: %w", vfs.ErrReadOnly)
	}
	d.mu.Lock()
	vv, cp, self := d.published.Clone(), d.checkpoint, d.self
	d.mu.Unlock()
	return readAs(d, func(v view) (o Offer, err error) {
		if o.LogBytes, err = v.lacking(have, vv); err != nil {
			return o, err
		}
		if cp.State.IsZero() || cp.VV.LessEqual(have) {
			return o, fmt.Errorf("state: offer: the newest checkpoint has nothing that is lacking: %w", block.ErrNotFound)
		}
		if t, err := v.branches(); err != nil || !t.none() {
			return o, errors.Join(err, errParted)
		}
		for _, a := range cp.VV.Actors() {
			headers, err := v.way(a, cp.VV[a], have[a])
			if err = errors.Join(err, ctx.Err()); err != nil {
				return o, err
			}
			o.Headers = append(o.Headers, headers...)
		}
		o.Head, err = v.head(self, vv, cp)
		return o, err
	})
}

// errParted says that trees can't be joined: their versions' names would have to be read under the forks that each side knows.
var errParted = fmt.Errorf("state: copies of a pod have parted, and trees are not joined since: %w", block.ErrNotFound)

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
	return h.Encode(d.o.Sign), nil
}

// way is the signed headers on the way of an actor's commits from one back to another, that one not included, as far as the log has them: at
// least up to where skip links would lead too far back. Error: block.ErrNotFound.
func (v view) way(a ident.Actor, from, to uint64) ([][]byte, error) {
	var out [][]byte
	for seq := from; seq > to; seq = wayStep(seq, to) {
		e, ok, err := v.entryAt(a, seq)
		if err != nil {
			return nil, err
		}
		if !ok || len(e.encoded) == 0 {
			if seq < from && SkipSeq(seq+1) < to {
				return out, nil // the rest of the way was dropped
			}
			return nil, fmt.Errorf("state: header of commit %d of actor %s: %w", seq, a, block.ErrNotFound)
		}
		h, err := headerOf(e.encoded)
		if err != nil {
			return nil, err
		}
		out = append(out, h.AppendSigned(nil))
	}
	return out, nil
}

// wayStep is the commit that comes after seq on the way back to another: the one that its skip link names, if that is not too far back, else the one
// before it.
func wayStep(seq, to uint64) uint64 {
	if skip := SkipSeq(seq); skip >= to {
		return skip
	}
	return seq - 1
}

// lacking is how many bytes the commits have that somebody who has seen have lacks of upTo; -1: not all of them are in the log.
func (v view) lacking(have, upTo VV) (sum int64, err error) {
	floors, err := v.floors()
	if err != nil {
		return 0, err
	}
	for a, seq := range upTo {
		switch {
		case have[a] >= seq:
			continue
		case have[a] < floors[a]:
			return -1, nil
		}
		n, err := v.bytesBetween(a, have[a], seq)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
