package pod

import (
	"context"
	"fmt"
	"sync"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
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

// chunkAt is where a body has the byte at off. Error: vfs.ErrNotSupported, if that is in no chunk.
func (p *Pod) chunkAt(ctx context.Context, b dag.Body, off uint64) (dag.Placed, error) {
	placed, err := dag.Range(ctx, blocks{p}, b, off, 1)
	if err == nil && (len(placed) != 1 || placed[0].IsHole()) {
		err = fmt.Errorf("pod: no chunk at %d: %w", off, vfs.ErrNotSupported)
	}
	if err != nil {
		return dag.Placed{}, err
	}
	return placed[0], nil
}

// partOf is what an entry says of its chunk. What is lent with it, if it is not nil, the caller gives back.
func partOf(ctx context.Context, get block.Getter, e dag.Entry) (part []byte, lent *cached, err error) {
	var chunk []byte
	if all, lends := get.(blocks); lends {
		chunk, lent, err = all.p.lendBlock(ctx, e.ID)
	} else {
		chunk, err = get.Get(ctx, e.ID)
	}
	if err != nil {
		return nil, nil, err
	}
	if uint64(e.Skip)+e.Len > uint64(len(chunk)) {
		giveBack(lent)
		return nil, nil, fmt.Errorf("pod: bytes %d to %d of chunk %s of %d bytes: %w", e.Skip, uint64(e.Skip)+e.Len, e.ID, len(chunk), block.ErrCorrupt)
	}
	return chunk[e.Skip:][:e.Len], lent, nil
}

func giveBack(lent *cached) {
	if lent != nil {
		lent.GiveBack()
	}
}

func readBody(ctx context.Context, get block.Getter, b dag.Body, data []byte, off uint64) error {
	filled := 0 // bytes of data that are the body's already
	defer func() { clear(data[filled:]) }()
	if b.Inline != nil {
		if off < uint64(len(b.Inline)) {
			filled = copy(data, b.Inline[off:])
		}
		return nil
	}
	if off >= b.Size {
		return nil
	}
	within := data[:min(uint64(len(data)), b.Size-off)]
	buf := placedBuffers.Get().(*[]dag.Placed) //nolint:errcheck,forcetypeassert // the pool has only these
	defer placedBuffers.Put(buf)
	placed, err := dag.AppendRange(ctx, get, (*buf)[:0], b, off, uint64(len(within)))
	if err != nil {
		return err
	}
	keepPlaced(buf, placed)
	for _, e := range placed {
		if e.ID.IsZero() {
			continue
		}
		part, lent, err := partOf(ctx, get, e.Entry)
		if err != nil {
			return err
		}
		at := 0
		if e.Off < off {
			part = part[off-e.Off:]
		} else {
			at = int(e.Off - off)
		}
		if at > filled {
			clear(within[filled:at])
		}
		filled = max(filled, at+copy(within[at:], part))
		giveBack(lent)
	}
	return nil
}
