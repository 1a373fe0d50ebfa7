package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// missesMax bounds how many blocks one step is given, one after the other: the paths of two places in a body's tree are far fewer.
const missesMax = 256

// errMisses says that a step wanted ever more blocks.
var errMisses = fmt.Errorf("pod: more than %d blocks are missing for one step: %w", missesMax, block.ErrUnavailable)

// missing says that a step that holds a file's lock wants a block that is neither in memory nor on this disk. It is on its way then.
type missing struct{ id block.ID }

// Error is error's.
func (m missing) Error() string { return fmt.Sprintf("block %s is not here", m.id) }

// Unwrap makes it a block.ErrUnavailable.
func (m missing) Unwrap() error { return block.ErrUnavailable }

// here is the pod's blocks for who holds a file's lock: it never waits for another pod, so that a slow one stops nobody who
// looks at the file, and no pass of the barrier. What was missing before may be given.
type here struct {
	p     *Pod
	given map[block.ID][]byte
}

// Get is block.Getter's. Error: missing.
func (h here) Get(ctx context.Context, id block.ID) ([]byte, error) {
	if plain, ok := h.given[id]; ok {
		return plain, nil
	}
	plain, load, first := h.p.chunks.get(id, true)
	switch {
	case load == nil:
		return plain, nil
	case !first:
		return nil, missing{id}
	}
	plain, err := h.p.readHere(ctx, id)
	if err == nil {
		h.p.chunks.finish(load, plain, nil)
		return plain, nil
	}
	h.p.loadElsewhere(ctx, load)
	return nil, missing{id}
}

// Put is block.Putter's.
func (h here) Put(ctx context.Context, id block.ID, plain []byte) error {
	return h.p.put(ctx, id, plain)
}

// readHere reads a block from this disk.
func (p *Pod) readHere(ctx context.Context, id block.ID) ([]byte, error) {
	plain, err := p.store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return p.seal.Load().open(id, plain)
}

// locked does a step with a node's lock held. If blocks are missing it gets them without the lock, and does the step again: a step that
// fails must have changed nothing that a second one would not do alike.
func (p *Pod) locked(ctx context.Context, n *node, step func(h here) error) error {
	h := here{p: p}
	for range missesMax {
		err := n.lockedHere(ctx, func() error { return step(h) })
		m, isMissing := errors.AsType[missing](err)
		if !isMissing {
			return err
		}
		plain, err := p.getBlock(ctx, m.id)
		if err != nil {
			return err
		}
		if h.given == nil {
			h.given = make(map[block.ID][]byte)
		}
		h.given[m.id] = plain
	}
	return errMisses
}
