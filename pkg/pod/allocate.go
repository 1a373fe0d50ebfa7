package pod

import (
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// punchUnit is the least that becomes a hole, in bytes: smaller parts of a range are written as zeros, so that punches here and there don't cut a
// body into crumbs. Disks do the same by their block size.
const punchUnit = 4 << 10

var _ vfs.Allocator = (*file)(nil)

// Allocate is vfs.Allocator's. Blocks are never changed in place, so no room can be kept for a range: what is asked is whether
// there is room now.
func (f *file) Allocate(ctx context.Context, off, length int64, flags vfs.AllocFlag) error {
	if err := vfs.CheckAllocate(off, length, flags); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	if err := f.p.changeable(f.n.id); err != nil {
		return err
	}
	f.writing()
	return f.p.locked(ctx, f.n, func(h here) error { return f.p.allocateLocked(ctx, h, f.n, off, off+length, flags) })
}

func (p *Pod) allocateLocked(ctx context.Context, h here, n *node, off, end int64, flags vfs.AllocFlag) error {
	size := int64(n.attr.Size)
	if flags&(vfs.AllocPunch|vfs.AllocZero) != 0 {
		if err := p.punchLocked(ctx, h, n, off, min(end, size)); err != nil {
			return err
		}
	} else if need := end - max(size, off); need > p.store.Usage().FreeBytes {
		return fmt.Errorf("pod: allocate %d bytes: %w", need, vfs.ErrNoSpace)
	}
	if end > size && flags&vfs.AllocKeepSize == 0 {
		return p.truncateLocked(ctx, h, n, uint64(end))
	}
	if flags != vfs.AllocKeepSize {
		p.touchLocked(n)
	}
	return nil
}

// punchLocked makes [off, end), which lies within the file, read as zeros: a hole, but for parts of a punchUnit at its ends.
func (p *Pod) punchLocked(ctx context.Context, h here, n *node, off, end int64) error {
	if off >= end {
		return nil
	}
	from := (off + punchUnit - 1) / punchUnit * punchUnit
	to := end / punchUnit * punchUnit
	if end == int64(n.attr.Size) {
		to = end // what follows is no data
	}
	if from >= to {
		return p.writeLocked(ctx, h, n, make([]byte, end-off), off)
	}
	for _, part := range []span{{off, from}, {to, end}} {
		if part.off < part.end {
			if err := p.writeLocked(ctx, h, n, make([]byte, part.end-part.off), part.off); err != nil {
				return err
			}
		}
	}
	p.noteLocked(n)
	body := n.body
	if lo, hi := uint64(from), min(uint64(to), body.Size); lo < hi {
		var err error
		if body, err = dag.Splice(ctx, h, body, lo, hi-lo, []dag.Entry{{Len: hi - lo}}, body.Size); err != nil {
			return fmt.Errorf("pod: file %d: punch a hole: %w", n.id, err)
		}
	}
	n.body, n.fresh.some, n.fresh.beyond = body, true, true // a journal record can't say a hole
	p.changeLocked(n, func(x *extents) { x.punch(from, to) })
	p.touchLocked(n)
	return nil
}

// touchLocked notes that the file's contents changed now.
func (p *Pod) touchLocked(n *node) {
	n.fresh.some = true
	n.attr.Blocks = n.blocks()
	n.attr.Mtime = p.clock.Now().UnixNano()
	n.attr.Ctime, n.dirty = p.db.Tick(), true
}
