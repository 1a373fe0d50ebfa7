package state

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// ErrOutdated says that commits have other labels or numbers than when an offer was asked for, or its root was made: a fork became known since, or own commits were
// made anew (Restamp). It is a block.ErrNotFound. An offer that is asked for anew, from who has heard of the fork, can be joined.
var ErrOutdated = fmt.Errorf("commits have other labels now: %w", block.ErrNotFound)

// proof is a state root that is believed, and what it brings.
type proof struct {
	replace bool // the root takes the place of what is here

	root Root
	mine VV // what was applied here
	// news are the labels of whose commits the root has more than mine; no stamp in their versions is later than this.
	news   map[ident.Actor]HLC
	newest HLC // the highest of these
}

// prove checks what a root is to be believed under: a head of a member that may write; the statements of the forks that tell its labels apart, which are taken in;
// of each label the digests of the commits, which must be those here as far as these go; and for each of whose commits it has more than were applied here the signed
// header of the last one. commitMu must be held.
//
// Errors: ErrForeign, block.ErrCorrupt, ErrSignature, Options.Author's, ErrRefused, ErrFork, ErrFuture, ErrOutdated, block.ErrNotFound, those of Options.Blocks.
func (d *DB) prove(ctx context.Context, o *Offer, replace bool) (*proof, error) {
	h, err := DecodeHead(o.Head)
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
	if d.ended(h.Actor) {
		return nil, fmt.Errorf("state: head of actor %s: %w", h.Actor, ErrRefused)
	}
	for _, statement := range o.Forks {
		f, err := d.openFork(statement)
		if err == nil {
			_, err = d.learn(f)
		}
		if err != nil {
			return nil, err
		}
	}
	p, err := d.readProof(ctx, h)
	if err != nil {
		return nil, err
	}
	p.replace = replace
	d.opMu.Lock()
	c := &rootChecker{proof: p, in: d.applied(), known: d.forks, ways: make(map[ident.Actor]*Way, len(o.Ways)), asked: o.Asked}
	d.opMu.Unlock()
	for i := range o.Ways {
		c.ways[o.Ways[i].Label] = &o.Ways[i]
	}
	err = c.check(ctx)
	if errors.Is(err, ErrFork) {
		d.opMu.Lock()
		d.refused[c.parted] = true // for Reconcile
		d.opMu.Unlock()
	}
	return p, err
}

// readProof reads the root that a head names, and what of it is news.
func (d *DB) readProof(ctx context.Context, h *Head) (*proof, error) {
	if h.Checkpoint.IsZero() {
		return nil, fmt.Errorf("state: head of actor %s names no state root: %w", h.Actor, block.ErrNotFound)
	}
	b, err := d.o.Blocks.Get(ctx, h.Checkpoint)
	if err != nil {
		return nil, fmt.Errorf("state: get state root %s: %w", h.Checkpoint, err)
	}
	p := &proof{mine: VV{}, news: map[ident.Actor]HLC{}}
	if p.root, err = DecodeRoot(b); err != nil {
		return nil, err
	}
	switch {
	case p.root.Network != d.o.Network:
		return nil, fmt.Errorf("state: state root %s: %w", h.Checkpoint, ErrForeign)
	case !p.root.VV.LessEqual(h.VV):
		return nil, corrupt("state root "+h.Checkpoint.String(), errors.New("its version vector is not within its head's"))
	}
	for a, s := range d.heads {
		p.mine[a] = s.seq
	}
	return p, nil
}

// changes says whether other commits of a label are applied with the root than are here.
func (p *proof) changes(a ident.Actor) bool {
	to := p.root.VV[a]
	return to > p.mine[a] || p.replace && to < p.mine[a]
}

// brings notes a label of which the root has more, with the header of the last commit, nil if a fork statement stands for it.
func (p *proof) brings(a ident.Actor, top *Header, c clock.Clock) {
	limit := HLCOf(c.Now().Add(FutureMax)) // the branches that follow are not later
	if top != nil {
		limit = top.HLC
		p.newest = max(p.newest, top.HLC)
	}
	p.news[a] = limit
}

// rootChecker checks a root against what is known of the chains of commits, here and by the ways of the offer.
type rootChecker struct {
	*proof

	in     *intake
	known  *branches // the forks that are known here
	ways   map[ident.Actor]*Way
	asked  VV          // Offer.Asked
	parted ident.Actor // the incarnation whose commits are others than here
}

// last is chains': of the root.
func (c *rootChecker) last(label ident.Actor) uint64 { return c.root.VV[label] }

// digestAt is chains': of the root.
func (c *rootChecker) digestAt(label ident.Actor, seq uint64) (digest [32]byte, ok bool, err error) {
	if w := c.ways[label]; w != nil {
		if digest, ok = w.digest(seq); ok {
			return digest, true, nil
		}
	}
	if seq > c.mine[label] {
		return digest, false, nil
	}
	return c.in.digestAt(label, seq)
}

// check checks all labels: first that each stands for the same commits there and here, then who signed what is news.
func (c *rootChecker) check(ctx context.Context) error {
	labels := c.root.VV.Actors()
	for _, a := range labels {
		if err := errors.Join(c.chain(a), ctx.Err()); err != nil {
			if errors.Is(err, ErrFork) {
				c.parted = c.root.branches.incarnation(a)
			}
			return err
		}
	}
	for _, a := range labels {
		if err := c.branch(a); err != nil {
			return err
		}
	}
	for _, a := range labels {
		if !c.changes(a) {
			continue
		}
		if err := errors.Join(c.signed(a), ctx.Err()); err != nil {
			return err
		}
	}
	return c.counted()
}

// counted checks that what the root has of members whose right to write has ended counts, or is here already.
func (c *rootChecker) counted() error {
	d := c.in.d
	d.opMu.Lock()
	cuts := d.cuts
	mine, err := d.limits()
	d.opMu.Unlock()
	if len(cuts) == 0 || err != nil {
		return err
	}
	theirs, err := newReach(cuts, c.root.branches, c, c.root.VV.Actors(), c.top, nil)
	if err != nil {
		return err
	}
	for a, seq := range c.root.VV {
		if last := max(theirs.upTo(a, seq), mine.upTo(a, seq)); last < seq && (c.replace || seq > c.mine[a]) {
			return fmt.Errorf("state: state root: %w", &cutError{at: Dot{a, seq}, last: last})
		}
	}
	return nil
}

// top is a signed header of the root's, as far as the offer or the log here has it.
func (c *rootChecker) top(label ident.Actor, seq uint64) (*Header, error) {
	if w := c.ways[label]; seq == c.root.VV[label] && len(w.Headers) > 0 {
		return DecodeHeader(w.Headers[0])
	}
	if seq > c.mine[label] {
		return nil, nil //nolint:nilnil // it is not known
	}
	return c.in.signedAt(label, seq)
}

// chain checks the digests of a label: that none is lacking, and that they are those here.
func (c *rootChecker) chain(a ident.Actor) error {
	w, floor, to := c.ways[a], c.root.branches.floor(a), c.root.VV[a]
	mine := min(c.mine[a], to)
	if asked := min(c.asked[a], to); mine < asked {
		return fmt.Errorf("state: commit %d of actor %s was here when the offer was asked for: %w", asked, a, ErrOutdated)
	}
	if w == nil || w.To != to || w.From <= floor || w.From > max(mine, floor+1) || uint64(len(w.Digests)) != (to-w.From+1)*digestLen {
		return corrupt("offer", fmt.Errorf("the digests of actor %s up to commit %d are not there", a, to))
	}
	if err := c.behind(a, floor, to); err != nil {
		return err
	}
	for seq := w.From; seq <= mine; seq++ {
		have, ok, err := c.in.digestAt(a, seq)
		if err != nil {
			return err
		}
		if digest, _ := w.digest(seq); !ok || have != digest {
			return fmt.Errorf("state: commit %d of actor %s: %w", seq, a, ErrFork)
		}
	}
	return nil
}

// behind says whether a fork point that is known here lies within what the root has under one label. Error: ErrOutdated.
func (c *rootChecker) behind(a ident.Actor, floor, to uint64) error {
	incarnation := c.root.branches.incarnation(a)
	for p := range c.known.points {
		if p.actor != incarnation || p.seq >= to || p.seq < floor || p.seq == floor && a != incarnation {
			continue
		}
		digest, ok, err := c.digestAt(a, p.seq)
		if err != nil {
			return err
		}
		if p.seq == 0 || ok && digest == p.digest {
			return fmt.Errorf("state: fork of actor %s after commit %d: %w", p.actor, p.seq, ErrOutdated)
		}
	}
	return nil
}

// branch checks where a branch begins: behind a fork that is known, which its parent leads to, with the commit that its name says.
func (c *rootChecker) branch(a ident.Actor) error {
	b, ok := c.root.branches.byName[a]
	if !ok {
		return nil
	}
	if have, ok := c.known.byName[a]; ok {
		if have.first != b.first {
			return fmt.Errorf("state: commits %x and %x of actor %s have one label: %w", have.first, b.first, b.point.actor, ErrFork)
		}
		if have != b {
			return corrupt("state root", fmt.Errorf("branch %s begins elsewhere than here", a))
		}
		return nil
	}
	if !c.known.points[b.point] {
		return corrupt("offer", fmt.Errorf("no statement of the fork of actor %s after commit %d", b.point.actor, b.point.seq))
	}
	return errors.Join(c.is(a, b.point.seq+1, b.first[:]), c.is(b.parent, b.point.seq, b.point.digest[:]))
}

// is compares a digest that something names with that of the commit in the root. Seq 0 is no commit.
func (c *rootChecker) is(a ident.Actor, seq uint64, digest []byte) error {
	if seq == 0 {
		return nil
	}
	have, ok, err := c.digestAt(a, seq)
	if err == nil && (!ok || string(have[:len(digest)]) != string(digest)) {
		err = fmt.Errorf("state: commit %d of actor %s is another in the root than its signed headers say: %w", seq, a, block.ErrCorrupt)
	}
	return err
}

// signed checks the headers of a label that is news: the last one and those that its skip links lead to. Where a label ends with a known fork, its statement says
// that its last commit was signed.
func (c *rootChecker) signed(a ident.Actor) error {
	d, to, incarnation := c.in.d, c.root.VV[a], c.root.branches.incarnation(a)
	key, err := d.o.Author(incarnation)
	if err != nil {
		return fmt.Errorf("state: commit %d of actor %s: %w", to, a, err)
	}
	way := c.ways[a]
	if len(way.Headers) == 0 {
		digest, _ := way.digest(to)
		if !c.known.points[forkPoint{actor: incarnation, seq: to, digest: digest}] {
			return corrupt("offer", fmt.Errorf("no signed header of commit %d of actor %s", to, a))
		}
		c.brings(a, nil, d.o.Clock)
		return nil
	}
	seq := to
	for i, b := range way.Headers {
		h, err := DecodeHeader(b)
		if err != nil {
			return err
		}
		if h.Actor != incarnation || h.Seq != seq {
			return corrupt("offer", fmt.Errorf("header of commit %d of actor %s instead of %d of %s", h.Seq, h.Actor, seq, a))
		}
		if err := c.header(a, h, key); err != nil {
			return err
		}
		if i == 0 {
			if ahead := -clock.Since(d.o.Clock, h.HLC.Time()); ahead > FutureMax {
				return fmt.Errorf("state: commit %d of actor %s is %v ahead: %w", h.Seq, a, ahead, ErrFuture)
			}
			c.brings(a, h, d.o.Clock)
		}
		seq = SkipSeq(seq)
	}
	if seq > max(c.mine[a], c.root.branches.floor(a)) {
		return corrupt("offer", fmt.Errorf("no header of commit %d of actor %s", seq, a))
	}
	return nil
}

// header checks one header: who signed it, and that the root has what it rests on.
func (c *rootChecker) header(a ident.Actor, h *Header, key ed25519.PublicKey) error {
	if h.Network != c.in.d.o.Network {
		return fmt.Errorf("state: commit %d of actor %s is of network %s: %w", h.Seq, a, h.Network.Short(), ErrForeign)
	}
	if err := h.Verify(key); err != nil {
		return err
	}
	t, digest, skip := c.root.branches, h.Digest(), SkipSeq(h.Seq)
	err := errors.Join(c.is(a, h.Seq, digest[:]), c.is(t.at(a, h.Seq-1), h.Seq-1, h.Prev[:]), c.is(t.at(a, skip), skip, h.Skip[:]))
	if err != nil {
		return err
	}
	for _, dep := range h.Deps {
		if _, err := t.holder(dep.Actor, dep.Seq, dep.Digest[:], c); err != nil {
			return corrupt("state root", fmt.Errorf("it has commit %d of actor %s, and not commit %d of actor %s on which that rests: %w", h.Seq, a, dep.Seq, dep.Actor, err))
		}
	}
	return nil
}
