package state

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// headersMax is how many headers an Offer has at the most.
const headersMax = 1 << 20

// proof is a state root, and who says that it is one.
type proof struct {
	root Root
	mine VV // what was applied here
	// ways are, of each actor of whose commits the root has more than mine, the headers from the last one of these back.
	ways map[ident.Actor][]*Header
	// newest is the highest clock of these headers.
	newest HLC
}

// top is the header of the last commit of an actor in the root, nil if it is no news.
func (p *proof) top(a ident.Actor) *Header {
	if way := p.ways[a]; len(way) > 0 {
		return way[0]
	}
	return nil
}

// prove checks what a root is to be believed under: a head of a member that may write, and for each actor of whose commits it has more than were applied here
// the signed header of its last one, which must lead to what was applied. commitMu must be held.
//
// Errors: ErrForeign, block.ErrCorrupt, ErrSignature, Options.Author's, ErrFork, ErrFuture, block.ErrNotFound (copies of a pod have parted), those of Options.Blocks.
func (d *DB) prove(ctx context.Context, head []byte, headers [][]byte) (*proof, error) {
	h, err := DecodeHead(head)
	if err != nil {
		return nil, err
	}
	if h.Network != d.o.Network {
		return nil, fmt.Errorf("state: head of actor %s: %w", h.Actor, ErrForeign)
	}
	key, err := d.o.Author(h.Actor)
	if err != nil {
		return nil, fmt.Errorf("state: head of actor %s: %w", h.Actor, err)
	}
	if err := h.Verify(key); err != nil {
		return nil, err
	}
	p, err := d.readProof(ctx, h, headers)
	if err != nil {
		return nil, err
	}
	d.opMu.Lock()
	parted := !d.forks.none() || slices.ContainsFunc(p.root.VV.Actors(), ident.Actor.IsBranch)
	d.opMu.Unlock()
	if parted {
		return nil, errParted
	}
	c := chainChecker{proof: p, in: d.applied()}
	for a, seq := range p.root.VV {
		if seq <= p.mine[a] {
			continue
		}
		if err := c.actor(a); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// readProof reads the root that a head names, and the headers, without a look at what they say.
func (d *DB) readProof(ctx context.Context, h *Head, headers [][]byte) (*proof, error) {
	if h.Checkpoint.IsZero() {
		return nil, fmt.Errorf("state: head of actor %s names no state root: %w", h.Actor, block.ErrNotFound)
	}
	b, err := d.o.Blocks.Get(ctx, h.Checkpoint)
	if err != nil {
		return nil, fmt.Errorf("state: get state root %s: %w", h.Checkpoint, err)
	}
	p := &proof{mine: VV{}, ways: map[ident.Actor][]*Header{}}
	if p.root, err = DecodeRoot(b); err != nil {
		return nil, err
	}
	switch {
	case p.root.Network != d.o.Network:
		return nil, fmt.Errorf("state: state root %s: %w", h.Checkpoint, ErrForeign)
	case !p.root.VV.LessEqual(h.VV):
		return nil, corrupt("state root "+h.Checkpoint.String(), errors.New("its version vector is not within its head's"))
	case len(headers) > headersMax:
		return nil, corrupt("offer", fmt.Errorf("%d headers", len(headers)))
	}
	for a, s := range d.heads {
		p.mine[a] = s.seq
	}
	for _, b := range headers {
		h, err := DecodeHeader(b)
		if err != nil {
			return nil, err
		}
		if h.Seq > p.root.VV[h.Actor] || h.Seq <= p.mine[h.Actor] {
			continue // of what the root doesn't have, or is no news
		}
		p.ways[h.Actor] = append(p.ways[h.Actor], h)
		p.newest = max(p.newest, h.HLC)
	}
	return p, nil
}

// chainChecker checks the headers of a proof.
type chainChecker struct {
	*proof

	in *intake
}

// actor checks the headers of one actor: signatures, and that each names the next one.
func (c *chainChecker) actor(a ident.Actor) error {
	d, seq, way := c.in.d, c.root.VV[a], c.ways[a]
	if len(way) == 0 || way[0].Seq != seq {
		return corrupt("offer", fmt.Errorf("no signed header of commit %d of actor %s", seq, a))
	}
	key, err := d.o.Author(a)
	if err != nil {
		return fmt.Errorf("state: commit %d of actor %s: %w", seq, a, err)
	}
	if ahead := -clock.Since(d.o.Clock, way[0].HLC.Time()); ahead > FutureMax {
		return fmt.Errorf("state: commit %d of actor %s is %v ahead: %w", seq, a, ahead, ErrFuture)
	}
	for i, h := range way {
		var next *Header
		if i+1 < len(way) {
			next = way[i+1]
		}
		if err := errors.Join(c.header(h, key), c.step(h, next)); err != nil {
			return err
		}
	}
	return nil
}

// header checks one header by itself: who signed it, and that the root has what it rests on.
func (c *chainChecker) header(h *Header, key ed25519.PublicKey) error {
	if h.Network != c.in.d.o.Network {
		return fmt.Errorf("state: commit %d of actor %s is of network %s: %w", h.Seq, h.Actor, h.Network.Short(), ErrForeign)
	}
	if err := h.Verify(key); err != nil {
		return err
	}
	for _, dep := range h.Deps {
		if !c.root.VV.Covers(dep.Dot) {
			return corrupt("state root", fmt.Errorf("it has commit %d of actor %s, and not commit %d of actor %s on which that rests", h.Seq, h.Actor, dep.Seq, dep.Actor))
		}
		var digest [32]byte
		copy(digest[:], dep.Digest[:])
		if err := c.is(dep.Dot, digest, len(dep.Digest)); err != nil {
			return err
		}
	}
	return nil
}

// step checks that a header names the next one on its way, and what was applied here.
func (c *chainChecker) step(h, next *Header) error {
	mine, skip := c.mine[h.Actor], SkipSeq(h.Seq)
	to := wayStep(h.Seq, mine)
	switch {
	case next != nil && next.Seq != to:
		return corrupt("offer", fmt.Errorf("header of commit %d of actor %s after that of %d", next.Seq, h.Actor, h.Seq))
	case next == nil && to > mine && skip >= mine:
		return corrupt("offer", fmt.Errorf("no header of commit %d of actor %s", to, h.Actor))
	}
	err := c.is(Dot{h.Actor, h.Seq - 1}, h.Prev, digestLen)
	return errors.Join(err, c.is(Dot{h.Actor, skip}, h.Skip, digestLen))
}

// is compares a commit that a header names with the one that is known here, if it is: applied, or among the headers. Error: ErrFork.
func (c *chainChecker) is(dot Dot, digest [32]byte, n int) error {
	if dot.Seq == 0 {
		return nil
	}
	if dot.Seq <= c.mine[dot.Actor] {
		have, known, err := c.in.digestAt(dot.Actor, dot.Seq) // of what the log dropped it may not be
		if err == nil && known && string(have[:n]) != string(digest[:n]) {
			err = fmt.Errorf("state: commit %d of actor %s: %w", dot.Seq, dot.Actor, ErrFork)
		}
		return err
	}
	for _, h := range c.ways[dot.Actor] {
		if d := h.Digest(); h.Seq == dot.Seq && string(d[:n]) != string(digest[:n]) {
			return fmt.Errorf("state: commit %d of actor %s: %w", dot.Seq, dot.Actor, ErrFork)
		}
	}
	return nil
}
