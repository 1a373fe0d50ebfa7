package erasure

import (
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"
	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Codec cuts, joins and rebuilds. The zero value is ready. It keeps one encoder for each (k, m) that it met, of k*m bytes and their tables: with
// FragmentsMax there are 2016 of them at most.
type Codec struct {
	mu       sync.Mutex // guards encoders
	encoders map[[2]uint8]reedsolomon.Encoder
}

// encoder is the encoder for k and m, which are within the limits.
func (c *Codec) encoder(k, m uint8) (reedsolomon.Encoder, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if enc := c.encoders[[2]uint8{k, m}]; enc != nil {
		return enc, nil
	}
	// No option here may change the matrix: it is part of the format. Callers are parallel themselves, and inverted matrices are not kept:
	// there is one for each set of lost fragments, and to invert one takes microseconds.
	enc, err := reedsolomon.New(int(k), int(m), reedsolomon.WithMaxGoroutines(1), reedsolomon.WithInversionCache(false))
	if err != nil {
		return nil, fmt.Errorf("erasure: %d+%d: %w", k, m, err)
	}
	if c.encoders == nil {
		c.encoders = make(map[[2]uint8]reedsolomon.Encoder)
	}
	c.encoders[[2]uint8{k, m}] = enc
	return enc, nil
}

// Cut fills s with all fragments of the form of a block, and their record. k and m are within the limits of block.Stripe; the form, header
// included, may have from block.HeaderLen bytes to block.HeaderLen+block.SizeMax(id). That it is worth it (block.FragmentedMin) is for the
// caller to see to. Bytes that s.Room lent are cut where they are, others are copied.
//
// Errors: block.ErrBadID for k and m, block.ErrCorrupt for the length.
func (c *Codec) Cut(s *Set, id block.ID, form []byte, k, m int) error {
	if k < 1 || m < 1 || k+m > block.FragmentsMax {
		return fmt.Errorf("erasure: cut %s into %d+%d: %w", id, k, m, block.ErrBadID)
	}
	if len(form) < block.HeaderLen || len(form) > block.HeaderLen+block.SizeMax(id) {
		return fmt.Errorf("erasure: cut %s of %d bytes: %w", id, len(form), block.ErrCorrupt)
	}
	stripe := block.Stripe{ID: id, Form: blake3.Sum256(form), K: uint8(k), M: uint8(m)}
	s.lay(stripe, len(form))
	copy(s.buf, form)
	return c.encode(s)
}

// encode makes the parity and the record of the form that stands in s.
func (c *Codec) encode(s *Set) error {
	if err := c.parity(s); err != nil {
		return err
	}
	s.record.Digests = s.record.Digests[:0]
	for i, shard := range s.shards {
		s.record.Digests = append(s.record.Digests, blake3.Sum256(shard))
		s.have[i] = true
	}
	return nil
}

// parity makes the parity of the form that stands in s.
func (c *Codec) parity(s *Set) error {
	enc, err := c.encoder(s.record.K, s.record.M)
	if err != nil {
		return err
	}
	clear(s.buf[s.record.FormLen : len(s.shards[0])*int(s.record.K)])
	if err := enc.Encode(s.shards); err != nil {
		return fmt.Errorf("erasure: encode %s: %w", s.record.Stripe, err)
	}
	return nil
}

// Join is the form, header included, of what s has: k fragments at least. It has the digest in the stripe's name; that it is the block of the ID,
// the caller checks. It is memory of s, valid until s is used again.
//
// Errors: block.ErrNotFound for fewer than k fragments, and block.ErrCorrupt when the form has another digest: then the record lied, or
// fragments with it, and s can't be used any more.
func (c *Codec) Join(s *Set) ([]byte, error) {
	if s.Have() < int(s.record.K) {
		return nil, fmt.Errorf("erasure: join %s: %d fragments of %d: %w", s.record.Stripe, s.Have(), s.record.K, block.ErrNotFound)
	}
	if err := c.reconstruct(s); err != nil {
		return nil, err
	}
	form := s.buf[:s.record.FormLen:s.record.FormLen]
	if blake3.Sum256(form) != s.record.Form {
		return nil, fmt.Errorf("erasure: join %s: the digest of the form differs: %w", s.record.Stripe, block.ErrCorrupt)
	}
	return form, nil
}

// reconstruct makes the data again that s lacks, of k fragments that it has.
func (c *Codec) reconstruct(s *Set) error {
	enc, err := c.encoder(s.record.K, s.record.M)
	if err != nil {
		return err
	}
	// Reconstruct takes an empty slice for a fragment that is missing, and its room from the capacity.
	parts := make([][]byte, len(s.shards))
	for i, shard := range s.shards {
		if parts[i] = shard; !s.have[i] {
			parts[i] = shard[:0:len(shard)]
		}
	}
	if err := enc.ReconstructData(parts); err != nil {
		return fmt.Errorf("erasure: join %s: %w", s.record.Stripe, err)
	}
	return nil
}

// Rebuild makes all fragments again out of those that s has, k at least. First the whole form is joined, its digest compared, and verify asked: it
// returns an error unless the form is the block of the stripe's ID. Only then s has more than it had. The record is made anew too,
// since the one that came with the fragments was a hint.
//
// Errors: those of Join, and that of verify.
func (c *Codec) Rebuild(s *Set, verify func(form []byte) error) error {
	form, err := c.Join(s)
	if err != nil {
		return err
	}
	if err := verify(form); err != nil {
		return fmt.Errorf("erasure: rebuild %s: %w", s.record.Stripe, err)
	}
	return c.encode(s)
}
