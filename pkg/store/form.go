package store

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// codec compresses and decompresses blocks. It is safe for concurrent use; encoders and decoders
// are made when first needed, since each keeps memory of its own.
type codec struct {
	encoders sync.Pool // of *zstd.Encoder
	decoders sync.Pool // of *zstd.Decoder
}

const (
	// savedMin: a block is kept compressed when that saves at least this part of it (DESIGN section 3).
	savedMin = 16
	// compressMin is how many bytes a block has at least that it is tried with. In smaller ones, most of them bodies made of
	// hashes, little is found, at 10 µs each: of the 4445 files of Go's source that have at most 1 KiB, 2.2 MB, zstd saves 0.6.
	compressMin = 512
)

// encode appends the form in which plain is best stored to b, and says which that is.
func (c *codec) encode(b, plain []byte) ([]byte, block.Header, error) {
	h := block.Header{Form: block.FormRaw, PlainLen: uint32(len(plain))}
	if len(plain) < compressMin {
		return append(b, plain...), h, nil
	}
	enc, _ := c.encoders.Get().(*zstd.Encoder)
	if enc == nil {
		var err error
		// The record has a checksum and the ID a hash, so the frame needs none. A window of the
		// largest block is enough; one worker, because callers are parallel themselves.
		enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
			zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(block.ChunkMax))
		if err != nil {
			return nil, h, fmt.Errorf("zstd encoder: %w", err)
		}
	}
	start := len(b)
	b = enc.EncodeAll(plain, b)
	c.encoders.Put(enc)
	if len(b)-start <= len(plain)-len(plain)/savedMin {
		h.Form = block.FormZstd
		return b, h, nil
	}
	return append(b[:start], plain...), h, nil
}

// decode is the plain bytes of a form, exactly as long as the header says, which checkForm has
// bounded. A raw form is returned itself, others are decoded into dst if it has the capacity.
func (c *codec) decode(h block.Header, form, dst []byte) ([]byte, error) {
	if h.Form == block.FormRaw {
		return form, nil
	}
	dec, _ := c.decoders.Get().(*zstd.Decoder)
	if dec == nil {
		var err error
		// WithDecodeAllCapLimit holds the output to the capacity that is given, whatever the frame
		// claims; the window is bounded apart, because it is memory too.
		dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true),
			zstd.WithDecoderMaxWindow(2*block.ChunkMax), zstd.WithDecoderMaxMemory(2*block.ChunkMax))
		if err != nil {
			return nil, fmt.Errorf("zstd decoder: %w", err)
		}
	}
	if cap(dst) < int(h.PlainLen) {
		dst = make([]byte, h.PlainLen)
	}
	plain, err := dec.DecodeAll(form, dst[:0:h.PlainLen])
	c.decoders.Put(dec)
	if err != nil {
		return nil, fmt.Errorf("zstd: %w: %w", err, block.ErrCorrupt)
	}
	if len(plain) != int(h.PlainLen) {
		return nil, fmt.Errorf("zstd: %d plain bytes, header says %d: %w", len(plain), h.PlainLen, block.ErrCorrupt)
	}
	return dst[:len(plain)], nil
}

// open decodes a form, as decode does, and verifies it against the ID.
func (c *codec) open(id block.ID, h block.Header, form, dst []byte) ([]byte, error) {
	plain, err := c.decode(h, form, dst)
	if err != nil {
		return nil, err
	}
	return plain, id.Verify(plain)
}

// buffers lends the memory in which records are built and read.
type buffers struct{ pool sync.Pool }

// get is a buffer of n bytes; its contents are undefined.
func (p *buffers) get(n int) *[]byte {
	b, _ := p.pool.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
	}
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return b
}

func (p *buffers) put(b *[]byte) { p.pool.Put(b) }
