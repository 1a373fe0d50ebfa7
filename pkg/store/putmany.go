package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// putAtOnceBytes is how many bytes of records are appended by one write, or what one block has: a write costs as much as summing 8 KiB, and a small
// block has less.
const putAtOnceBytes = 256 << 10

// PutMany is Put for each of the blocks, which are appended by few writes. After an error some are stored.
func (s *Store) PutMany(ctx context.Context, blocks []block.Block) error {
	for len(blocks) > 0 {
		n, size := 0, int64(0)
		for n < len(blocks) && (n == 0 || size+recordHead+int64(len(blocks[n].Plain)) <= min(putAtOnceBytes, s.o.SegmentBytes/4)) {
			size += recordHead + int64(len(blocks[n].Plain))
			n++
		}
		if err := s.putSome(ctx, blocks[:n], int(size)); err != nil {
			return err
		}
		blocks = blocks[n:]
	}
	return nil
}

// putSome puts what fits into one write; size is that of the records, raw.
func (s *Store) putSome(ctx context.Context, blocks []block.Block, size int) error {
	g := putGroup{s: s, claimed: make([]block.ID, 0, len(blocks)), heads: make([]record, 0, len(blocks))}
	if len(blocks) == 1 {
		g.single = blocks
	} else if err := g.put(ctx, blocks, size); err != nil {
		return err
	}
	for i := range g.single {
		if err := s.Put(ctx, g.single[i].ID, g.single[i].Plain); err != nil {
			return err
		}
	}
	return s.boundUnsynced(ctx)
}

// putGroup is some blocks on their way into the log.
type putGroup struct {
	s       *Store
	claimed []block.ID
	heads   []record
	b       []byte        // the records
	single  []block.Block // those to be put each by itself
}

// put puts the blocks that are new. Those that somebody else changes, that were damaged, or that a full disk may have room for one by one are single.
func (g *putGroup) put(ctx context.Context, blocks []block.Block, size int) error {
	buf := g.s.bufs.get(size + size/8 + 64) // a frame may be longer than the bytes
	defer g.s.bufs.put(buf)
	g.b = (*buf)[:0]
	defer func() {
		*buf = g.b
		for _, id := range g.claimed {
			g.s.claims.release(id)
		}
	}()
	for i := range blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := g.add(ctx, blocks[i]); err != nil {
			return fmt.Errorf("store: put %s: %w", blocks[i].ID, err)
		}
	}
	if len(g.heads) == 0 {
		return nil
	}
	err := g.append(ctx)
	if errors.Is(err, ErrNoSpace) {
		g.single = blocks
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: put %d blocks: %w", len(g.heads), err)
	}
	return nil
}

// add adds a block to what is appended, unless it is there.
func (g *putGroup) add(ctx context.Context, one block.Block) error {
	s := g.s
	switch {
	case one.ID.IsZero() || len(one.Plain) > block.SizeMax(one.ID):
		g.single = append(g.single, one) // Put says what is wrong
		return nil
	case !s.claims.tryClaim(one.ID):
		g.single = append(g.single, one)
		return nil
	}
	g.claimed = append(g.claimed, one.ID)
	old, had, err := s.lookup(one.ID)
	switch {
	case err != nil:
		return err
	case had && old.bad():
		g.single = append(g.single, one)
		return nil
	case had:
		return s.putAgain(ctx, one.ID, old, false)
	}
	start := len(g.b)
	b, h, err := s.codec.encode(append(g.b, make([]byte, recordHead)...), one.Plain)
	if err != nil {
		return err
	}
	g.b = b
	g.heads = append(g.heads, record{kind: kindBlock, id: one.ID, header: h, length: uint32(len(b) - start - recordHead)})
	return nil
}

// append writes the records.
func (g *putGroup) append(ctx context.Context) error {
	s := g.s
	if err := s.makeRoom(ctx, int64(len(g.b)), false); err != nil {
		return err
	}
	return s.appendMany(g.heads, g.b, func(seg uint64) {
		for i := range g.heads {
			h := &g.heads[i]
			s.setRow(h.id, row{}, false, newRow(place{seg, h.off}, *h, block.Fragment{}))
		}
	})
}
