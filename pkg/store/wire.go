package store

import (
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// OpenWire is the plain bytes of a block as Wire sends it, verified against its ID. Those of a raw form are part of wire.
// The error is block.ErrCorrupt.
func (s *Store) OpenWire(id block.ID, wire []byte) ([]byte, error) {
	h, err := block.ParseHeader(wire)
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", id, err)
	}
	form := wire[block.HeaderLen:]
	if err := checkForm(id, h, int64(len(form))); err != nil {
		return nil, fmt.Errorf("store: open %s: %w", id, err)
	}
	plain, err := s.codec.open(id, h, form, nil)
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", id, err)
	}
	return plain, nil
}
