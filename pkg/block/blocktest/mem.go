// Package blocktest helps to test what holds or uses blocks: Run is the conformance suite of
// block.Store, Mem a store in memory for the tests of other packages.
package blocktest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Mem is a block.Store in memory. The zero value is empty and ready; it must not be copied after
// its first use. It is stricter than Putter asks for: Put verifies the bytes against the ID, so
// that a test finds a wrong ID where it was made. It is safe for concurrent use.
type Mem struct {
	mu     sync.RWMutex // guards the fields below
	blocks map[block.ID][]byte
	puts   int
}

var _ block.Store = (*Mem)(nil)

// NewMem is an empty Mem.
func NewMem() *Mem { return &Mem{} }

// Get returns the block's bytes, shared, or ErrNotFound.
func (m *Mem) Get(ctx context.Context, id block.ID) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	b, ok := m.blocks[id]
	if !ok {
		return nil, fmt.Errorf("blocktest: get %s: %w", id, block.ErrNotFound)
	}
	return b, nil
}

// Put stores a copy of plain. Bytes that are too many or not what the ID names are ErrCorrupt.
func (m *Mem) Put(ctx context.Context, id block.ID, plain []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(plain) > block.SizeMax(id) {
		return fmt.Errorf("blocktest: put %s: %d bytes, over the limit of %d: %w",
			id, len(plain), block.SizeMax(id), block.ErrCorrupt)
	}
	if err := id.Verify(plain); err != nil {
		return fmt.Errorf("blocktest: put: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts++
	if _, ok := m.blocks[id]; ok {
		return nil
	}
	if m.blocks == nil {
		m.blocks = make(map[block.ID][]byte)
	}
	m.blocks[id] = append(make([]byte, 0, len(plain)), plain...)
	return nil
}

// Delete forgets a block; one that is not there is no error.
func (m *Mem) Delete(id block.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blocks, id)
}

// Damage flips a bit of a block that is there and not empty, without changing its ID: what Get
// returns then must be refused by whoever reads it. It says whether it could.
func (m *Mem) Damage(id block.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.blocks[id]
	if len(b) == 0 {
		return false
	}
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	m.blocks[id] = b
	return true
}

// Has says whether a block is there.
func (m *Mem) Has(id block.ID) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, ok := m.blocks[id]
	return ok
}

// Len is the number of blocks.
func (m *Mem) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.blocks)
}

// Puts is the number of Puts that succeeded so far, those of blocks that were there included.
func (m *Mem) Puts() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.puts
}

// IDs lists the blocks in the order of their IDs; the caller owns the slice.
func (m *Mem) IDs() []block.ID {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.SortedFunc(maps.Keys(m.blocks), block.ID.Compare)
}
