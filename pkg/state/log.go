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

// log adds a commit to the log, under its label.
func (t *tx) log(c *Commit, label ident.Actor, encoded []byte) error {
	before, err := t.totalAt(t.known().at(label, c.Seq-1), c.Seq-1)
	if err != nil {
		return err
	}
	e := logEntry{digest: c.Digest(), total: before + uint64(len(encoded)), encoded: encoded}
	if err := t.set(logKey(label, c.Seq), e.encode()); err != nil {
		return err
	}
	s := actorState{seq: c.Seq, digest: e.digest, hlc: c.HLC}
	return t.set(actorKey(label), s.encode())
}

// logged remembers a commit whose batch is written.
func (t *tx) logged(c *Commit, label ident.Actor) {
	d := t.d
	d.heads[label] = actorState{seq: c.Seq, digest: c.Digest(), hlc: c.HLC}
	d.hlc = max(d.hlc, c.HLC)
	d.reach = nil
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
// none if nothing is lacking. Only durable commits are among them (I2). To who doesn't know a fork yet it gives what comes behind the fork point.
// Error: ErrTruncated.
func (d *DB) Log(ctx context.Context, have VV, maxBytes int) ([][]byte, error) {
	upTo := d.VV()
	return readAs(d, func(v view) ([][]byte, error) {
		p, err := v.logPage(have, upTo, maxBytes)
		if err != nil {
			return nil, err
		}
		if err := v.reaches(p.at, upTo); err != nil {
			return nil, err
		}
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
		out := make([][]byte, len(p.out))
		for i := range p.out {
			out[i] = p.out[i].encoded
		}
		return out, nil
	})
}

// logPage collects commits.
type logPage struct {
	view
	snapChains

	t        *branches
	at, upTo VV
	next     map[ident.Actor]*nextCommit // read and waiting for others
	left     int                         // bytes
	out      []*nextCommit
}

type nextCommit struct {
	reading reading
	past    VV
	encoded []byte
}

// logPage begins a page of what somebody who has seen have lacks of upTo.
func (v view) logPage(have, upTo VV, maxBytes int) (*logPage, error) {
	t, err := v.branches()
	if err != nil {
		return nil, err
	}
	p := &logPage{view: v, snapChains: snapChains{v, upTo}, t: t, at: have.Clone(), upTo: upTo, left: maxBytes, next: map[ident.Actor]*nextCommit{}}
	for a, seq := range upTo {
		p.at[a] = max(min(p.at[a], seq), t.floor(a))
	}
	return p, nil
}

// snapChains are the commits of a moment.
type snapChains struct {
	v  view
	vv VV
}

// last is chains'.
func (s snapChains) last(label ident.Actor) uint64 { return s.vv[label] }

// digestAt is chains'.
func (s snapChains) digestAt(label ident.Actor, seq uint64) (digest [32]byte, ok bool, err error) {
	digest, _, err = s.v.commitAt(label, seq)
	if errors.Is(err, block.ErrNotFound) {
		return digest, false, nil
	}
	return digest, err == nil, err
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
			if c, err = p.commit(a, p.at[a]+1); err != nil {
				return n, err
			}
			p.next[a] = c
		}
		if !c.past.LessEqual(p.at) {
			return n, nil
		}
		p.out = append(p.out, c)
		p.left -= len(c.encoded)
		p.at[a]++
		delete(p.next, a)
		n++
	}
	return n, nil
}

// commit reads a commit.
func (p *logPage) commit(a ident.Actor, seq uint64) (*nextCommit, error) {
	_, encoded, err := p.commitAt(a, seq)
	if err != nil {
		return nil, err
	}
	h, err := headerOf(encoded)
	if err != nil {
		return nil, err
	}
	r, err := p.t.reread(a, h, p)
	if err != nil {
		return nil, err
	}
	return &nextCommit{reading: r, past: r.past(h), encoded: encoded}, nil
}
