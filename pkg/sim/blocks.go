package sim

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// blocks keeps blocks in memory: those that were not synced are lost with the power.
type blocks struct {
	mu     sync.Mutex // guards the fields below
	synced map[block.ID][]byte
	fresh  map[block.ID][]byte
}

var _ block.Store = (*blocks)(nil)

func newBlocks() *blocks {
	return &blocks{synced: map[block.ID][]byte{}, fresh: map[block.ID][]byte{}}
}

// Get is block.Getter's.
func (s *blocks) Get(_ context.Context, id block.ID) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.synced[id]
	if !ok {
		b, ok = s.fresh[id]
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w", id, block.ErrNotFound)
	}
	return b, nil
}

// Put is block.Putter's.
func (s *blocks) Put(_ context.Context, id block.ID, plain []byte) error {
	if err := id.Verify(plain); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.synced[id] == nil {
		s.fresh[id] = bytes.Clone(plain)
	}
	return nil
}

// sync makes durable what was put.
func (s *blocks) sync() {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.synced, s.fresh)
	clear(s.fresh)
}

// fail loses what was not synced; all loses everything.
func (s *blocks) fail(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.fresh)
	if all {
		clear(s.synced)
	}
}

// copy is a copy of what is durable.
func (s *blocks) copy() *blocks {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := newBlocks()
	maps.Copy(out.synced, s.synced)
	return out
}
