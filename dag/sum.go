package dag

import (
	"encoding/binary"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// SumHasher computes a body's Sum while it is written in order: keyed BLAKE3 over, for each chunk, its
// length in bytes (8 bytes, big-endian) and the BLAKE3-256 of its plain bytes (32 bytes). Equal
// sums under one key say that two bodies hold the same bytes, cut at the same places. It is used by one goroutine.
type SumHasher struct{ h *blake3.Hasher }

// NewSum begins a sum under a network's key.
func NewSum(key [32]byte) *SumHasher {
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic("dag: a key of 32 bytes was refused: " + err.Error())
	}
	return &SumHasher{h: h}
}

// Add adds the next chunk: its length in bytes, and the ID of its plain bytes.
func (s *SumHasher) Add(length uint64, plain block.ID) {
	var b [8 + block.HashLen]byte
	binary.BigEndian.PutUint64(b[:], length)
	hash := plain.Hash()
	copy(b[8:], hash[:])
	// A Hasher's Write never fails.
	_, _ = s.h.Write(b[:])
}

// Reset begins a new sum under the same key.
func (s *SumHasher) Reset() { s.h.Reset() }

// Sum is the sum of what was added so far.
func (s *SumHasher) Sum() [32]byte {
	var out [32]byte
	s.h.Sum(out[:0])
	return out
}
