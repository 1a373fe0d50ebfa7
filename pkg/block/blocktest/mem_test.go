package blocktest

import (
	"context"
	"errors"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

func TestMem(t *testing.T) {
	Run(t, func(*testing.T) block.Store { return NewMem() })
}

// TestMemDamage: a damaged block keeps its ID and no longer verifies, and bytes handed out before
// are left alone.
func TestMemDamage(t *testing.T) {
	var m Mem
	b := []byte("some bytes")
	id := block.Sum(block.Raw, b)
	put(t, &m, id, b)
	before, _ := m.Get(context.Background(), id)
	if !m.Damage(id) {
		t.Fatal("a block that is there could not be damaged")
	}
	after, err := m.Get(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Verify(before); err != nil {
		t.Errorf("bytes that were got before changed: %v", err)
	}
	if err := id.Verify(after); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("damaged block verifies: %v", err)
	}
	m.Delete(id)
	if m.Damage(id) || m.Has(id) || m.Len() != 0 {
		t.Error("a deleted block is still there")
	}
}
