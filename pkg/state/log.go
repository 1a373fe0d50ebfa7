package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// digestLen is the length of the digest that stands before a commit in the log.
const digestLen = 32

// ErrTruncated says that the log does not reach back as far as is asked: the rest is to be had by joining a tree (Offer, Join).
var ErrTruncated = errors.New("the log was cut off there")

// logEntry is a commit of the log: digest (32 bytes), total (u64), and the encoded commit; of one whose rows were
// dropped its signed header alone, or nothing more.
type logEntry struct {
	digest  [digestLen]byte
	total   uint64 // bytes of this and all earlier commits of the actor that ever were in the log here
	encoded []byte
}

func (e *logEntry) encode() []byte {
	b := append(make([]byte, 0, digestLen+8+len(e.encoded)), e.digest[:]...)
	return append(binary.BigEndian.AppendUint64(b, e.total), e.encoded...)
}

// whole says whether the rows are there.
func (e *logEntry) whole() bool {
	return len(e.encoded) > 0 && e.encoded[0] == cbor.AppendArray(nil, 3)[0]
}

// log adds a commit to the log.
func (t *tx) log(c *Commit, encoded []byte) error {
	before, err := t.totalAt(c.Actor, c.Seq-1)
	if err != nil {
		return err
	}
	e := logEntry{digest: c.Digest(), total: before + uint64(len(encoded)), encoded: encoded}
	if err := t.set(logKey(c.Actor, c.Seq), e.encode()); err != nil {
		return err
	}
	s := actorState{seq: c.Seq, digest: e.digest, hlc: c.HLC}
	return t.set(actorKey(c.Actor), s.encode())
}

// logged remembers a commit whose batch is written.
func (t *tx) logged(c *Commit) {
	d := t.d
	d.heads[c.Actor] = actorState{seq: c.Seq, digest: c.Digest(), hlc: c.HLC}
	d.hlc = max(d.hlc, c.HLC)
	if c.Actor == d.o.Actor && c.Ctr > d.ctr { // made in an earlier life, and given back by others
		d.ctr = c.Ctr
		d.ctrEnd = max(d.ctrEnd, c.Ctr)
	}
}

// entryAt is an entry of the log; false: there is none.
func (v view) entryAt(a ident.Actor, seq uint64) (e logEntry, ok bool, err error) {
	b, err := get(v.r, logKey(a, seq))
	switch {
	case err != nil || b == nil:
		return e, false, err
	case len(b) < digestLen+8:
		return e, false, fmt.Errorf("state: commit %d of actor %s: %d bytes: %w", seq, a, len(b), block.ErrCorrupt)
	}
	copy(e.digest[:], b)
	e.total, e.encoded = binary.BigEndian.Uint64(b[digestLen:]), b[digestLen+8:]
	return e, true, nil
}

// commitAt is a commit of the log, or its header, and its digest. Error: block.ErrNotFound.
func (v view) commitAt(a ident.Actor, seq uint64) (digest [32]byte, encoded []byte, err error) {
	e, ok, err := v.entryAt(a, seq)
	if err == nil && !ok {
		err = fmt.Errorf("state: commit %d of actor %s: %w", seq, a, block.ErrNotFound)
	}
	return e.digest, e.encoded, err
}

// totalAt is the total of an entry; 0 where there is none.
func (v view) totalAt(a ident.Actor, seq uint64) (uint64, error) {
	b, closer, err := v.r.Get(logKey(a, seq))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("state: commit %d of actor %s: %w", seq, a, damaged(err))
	}
	total := uint64(0)
	if len(b) >= digestLen+8 {
		total = binary.BigEndian.Uint64(b[digestLen:])
	}
	return total, closer.Close()
}

// skipDigest is the digest that a commit with this seq has to name as its Skip.
func (d *DB) skipDigest(a ident.Actor, seq uint64) (digest [32]byte, err error) {
	if SkipSeq(seq) == 0 {
		return digest, nil
	}
	digest, _, err = view{d: d, r: d.db}.commitAt(a, SkipSeq(seq))
	return digest, err
}

// headerOf is the header of an entry of the log, which was verified when it was stored.
func headerOf(encoded []byte) (*Header, error) {
	if e := (logEntry{encoded: encoded}); !e.whole() {
		return DecodeHeader(encoded)
	}
	return HeaderOf(encoded)
}

// VV is what has been applied and is durable here, own commits included. The caller owns it.
func (d *DB) VV() VV {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.published.Clone()
}

// Log is commits that somebody who has seen have lacks, in an order in which they can be applied: about maxBytes of them, one at least;
// none if nothing is lacking. Only durable commits are among them (I2). Error: ErrTruncated.
func (d *DB) Log(ctx context.Context, have VV, maxBytes int) ([][]byte, error) {
	upTo := d.VV()
	return readAs(d, func(v view) ([][]byte, error) {
		if err := v.reaches(have, upTo); err != nil {
			return nil, err
		}
		p := logPage{view: v, at: have.Clone(), upTo: upTo, left: maxBytes, next: map[ident.Actor]*nextCommit{}}
		for progress := true; progress && !p.full(); {
			progress = false
			for _, a := range upTo.Actors() {
				n, err := p.advance(ctx, a)
				if err != nil {
					return nil, err
				}
				progress = progress || n > 0
			}
		}
		return p.out, nil
	})
}

// logPage collects commits.
type logPage struct {
	view

	at, upTo VV
	next     map[ident.Actor]*nextCommit // read and waiting for others
	left     int                         // bytes
	out      [][]byte
}

type nextCommit struct {
	header  *Header
	encoded []byte
}

func (p *logPage) full() bool { return p.left <= 0 && len(p.out) > 0 }

// advance takes as many commits of an actor as rest on nothing that is not taken.
func (p *logPage) advance(ctx context.Context, a ident.Actor) (n int, err error) {
	for p.at[a] < p.upTo[a] && !p.full() {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		c := p.next[a]
		if c == nil {
			_, encoded, err := p.commitAt(a, p.at[a]+1)
			if err != nil {
				return n, err
			}
			h, err := headerOf(encoded)
			if err != nil {
				return n, err
			}
			c = &nextCommit{header: h, encoded: encoded}
			p.next[a] = c
		}
		if !c.header.Past().LessEqual(p.at) {
			return n, nil
		}
		p.out = append(p.out, c.encoded)
		p.left -= len(c.encoded)
		p.at[a]++
		delete(p.next, a)
		n++
	}
	return n, nil
}
