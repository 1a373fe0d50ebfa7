package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/erasure"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/chunkmem"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pace"
)

// strikesMax is how many wrong answers of a pod are borne in one gathering.
const strikesMax = 3

// errRecordLied is said of a fragment whose record did not give the block. Who holds it may have been told so.
var errRecordLied = fmt.Errorf("its stripe record lied: %w", block.ErrCorrupt)

// holding is a fragment that a pod says it has. The pod may be this one.
type holding struct {
	pod ident.Pod
	f   block.Fragment
}

// gatherer joins a block from k fragments of one stripe, wherever they are. It asks for k of them, for another one when one fails or is late, and believes what it
// joined once it has the digest of the form and is the block of the ID. A record that lied is refused, and what came with it; fragments with another record of the same stripe
// go on beside it.
//
// All fields are of the goroutine that runs gather.
type gatherer struct {
	p      *Pod
	id     block.ID
	fits   func(block.Stripe) bool // which stripes are joined; nil: any
	events chan gatherEvent
	ctx    context.Context //nolint:containedctx // of what gather began; it ends when gather does
	work   sync.WaitGroup

	asking, flying int // questions and fragments under way
	late           int // how often nothing came within the time in which most do
	pieces         []*piece
	sets           []*erasure.Set // with different records
	refused        []block.StripeRecord
	strikes        map[ident.Pod]int
	errs           []error
}

// piece is a holding that may be, is or was asked for.
type piece struct {
	holding
	state pieceState
	set   *erasure.Set // that it came into
}

type pieceState uint8

const (
	pieceWaits pieceState = iota
	pieceFlies
	pieceCame
	pieceFailed
)

// gatherEvent is a pod's answer about what it has, or a fragment that came or did not.
type gatherEvent struct {
	pod   ident.Pod
	list  []block.Fragment
	piece *piece
	wire  []byte
	took  time.Duration
	err   error
}

// gather joins a block from fragments of those that hold some; with none given, all connected pods are asked what they have. It returns the plain bytes, verified
// against the ID, and the set that they were joined from, which the caller gives back. Of stripes that fits does not say yes to nothing is used; nil: all may be.
//
// Error: block.ErrUnavailable, when no k fragments of one stripe could be had; the context's.
func (p *Pod) gather(ctx context.Context, id block.ID, fits func(block.Stripe) bool, holders []holding) ([]byte, *erasure.Set, error) {
	ctx, cancel := context.WithCancel(ctx)
	g := &gatherer{p: p, id: id, fits: fits, events: make(chan gatherEvent), ctx: ctx, strikes: make(map[ident.Pod]int)}
	plain, set, err := g.run(holders)
	cancel()
	g.work.Wait()
	for _, s := range g.sets {
		if s != set {
			p.coding.give(s)
		}
	}
	return plain, set, err
}

func (g *gatherer) run(holders []holding) ([]byte, *erasure.Set, error) {
	for _, h := range holders {
		g.add(h.pod, []block.Fragment{h.f})
	}
	if holders == nil {
		g.ask()
	}
	for {
		g.launch()
		if g.asking+g.flying == 0 {
			break
		}
		late := g.p.coding.times.hedge()
		if fetchedFor(g.ctx) >= pace.Repair {
			late = fragmentHedgeMax // who serves them may keep to a limit
		}
		hedge := g.p.clock.NewTimer(late)
		select {
		case e := <-g.events:
			hedge.Stop()
			if plain, set := g.take(e); set != nil {
				return plain, set, nil
			}
		case <-hedge.C:
			g.late++
		case <-g.ctx.Done():
			hedge.Stop()
			return nil, nil, fmt.Errorf("pod: gather %s: %w", g.id, g.ctx.Err())
		}
	}
	return nil, nil, fmt.Errorf("pod: gather %s: %d fragments are known: %w", g.id, len(g.pieces), errors.Join(append(g.errs, block.ErrUnavailable)...))
}

// ask asks all connected pods what they have, and this one.
func (g *gatherer) ask() {
	if list, err := g.p.store.Fragments(g.id); err == nil {
		g.add(g.p.id, list)
	}
	for _, pod := range g.p.likelyHolders(g.id) {
		g.asking++
		g.work.Go(func() {
			lists, err := g.p.askFragments(g.ctx, pod, []block.ID{g.id})
			e := gatherEvent{pod: pod, err: err}
			if err == nil {
				e.list = lists[0]
			}
			g.tell(e)
		})
	}
}

func (g *gatherer) tell(e gatherEvent) {
	select {
	case g.events <- e:
	case <-g.ctx.Done():
	}
}

// add notes what a pod has.
func (g *gatherer) add(pod ident.Pod, list []block.Fragment) {
	for _, f := range list {
		if f.ID == g.id && f.Check() == nil && (g.fits == nil || g.fits(f.Stripe)) {
			g.pieces = append(g.pieces, &piece{holding: holding{pod, f}})
		}
	}
}

// take takes what came, and returns the block once it is joined.
func (g *gatherer) take(e gatherEvent) ([]byte, *erasure.Set) {
	if e.piece == nil {
		g.asking--
		if e.err != nil {
			g.errs = append(g.errs, e.err)
		}
		g.add(e.pod, e.list)
		return nil, nil
	}
	g.flying--
	if e.err == nil {
		g.p.coding.times.note(e.took)
		set, err := g.keep(e.piece.f, e.wire)
		if errors.Is(err, block.ErrCorrupt) && !errors.Is(err, errRecordLied) && e.piece.pod != g.p.id {
			g.p.lied(g.ctx, e.piece.pod, e.piece.f.String(), err)
		}
		if err == nil {
			e.piece.state, e.piece.set = pieceCame, set
			return g.join(set)
		}
		e.err = err
	}
	e.piece.state = pieceFailed
	if errors.Is(e.err, block.ErrCorrupt) {
		g.strikes[e.piece.pod]++
		g.p.log.WarnContext(g.ctx, "a fragment is not what it should be", "pod", g.p.reg.name(e.piece.pod), "fragment", e.piece.f.String(), "err", e.err)
	}
	g.errs = append(g.errs, fmt.Errorf("%s: %w", g.p.reg.name(e.piece.pod), e.err))
	return nil, nil
}

// keep adds a fragment to the set of its record.
func (g *gatherer) keep(f block.Fragment, wire []byte) (*erasure.Set, error) {
	got, rec, data, err := block.ParseFragment(wire)
	switch {
	case err != nil:
		return nil, err
	case got != f:
		return nil, fmt.Errorf("it is %s: %w", got, block.ErrCorrupt)
	case slices.ContainsFunc(g.refused, rec.Equal):
		return nil, errRecordLied
	}
	i := slices.IndexFunc(g.sets, func(s *erasure.Set) bool { return s.Record().Equal(rec) })
	if i >= 0 {
		_, err := g.sets[i].Add(rec, int(f.I), data)
		return g.sets[i], err
	}
	set := g.p.coding.set()
	set.Reset(rec)
	if _, err := set.Add(rec, int(f.I), data); err != nil {
		g.p.coding.give(set)
		return nil, err
	}
	g.sets = append(g.sets, set)
	return set, nil
}

// join joins a set that has enough. One that does not give the block is refused.
func (g *gatherer) join(set *erasure.Set) ([]byte, *erasure.Set) {
	rec := set.Record()
	if set.Have() < int(rec.K) {
		return nil, nil
	}
	form, err := g.p.coding.codec.Join(set)
	if err != nil {
		g.refuse(set, err)
		return nil, nil
	}
	plain, err := g.p.store.OpenWire(g.id, form)
	if err != nil {
		// It is the form that the stripe is named by, and not of this block: so is all of the stripe.
		for _, c := range g.pieces {
			if c.f.Stripe == rec.Stripe && c.state != pieceFlies {
				c.state = pieceFailed
			}
		}
		g.refuse(set, err)
		return nil, nil
	}
	if h, err := block.ParseHeader(form); err == nil && h.Form == block.FormRaw {
		plain = append(chunkmem.Take(len(plain))[:0], plain...) // the set's memory is used again
	}
	return plain, set
}

// refuse drops a set that does not give the block; no more is taken of its record.
func (g *gatherer) refuse(set *erasure.Set, err error) {
	rec := set.Record()
	rec.Digests = slices.Clone(rec.Digests)
	g.p.log.WarnContext(g.ctx, "fragments that fit together do not give their block", "stripe", rec.Stripe.String(), "err", err)
	g.errs = append(g.errs, err)
	g.refused = append(g.refused, rec)
	from := make(map[ident.Pod]bool)
	for _, c := range g.pieces {
		if c.set == set {
			c.state = pieceFailed
			from[c.pod] = true
		}
	}
	if len(from) == 1 { // it may have made all of it up
		for pod := range from {
			g.strikes[pod]++
		}
	}
	g.sets = slices.DeleteFunc(g.sets, func(s *erasure.Set) bool { return s == set })
	g.p.coding.give(set)
}

// launch asks for as many fragments as the stripe lacks that is likeliest to be joined, and for one more for each time that none came for long.
func (g *gatherer) launch() {
	stripe, ok := g.likeliest()
	if !ok {
		return
	}
	best := g.fullest(stripe)
	need := int(stripe.K) + g.late
	if best != nil {
		need -= best.Have()
	}
	for _, c := range g.pieces {
		if c.f.Stripe == stripe && c.state == pieceFlies {
			need--
		}
	}
	for ; need > 0; need-- {
		c := g.next(stripe, best)
		if c == nil {
			return
		}
		g.fetch(c)
	}
}

// likeliest is the stripe of which most fragments came or are on the way, of those that can still be joined; of equal ones the one with most fragments.
func (g *gatherer) likeliest() (best block.Stripe, ok bool) {
	type count struct {
		usable  map[uint8]bool
		started int
	}
	counts := make(map[block.Stripe]*count)
	for _, c := range g.pieces {
		n := counts[c.f.Stripe]
		if n == nil {
			n = &count{usable: make(map[uint8]bool)}
			counts[c.f.Stripe] = n
		}
		if c.state != pieceFailed && (c.state != pieceWaits || g.strikes[c.pod] < strikesMax) {
			n.usable[c.f.I] = true
		}
		if c.state == pieceFlies || c.state == pieceCame {
			n.started++
		}
	}
	for s, n := range counts {
		if len(n.usable) < int(s.K) {
			continue
		}
		b := counts[best]
		if !ok || n.started > b.started || n.started == b.started && (len(n.usable) > len(b.usable) || len(n.usable) == len(b.usable) && before(s, best)) {
			best, ok = s, true
		}
	}
	return best, ok
}

// before orders stripes of one block, so that the same is chosen every time.
func before(s, t block.Stripe) bool {
	return bytes.Compare(block.Fragment{Stripe: s}.Append(nil), block.Fragment{Stripe: t}.Append(nil)) < 0
}

// fullest is the set of a stripe with most fragments; nil: there is none.
func (g *gatherer) fullest(stripe block.Stripe) (best *erasure.Set) {
	for _, s := range g.sets {
		if s.Record().Stripe == stripe && (best == nil || s.Have() > best.Have()) {
			best = s
		}
	}
	return best
}

// next is the piece to be asked for next: one that the set lacks, rather one that is not on the way already, here rather than elsewhere, data rather than
// parity, since data needs no decoding.
func (g *gatherer) next(stripe block.Stripe, set *erasure.Set) (best *piece) {
	flies := make(map[uint8]bool)
	for _, c := range g.pieces {
		if c.f.Stripe == stripe && c.state == pieceFlies {
			flies[c.f.I] = true
		}
	}
	rank := func(c *piece) (r int) {
		if flies[c.f.I] {
			r += 4
		}
		if c.pod != g.p.id {
			r += 2
		}
		if g.p.lies(c.pod) {
			r += 8
		}
		if c.f.I >= stripe.K {
			r++
		}
		return r
	}
	for _, c := range g.pieces {
		if c.f.Stripe != stripe || c.state != pieceWaits || g.strikes[c.pod] >= strikesMax || set != nil && set.Has(int(c.f.I)) {
			continue
		}
		if best == nil || rank(c) < rank(best) {
			best = c
		}
	}
	return best
}

// fetch gets a fragment.
func (g *gatherer) fetch(c *piece) {
	c.state = pieceFlies
	g.flying++
	g.work.Go(func() {
		begin := g.p.clock.Now()
		wire, err := g.p.fetchFragment(g.ctx, c.holding)
		g.tell(gatherEvent{piece: c, wire: wire, err: err, took: g.p.clock.Now().Sub(begin)})
	})
}

// fetchFragment gets a fragment from the pod that holds it, as it is sent. It is not verified yet.
func (p *Pod) fetchFragment(ctx context.Context, h holding) (wire []byte, err error) {
	if h.pod == p.id {
		return p.storedFragment(near(ctx), h.f)
	}
	limited, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	err = p.net.GetFragments(limited, h.pod, []block.Fragment{h.f}, func(_ block.Fragment, got []byte, err error) error {
		wire = bytes.Clone(got)
		return err
	})
	if err == nil && wire == nil {
		err = fmt.Errorf("no answer for %s: %w", h.f, block.ErrNotFound)
	}
	if err == nil {
		err = p.paced(ctx, h.pod, len(wire))
	}
	return wire, err
}

// gatherBlock is the plain bytes of a block, joined from fragments.
func (p *Pod) gatherBlock(ctx context.Context, id block.ID) ([]byte, error) {
	plain, set, err := p.gather(ctx, id, nil, nil)
	if set != nil {
		p.coding.give(set)
	}
	return plain, err
}
