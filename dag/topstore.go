package dag

import (
	"bytes"
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// topStore lets the functions of maps work on the map of a folder's entries, whose top node is no block
// of its own but stands in the folder's. It serves the old top node, and holds back the newest node that was
// put, because the last one put is the new top. It is used by one goroutine.
type topStore struct {
	get  block.Getter
	put  block.Putter
	top  block.ID // of the old top node; zero: there is none
	data []byte   // the old top node

	held     block.ID
	heldData []byte
}

// Get implements block.Getter.
func (s *topStore) Get(ctx context.Context, id block.ID) ([]byte, error) {
	switch {
	case id.IsZero():
	case id == s.top:
		return s.data, nil
	case id == s.held:
		return s.heldData, nil
	}
	if s.get == nil {
		return nil, fmt.Errorf("dag: get node %s: %w", id, block.ErrNotFound)
	}
	return s.get.Get(ctx, id)
}

// Put implements block.Putter.
func (s *topStore) Put(ctx context.Context, id block.ID, plain []byte) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	s.held, s.heldData = id, bytes.Clone(plain)
	return nil
}

// flush puts the node that is held back.
func (s *topStore) flush(ctx context.Context) error {
	if s.held.IsZero() {
		return nil
	}
	id, data := s.held, s.heldData
	s.held, s.heldData = block.ID{}, nil
	return s.put.Put(ctx, id, data)
}

// takeTop is the top node of the map with this root. When a map has shrunk, that can be a node of the old one.
func (s *topStore) takeTop(ctx context.Context, root block.ID) ([]byte, error) {
	if root.IsZero() {
		return nil, s.flush(ctx)
	}
	data, err := s.Get(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("dag: get node %s: %w", root, err)
	}
	if root == s.held {
		return data, nil
	}
	return data, s.flush(ctx)
}

// loadTop is the map of a folder's entries; a zero ID is an empty folder.
func loadTop(ctx context.Context, get block.Getter, id block.ID) (*topStore, error) {
	if id.IsZero() {
		return &topStore{get: get}, nil
	}
	_, tops, err := loadFolder(ctx, get, id)
	return tops, err
}
