// Package form makes the forms in which blocks are stored and sent, raw or one zstd frame, and opens them.
//
// Its type is Codec. Whoever opens a form gets exactly as many bytes as the header says, whatever a
// hostile frame claims. What a frame holds depends on the encoder's version, so nothing is named by it but
// what is sealed.
package form

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

const (
	// savedMin: a block is kept compressed when that saves at least this part of it (DESIGN section 3).
	savedMin = 16
	// compressMin is how many bytes a block has at least that it is tried with. In smaller ones, most of them bodies made of
	// hashes, little is found, at 10 µs each: of the 4445 files of Go's source that have at most 1 KiB, 2.2 MB, zstd saves 0.6.
	compressMin = 512
	// A large block is tried whole only if one of its samples saves as much, as most do of what can be compressed. The others
	// are compressed files, pictures and the like: to try them whole took a ninth of the time of an import.
	sampleFrom  = 256 << 10 // bytes of a block
	sampleBytes = 16 << 10
	samples     = 4
	// A small block is not tried if some of its bytes look like noise (noisy).
	noiseTo  = 16 << 10 // bytes of a block
	runBytes = 64
	runs     = 8
	// decodeSlack is how many bytes of room behind the last block let the decoder copy 16 bytes at a time (zstd's
	// compressedBlockOverAlloc): of the Go sources' larger files it saves a sixth of the time.
	decodeSlack = 16
)

// Codec compresses and decompresses blocks. The zero value is ready. It is safe for concurrent use; encoders and
// decoders are made when first needed, since each keeps memory of its own.
type Codec struct {
	encoders sync.Pool // of *zstd.Encoder
	decoders sync.Pool // of *zstd.Decoder
}

// Encode appends the form in which plain is best stored to b, and says which that is. The form is never longer than
// plain; on the way up to an eighth more is appended. What is sealed or looks like noise has no shorter form, and is not tried.
func (c *Codec) Encode(b, plain []byte) ([]byte, block.Form, error) {
	if len(plain) < compressMin || block.IsSealed(plain) || len(plain) <= noiseTo && noisy(plain) {
		return append(b, plain...), block.FormRaw, nil
	}
	enc, _ := c.encoders.Get().(*zstd.Encoder)
	if enc == nil {
		var err error
		// The record has a checksum and the ID a hash, so the frame needs none. A window of the
		// largest block is enough; one worker, because callers are parallel themselves.
		enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
			zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(block.ChunkMax))
		if err != nil {
			return nil, 0, fmt.Errorf("zstd encoder: %w", err)
		}
	}
	defer c.encoders.Put(enc)
	start := len(b)
	if len(plain) < sampleFrom || sampleSaves(enc, b, plain) {
		if b = enc.EncodeAll(plain, b); saves(len(b)-start, len(plain)) {
			return b, block.FormZstd, nil
		}
	}
	return append(b[:start], plain...), block.FormRaw, nil
}

// saves says whether a compressed form is small enough to be worth it.
func saves(form, plain int) bool { return form <= plain-plain/savedMin }

// noisy says whether the bytes of a block, which has compressMin at least, are spread as evenly as those of noise, by how often two
// bytes of some runs are equal: in noise 1 pair of 256, in text 15, in lists of CIDs 2. It finds all noise and 97 % of deflated
// files. Of what zstd saves it misses nothing in Go's source, its programs and nodes of CIDs, and 1 % in pieces of 3000 bytes of pictures and archives.
func noisy(plain []byte) bool {
	var counts [256]uint16
	step := (len(plain) - runBytes) / (runs - 1)
	equal := 0
	for i := range runs {
		for _, b := range plain[i*step : i*step+runBytes] {
			equal += int(counts[b])
			counts[b]++
		}
	}
	const pairs = runs * runBytes * (runs*runBytes - 1) / 2
	return 10*256*equal < 13*pairs // 7 standard deviations above what noise has
}

// sampleSaves says whether a part of a large block can be compressed. It uses the room behind b.
func sampleSaves(enc *zstd.Encoder, b, plain []byte) bool {
	for i := range samples {
		at := (len(plain) - sampleBytes) / (samples - 1) * i
		if saves(len(enc.EncodeAll(plain[at:at+sampleBytes], b))-len(b), sampleBytes) {
			return true
		}
	}
	return false
}

// Decode is the plain bytes of a form, exactly as long as the header says, which the caller has bounded.
// A raw form is returned itself, others are decoded into dst if it has the capacity, else into new memory. The error is block.ErrCorrupt.
func (c *Codec) Decode(h block.Header, form, dst []byte) ([]byte, error) {
	if h.Form == block.FormRaw {
		if len(form) != int(h.PlainLen) {
			return nil, fmt.Errorf("raw form of %d bytes, header says %d: %w", len(form), h.PlainLen, block.ErrCorrupt)
		}
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
	room := int(h.PlainLen) + decodeSlack // a frame that fills the slack is one that is too long
	if cap(dst) < int(h.PlainLen) {
		dst = make([]byte, room)
	}
	plain, err := dec.DecodeAll(form, dst[:0:min(room, cap(dst))])
	c.decoders.Put(dec)
	if err != nil {
		return nil, fmt.Errorf("zstd: %w: %w", err, block.ErrCorrupt)
	}
	if len(plain) != int(h.PlainLen) {
		return nil, fmt.Errorf("zstd: %d plain bytes, header says %d: %w", len(plain), h.PlainLen, block.ErrCorrupt)
	}
	return plain, nil
}
