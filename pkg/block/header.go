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

// The schemes in use.
const (
	SchemePlain  byte = 0 // the header stands outside the bytes that the ID names
	SchemeSealed byte = 1 // the header begins the bytes that the ID names; behind it they are encrypted (package seal)
)

// HeaderLen is the length of an encoded Header in bytes.
const HeaderLen = 16

const (
	headerMagic   = "whb"
	headerVersion = 1
)

// Header says how a block is stored or sent, or sealed. With SchemePlain it stands before the stored form, outside
// the bytes that the ID names; a sealed chunk begins with one of its own. Encoded, 16 bytes, integers big-endian:
//
//	0  "whb"        magic
//	3  u8           version, 1
//	4  u8           scheme: 0 plain, 1 sealed
//	5  u8           form; of a sealed chunk, what its bytes had before they were encrypted
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

// ParseHeader reads the header that stands before the form of a stored or sent block; what it does not know is ErrCorrupt.
func ParseHeader(b []byte) (Header, error) {
	h, err := parseHeader(b)
	switch {
	case err != nil:
		return Header{}, err
	case h.Scheme != SchemePlain || h.KeyID != 0:
		return Header{}, fmt.Errorf("block header: scheme %d, key %d are not known: %w", h.Scheme, h.KeyID, ErrCorrupt)
	case h.PlainLen > ChunkMax+SealOverhead:
		return Header{}, tooLong(h, ChunkMax+SealOverhead)
	}
	return h, nil
}

// ParseSealedHeader reads the header that begins a sealed chunk; what it does not know is ErrCorrupt.
func ParseSealedHeader(b []byte) (Header, error) {
	h, err := parseHeader(b)
	switch {
	case err != nil:
		return Header{}, err
	case h.Scheme != SchemeSealed:
		return Header{}, fmt.Errorf("block header: scheme %d is none of sealed chunks: %w", h.Scheme, ErrCorrupt)
	case h.PlainLen > ChunkMax:
		return Header{}, tooLong(h, ChunkMax)
	}
	return h, nil
}

// IsSealed says whether bytes begin as a sealed chunk does. It proves nothing.
func IsSealed(b []byte) bool {
	return len(b) > 4 && string(b[:3]) == headerMagic && b[3] == headerVersion && b[4] == SchemeSealed
}

func tooLong(h Header, limit int) error {
	return fmt.Errorf("block header: %d plain bytes, over the limit of %d: %w", h.PlainLen, limit, ErrCorrupt)
}

// parseHeader reads a header of any scheme.
func parseHeader(b []byte) (Header, error) {
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
	case h.Form > FormZstd:
		return Header{}, fmt.Errorf("block header: form %d is not known: %w", h.Form, ErrCorrupt)
	case b[6] != 0 || b[7] != 0:
		return Header{}, fmt.Errorf("block header: reserved bytes are set: %w", ErrCorrupt)
	}
	return h, nil
}
