package pod

import (
	"context"
	"fmt"
	"sync"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
)

// placedKept is how many entries the memory for them is kept for, at most.
const placedKept = 1024

// placedBuffers are for the entries that a read overlaps.
var placedBuffers = sync.Pool{New: func() any { return new([]dag.Placed) }}

// keepPlaced has memory that grew used again.
func keepPlaced(buf *[]dag.Placed, placed []dag.Placed) {
	if len(placed) <= placedKept {
		*buf = placed
	}
}

// readBody fills data with a body's bytes at off; holes, and what lies behind the body, are zero.
func (p *Pod) readBody(ctx context.Context, b dag.Body, data []byte, off uint64) error {
	p.pace.NoteRead(int64(len(data)))
	return readBody(ctx, blocks{p}, b, data, off)
}

func readBody(ctx context.Context, get block.Getter, b dag.Body, data []byte, off uint64) error {
	clear(data)
	if b.Inline != nil {
		if off < uint64(len(b.Inline)) {
			copy(data, b.Inline[off:])
		}
		return nil
	}
	if off >= b.Size {
		return nil
	}
	data = data[:min(uint64(len(data)), b.Size-off)]
	buf := placedBuffers.Get().(*[]dag.Placed) //nolint:errcheck,forcetypeassert // the pool has only these
	defer placedBuffers.Put(buf)
	placed, err := dag.AppendRange(ctx, get, (*buf)[:0], b, off, uint64(len(data)))
	if err != nil {
		return err
	}
	keepPlaced(buf, placed)
	for _, e := range placed {
		if e.ID.IsZero() {
			continue
		}
		chunk, err := get.Get(ctx, e.ID)
		if err != nil {
			return err
		}
		if uint64(e.Skip)+e.Len > uint64(len(chunk)) {
			return fmt.Errorf("pod: bytes %d to %d of chunk %s of %d bytes: %w", e.Skip, uint64(e.Skip)+e.Len, e.ID, len(chunk), block.ErrCorrupt)
		}
		part := chunk[e.Skip:][:e.Len]
		if e.Off < off {
			copy(data, part[off-e.Off:])
		} else {
			copy(data[e.Off-off:], part)
		}
	}
	return nil
}
