package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Check reads all segments and verifies every block against the index, its checksum and its hash;
// f is called for each problem. Damaged blocks are set aside, so that Has denies them and a Put
// stores them anew. It runs beside everything else; what changes meanwhile is judged as it is when
// it is read. The error says that the check could not be finished, not that there are problems.
func (s *Store) Check(ctx context.Context, f func(Problem)) error {
	if s.writable() == nil {
		if err := s.Sync(ctx); err != nil {
			return err
		}
	}
	c := check{s: s, report: f, ends: make(map[uint64]int64), orphans: make(map[block.ID][]Problem)}
	if err := c.log(ctx, c.record); err != nil {
		return err
	}
	for _, p := range c.gaps {
		if !c.isCut(p) {
			f(p)
		}
	}
	if len(c.orphans) > 0 {
		// What was deleted meanwhile has its mark behind the ends that were read first.
		if err := c.log(ctx, c.mark); err != nil {
			return err
		}
	}
	for id, list := range c.orphans {
		for _, p := range list {
			s.mu.RLock()
			_, there := s.segs[p.Segment]
			s.mu.RUnlock()
			if _, ok, err := s.lookup(id); err == nil && !ok && there {
				f(p.named())
			}
		}
	}
	return c.rows(ctx)
}

// check is one run of Check.
type check struct {
	s       *Store
	report  func(Problem)
	cuts    []cut
	gaps    []Problem
	ends    map[uint64]int64       // up to where the segments were read
	orphans map[block.ID][]Problem // good records that no row and no mark speaks of, so far
}

// log calls f with the records that were written since the last call.
func (c *check) log(ctx context.Context, f func(context.Context, *segment, record) error) error {
	c.s.mu.RLock()
	segs := c.s.sortedSegments()
	ends := make([]int64, len(segs))
	for i, g := range segs {
		ends[i] = g.end
	}
	c.s.mu.RUnlock()
	for i, g := range segs {
		if !g.acquire() {
			continue // removed since
		}
		sc := scanner{r: g.file, nonce: g.nonce, off: c.ends[g.num], end: ends[i]}
		err := c.segment(ctx, g, &sc, f)
		_ = g.release() // nothing was written
		if err != nil {
			return fmt.Errorf("store: check segment %d: %w", g.num, err)
		}
		c.ends[g.num] = ends[i]
	}
	return nil
}

// segment calls f with the records of a segment and notes the gaps between them.
func (c *check) segment(ctx context.Context, g *segment, sc *scanner,
	f func(context.Context, *segment, record) error,
) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, gap, err := sc.next()
		if gap.from < gap.to {
			c.gaps = append(c.gaps, Problem{Kind: Garbage, Segment: g.num, Offset: gap.from, Bytes: gap.to - gap.from})
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(ctx, g, r)
		}
		if err != nil {
			return err
		}
	}
}

// record checks one record.
func (c *check) record(ctx context.Context, g *segment, r record) error {
	if r.kind.isBlock() {
		return c.block(ctx, g, r)
	}
	if r.kind.behind() > 0 && errors.Is(c.s.checkRecord(g, r), block.ErrCorrupt) {
		c.gaps = append(c.gaps, Problem{Kind: Garbage, Segment: g.num, Offset: r.off, Bytes: r.size()})
		return nil
	}
	if r.kind == kindCut {
		if cut, err := readCut(g, r); err == nil {
			c.cuts = append(c.cuts, cut)
		}
	}
	return c.mark(ctx, g, r)
}

// mark takes note of a deletion.
func (c *check) mark(_ context.Context, _ *segment, r record) error {
	if r.kind == kindGone {
		// The mark is about the newest record of the block; those before it, which a compaction copied from, are as dead.
		c.orphans[r.id] = slices.DeleteFunc(c.orphans[r.id], func(p Problem) bool {
			return !r.target.before(place{p.Segment, p.Offset})
		})
	}
	return nil
}

func (c *check) isCut(p Problem) bool {
	for _, k := range c.cuts {
		if k.seg == p.Segment && k.from <= p.Offset && p.Offset+p.Bytes <= k.to {
			return true
		}
	}
	return false
}

// block checks a block record, when it is the one that the index names.
func (c *check) block(ctx context.Context, g *segment, r record) error {
	now, ok, err := c.s.lookup(r.id)
	if err != nil {
		return err
	}
	at := place{g.num, r.off}
	p := Problem{ID: r.id, Fragment: now.of, Segment: g.num, Offset: r.off, Bytes: r.size(), Cached: now.cached()}
	switch {
	case !ok:
		if c.s.checkRecord(g, r) == nil {
			p.Kind = Unindexed
			if r.kind.isFragment() {
				p.Fragment, err = readName(g, r)
			}
			if errors.Is(err, block.ErrCorrupt) {
				p.Kind, p.ID = Garbage, block.ID{}
				c.gaps = append(c.gaps, p)
				return nil
			} else if err != nil {
				return err
			}
			c.orphans[r.id] = append(c.orphans[r.id], p)
		}
		return nil
	case now.place != at || now.bad():
		return nil // rows reports it
	}
	err = c.s.read(ctx, r.id, c.s.verify(r.id)) // with its second try, and its setting aside
	if err == nil || errors.Is(err, block.ErrNotFound) {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrClosed) {
		return err
	}
	if !errors.Is(err, block.ErrCorrupt) {
		p.Kind, p.Err = Damaged, err
		c.report(p.named())
	}
	return nil // set aside: rows reports it
}

// rows checks that each row's record is where it says, and reports the blocks set aside.
func (c *check) rows(ctx context.Context) error {
	return c.s.eachRow(ctx, block.ID{}, func(id block.ID, r row) error {
		p := r.problem(Damaged, id)
		if !r.bad() {
			if err := c.head(id, r); err == nil || !errors.Is(err, block.ErrCorrupt) {
				return nil // unreadable ones were reported with their segment
			}
			err := c.s.read(ctx, id, c.s.verify(id))
			if err == nil || !errors.Is(err, block.ErrCorrupt) {
				return nil // it moved meanwhile
			}
		}
		c.s.mu.RLock()
		g := c.s.segs[r.seg]
		if g == nil || r.off+r.size() > g.end {
			p.Kind = Missing
		}
		c.s.mu.RUnlock()
		c.report(p)
		return nil
	})
}

// head reads the head of a row's record only.
func (c *check) head(id block.ID, r row) error {
	c.s.mu.RLock()
	g := c.s.segs[r.seg]
	ok := g != nil && g.acquire()
	c.s.mu.RUnlock()
	if !ok {
		return block.ErrCorrupt
	}
	defer func() { _ = g.release() }() // nothing was written
	var b [recordHead]byte
	if _, err := readAt(g.file, b[:], r.off, r.off+recordHead); err != nil {
		return err
	}
	rec, err := parseRecord(b[:], g.nonce, r.off)
	if err == nil && (rec.id != id || rec.length != r.length) {
		err = block.ErrCorrupt
	}
	return err
}
