package block

import (
	"encoding/binary"
	"fmt"
)

// Form says how a block's plain bytes are stored.
type Form byte

// The forms in use.
const (
	FormRaw  Form = 0 // as they are
	FormZstd Form = 1 // one zstd frame
)

// HeaderLen is the length of an encoded Header in bytes.
const HeaderLen = 16

const (
	headerMagic   = "whb"
	headerVersion = 1
)

// Header says how a block is stored or sent; it stands before the stored form, outside the bytes
// that the ID names (scheme 0). Encoded, 16 bytes, integers big-endian:
//
//	0  "whb"        magic
//	3  u8           version, 1
//	4  u8           scheme: 0 plain network (no encryption)
//	5  u8           form
//	6  u16          zero
//	8  u32          key id: 0 on scheme 0
//	12 u32          plain length in bytes
type Header struct {
	Scheme   byte
	Form     Form
	KeyID    uint32
	PlainLen uint32 // bytes
}

// Append appends the encoded header to b.
func (h Header) Append(b []byte) []byte {
	b = append(b, headerMagic...)
	b = append(b, headerVersion, h.Scheme, byte(h.Form), 0, 0)
	b = binary.BigEndian.AppendUint32(b, h.KeyID)
	return binary.BigEndian.AppendUint32(b, h.PlainLen)
}

// ParseHeader reads the header at the start of b; what it does not know is ErrCorrupt.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, fmt.Errorf("block header: %d bytes of %d: %w", len(b), HeaderLen, ErrCorrupt)
	}
	h := Header{
		Scheme:   b[4],
		Form:     Form(b[5]),
		KeyID:    binary.BigEndian.Uint32(b[8:]),
		PlainLen: binary.BigEndian.Uint32(b[12:]),
	}
	switch {
	case string(b[:3]) != headerMagic:
		return Header{}, fmt.Errorf("block header: magic %x: %w", b[:3], ErrCorrupt)
	case b[3] != headerVersion:
		return Header{}, fmt.Errorf("block header: version %d is not known: %w", b[3], ErrCorrupt)
	case h.Scheme != 0 || h.KeyID != 0:
		return Header{}, fmt.Errorf("block header: scheme %d, key %d are not known: %w", h.Scheme, h.KeyID, ErrCorrupt)
	case h.Form > FormZstd:
		return Header{}, fmt.Errorf("block header: form %d is not known: %w", h.Form, ErrCorrupt)
	case b[6] != 0 || b[7] != 0:
		return Header{}, fmt.Errorf("block header: reserved bytes are set: %w", ErrCorrupt)
	case h.PlainLen > ChunkMax:
		return Header{}, fmt.Errorf("block header: %d plain bytes, over the limit of %d: %w", h.PlainLen, ChunkMax, ErrCorrupt)
	}
	return h, nil
}
