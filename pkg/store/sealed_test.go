package store

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// TestSealedChunk breaks if the largest sealed chunk can't be stored, sent, or found after the index is lost; it is stored as
// it is, although its bytes would compress here.
func TestSealedChunk(t *testing.T) {
	ctx := context.Background()
	fs := vfs.NewMem()
	sealed := block.Header{Scheme: block.SchemeSealed, KeyID: 7, PlainLen: block.ChunkMax}.Append(nil)
	sealed = append(sealed, make([]byte, block.ChunkMax)...)
	tail := make([]byte, block.ChunkMax+block.SealOverhead-len(sealed))
	_, _ = rand.NewChaCha8([32]byte{1}).Read(tail) // it never fails
	sealed = append(sealed, tail...)
	id := block.Sum(block.Raw, sealed)

	s := openAt(t, fs, Options{})
	if err := s.Put(ctx, id, sealed); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	wire, err := s.Wire(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := block.ParseHeader(wire); err != nil || h.Form != block.FormRaw || len(wire) != block.HeaderLen+len(sealed) {
		t.Errorf("sent as %+v, %d bytes, %v", h, len(wire), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := fs.RemoveAll(testDir + "/index"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, fs, Options{})
	if got, err := s.Get(ctx, id); err != nil || !bytes.Equal(got, sealed) {
		t.Errorf("%d bytes back, %v", len(got), err)
	}
	other := openAt(t, vfs.NewMem(), Options{})
	if err := other.PutWire(ctx, id, wire, false); err != nil {
		t.Errorf("another pod: %v", err)
	}
}
