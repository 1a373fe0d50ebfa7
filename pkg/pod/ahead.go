package pod

import (
	"context"
	"sync"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

const (
	aheadWindow  = 8 << 20  // bytes that are read ahead of a sequential reader: two of the largest chunks
	aheadWide    = 16 << 20 // and of one that has read so many in order, if no other reader has so many ahead: all must fit into plainCacheBytes
	aheadWorkers = 6        // each waits for one block. With two a reader of another pod's file was kept waiting for a tenth of the time, with four one that has aheadWide
	aheadQueue   = 64       // blocks that wait to be read ahead; more are left to the reader
)

// ahead follows the reads of one open file, and has blocks read that a sequential reader will want next.
type ahead struct {
	mu   sync.Mutex
	next int64 // where a sequential read would go on
	to   int64 // read ahead up to here
	run  int64 // bytes that were read in order
	done bool  // the file is closed
}

// aheadBlock is a block to be read ahead.
type aheadBlock struct {
	id    block.ID
	reuse vfs.Reuse
}

// readAhead notes a read of n bytes at off.
func (p *Pod) readAhead(ctx context.Context, a *ahead, body dag.Body, off, n int64) {
	if body.Inline != nil || body.Size <= uint64(n) {
		return
	}
	a.mu.Lock()
	sequential := off == a.next && off > 0
	a.next = off + n
	if !sequential {
		a.to, a.run = a.next, 0
		a.mu.Unlock()
		p.endAhead(a)
		return
	}
	a.run += n
	// By halves: block by block the programs on both sides would wake each other for each of them.
	step := p.window(ctx, a) / 2
	from := max(a.to, a.next)
	if from-a.next >= step || uint64(from) >= body.Size {
		a.mu.Unlock()
		return // enough is under way
	}
	a.to = from + step
	a.mu.Unlock()

	buf := placedBuffers.Get().(*[]dag.Placed) //nolint:errcheck,forcetypeassert // the pool has only these
	defer placedBuffers.Put(buf)
	placed, err := dag.AppendRange(ctx, blocks{p}, (*buf)[:0], body, uint64(from), uint64(min(step, int64(body.Size)-from)))
	if err != nil {
		return // the reader will meet the error itself
	}
	keepPlaced(buf, placed)
	reuse := vfs.ReuseOf(ctx)
	for _, e := range placed {
		if e.IsHole() {
			continue
		}
		select {
		case p.aheads <- aheadBlock{e.ID, reuse}:
		default:
			return
		}
	}
}

// window is how many bytes are read ahead of a reader. What is read often stays in memory as it is read, and would take the place of what is ahead.
func (p *Pod) window(ctx context.Context, a *ahead) int64 {
	if a.run >= aheadWide && !a.done && vfs.ReuseOf(ctx) != vfs.ReadOften && (p.wide.Load() == a || p.wide.CompareAndSwap(nil, a)) {
		return aheadWide
	}
	return aheadWindow
}

// endAhead lets another reader have aheadWide.
func (p *Pod) endAhead(a *ahead) { p.wide.CompareAndSwap(a, nil) }

// closeAhead is endAhead of a file that is closed: a read that is under way doesn't take it again.
func (p *Pod) closeAhead(a *ahead) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done = true
	p.endAhead(a)
}

// runAhead reads blocks into memory before they are asked for.
func (p *Pod) runAhead(ctx context.Context) error {
	for {
		var b aheadBlock
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b = <-p.aheads:
		}
		_, lent, err := p.lendBlock(vfs.WithReuse(ctx, b.reuse), b.id)
		if err != nil {
			p.log.DebugContext(ctx, "a block could not be read ahead", "block", b.id, "err", err)
			continue
		}
		lent.GiveBack()
	}
}
