package store

import (
	"context"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// TestEachPages breaks if a store with more blocks than are read at once is listed wrongly.
func TestEachPages(t *testing.T) {
	s, err := Open(vfs.NewMem(), "s", Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[block.ID]bool)
	for i := range 3*eachPage + 7 {
		data := fmt.Appendf(nil, "block %d", i)
		id := block.Sum(block.Raw, data)
		if err := s.Put(t.Context(), id, data); err != nil {
			t.Fatal(err)
		}
		want[id] = true
		if i == 2*eachPage {
			if err := s.Sync(t.Context()); err != nil { // some in the index, some not yet
				t.Fatal(err)
			}
		}
	}
	last := block.ID{}
	err = s.Each(context.Background(), func(id block.ID, _ int64, _ bool) error {
		if !want[id] || id.Compare(last) <= 0 {
			t.Errorf("%s is listed twice, out of order, or unknown", id)
		}
		delete(want, id)
		last = id
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("each: %v; %d blocks are missing", err, len(want))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
