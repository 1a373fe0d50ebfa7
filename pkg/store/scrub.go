package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Scrubbed is what one call of Scrub did.
type Scrubbed struct {
	Next   string // the cursor to go on with; "" when Done
	Bytes  int64  // read
	Blocks int    // verified
	Done   bool   // the end of the log was reached
}

// Scrub verifies blocks as Check does, from a cursor on, until about maxBytes were read, at least one record's. A cursor is
// a place in the log, as text; "" is its start, and so is one that can't be read. What was damaged is set aside, and told
// to f, which may call the store. Bytes that are no records are told as Garbage, when no crash explains them.
//
// It holds up nobody; what is appended to a segment after Scrub came to it waits for the next time, a segment that was
// removed is passed over. What the index names and no segment has is found by reading it, or by Check.
// The error says that it could not go on, not that there is damage; Scrubbed tells how far it came all the same.
func (s *Store) Scrub(ctx context.Context, from string, maxBytes int64, f func(Problem)) (Scrubbed, error) {
	at := s.parseCursor(from)
	sc := scrub{s: s, report: f, left: maxBytes}
	for {
		g, end := s.segmentFrom(at.seg)
		if g == nil {
			sc.done.Done = true
			return sc.done, nil
		}
		if g.num != at.seg {
			at = place{seg: g.num}
		}
		off, err := sc.segment(ctx, g, at.off, end)
		_ = g.release() // nothing was written
		if err != nil {
			sc.done.Next = cursor(place{g.num, off})
			return sc.done, fmt.Errorf("store: scrub segment %d: %w", g.num, err)
		}
		if off < end {
			sc.done.Next = cursor(place{g.num, off})
			return sc.done, nil
		}
		at = place{seg: g.num + 1}
	}
}

func cursor(at place) string { return fmt.Sprintf("%d:%d", at.seg, at.off) }

// parseCursor is the inverse of cursor.
func (s *Store) parseCursor(text string) place {
	if text == "" {
		return place{}
	}
	num, off, _ := strings.Cut(text, ":")
	at, err := place{}, error(nil)
	if at.seg, err = strconv.ParseUint(num, 10, 64); err == nil {
		at.off, err = strconv.ParseInt(off, 10, 64)
	}
	if err != nil || at.off < 0 {
		s.o.Log.Warn("store is scrubbed from the start: the cursor can't be read", "cursor", text)
		return place{}
	}
	return at
}

// segmentFrom acquires the first segment whose number is at least num, and says where it ends now; nil: there is none.
func (s *Store) segmentFrom(num uint64) (*segment, int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, g := range s.sortedSegments() {
		if g.num >= num && g.acquire() {
			return g, g.end
		}
	}
	return nil, 0
}

// scrub is one run of Scrub.
type scrub struct {
	s      *Store
	report func(Problem)
	left   int64 // bytes it may still read
	done   Scrubbed
}

// segment verifies records of a segment and says where to go on: at end, when there is no more.
func (sc *scrub) segment(ctx context.Context, g *segment, from, end int64) (int64, error) {
	scan := scanner{r: g.file, nonce: g.nonce, off: from, end: end}
	for off := from; ; off = scan.off {
		if err := ctx.Err(); err != nil {
			return off, err
		}
		if sc.left <= 0 && sc.done.Bytes > 0 || off >= end {
			return off, nil
		}
		r, gap, err := scan.next()
		if gap.from < gap.to {
			sc.read(gap.to - gap.from)
			if err := sc.gap(ctx, g, gap); err != nil {
				return off, err
			}
		}
		if errors.Is(err, io.EOF) {
			return max(off, end), nil
		}
		if err == nil {
			err = sc.record(ctx, g, r)
		}
		if err != nil {
			return off, err
		}
	}
}

func (sc *scrub) read(n int64) {
	sc.done.Bytes += n
	sc.left -= n
}

// record verifies a record: a block that the index names there, or a mark.
func (sc *scrub) record(ctx context.Context, g *segment, r record) error {
	if !r.kind.isBlock() {
		sc.read(r.size())
		bad := sc.s.checkRecord(g, r)
		if !errors.Is(bad, block.ErrCorrupt) {
			return bad
		}
		return sc.garbage(ctx, g, span{r.off, r.end()})
	}
	now, ok, err := sc.s.lookup(r.id)
	if err != nil || !ok || now.place != (place{g.num, r.off}) || now.bad() {
		sc.read(recordHead)
		return err
	}
	return sc.block(ctx, r.id, now)
}

// block reads a block, and tells of it when it is damaged.
func (sc *scrub) block(ctx context.Context, id block.ID, r row) error {
	sc.read(r.size())
	sc.done.Blocks++
	err := sc.s.verify(ctx, id)
	switch {
	case err == nil, errors.Is(err, block.ErrNotFound): // it may be deleted meanwhile
		return nil
	case ctx.Err() != nil, errors.Is(err, ErrClosed):
		return err
	}
	// One that can't be read for another reason is not set aside.
	sc.report(Problem{Kind: Damaged, ID: id, Cached: r.cached(), Segment: r.seg, Offset: r.off, Bytes: r.size(), Err: err})
	return nil
}

// gap verifies the blocks that the index names in bytes that are no records: their heads are damaged. Then it tells of the
// bytes.
func (sc *scrub) gap(ctx context.Context, g *segment, gap span) error {
	err := sc.s.eachRow(ctx, func(id block.ID, r row) error {
		if r.seg != g.num || r.off < gap.from || r.off >= gap.to || r.bad() {
			return nil
		}
		return sc.block(ctx, id, r)
	})
	if err != nil {
		return err
	}
	return sc.garbage(ctx, g, gap)
}

// garbage tells of bytes that are no records, if no cut of the log speaks of them. Such bytes are rare, so that all the
// heads of the log may be read for it.
func (sc *scrub) garbage(ctx context.Context, g *segment, gap span) error {
	c := check{s: sc.s, ends: make(map[uint64]int64)}
	err := c.log(ctx, func(_ context.Context, g *segment, r record) error {
		if r.kind != kindCut {
			return nil
		}
		return c.cut(g, r)
	})
	if err != nil {
		return err
	}
	p := Problem{Kind: Garbage, Segment: g.num, Offset: gap.from, Bytes: gap.to - gap.from}
	if !c.isCut(p) {
		sc.report(p)
	}
	return nil
}
