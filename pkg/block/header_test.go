package block

import (
	"encoding/hex"
	"errors"
	"testing"
)

// TestHeader holds the format: golden bytes, and what is refused.
func TestHeader(t *testing.T) {
	h := Header{Form: FormZstd, PlainLen: 0x00012345}
	b := h.Append(nil)
	if got, want := hex.EncodeToString(b), "77686201000100000000000000012345"; got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	if got, err := ParseHeader(b); err != nil || got != h {
		t.Errorf("parsed %+v, %v", got, err)
	}
	for _, row := range []struct {
		name  string
		spoil func(b []byte) []byte
	}{
		{"short", func(b []byte) []byte { return b[:HeaderLen-1] }},
		{"magic", func(b []byte) []byte { b[0]++; return b }},
		{"version", func(b []byte) []byte { b[3]++; return b }},
		{"scheme", func(b []byte) []byte { b[4] = 1; return b }},
		{"form", func(b []byte) []byte { b[5] = 9; return b }},
		{"reserved", func(b []byte) []byte { b[7] = 1; return b }},
		{"key", func(b []byte) []byte { b[11] = 1; return b }},
		{"length", func(b []byte) []byte { b[12] = 0xff; return b }},
	} {
		if _, err := ParseHeader(row.spoil(h.Append(nil))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want %v", row.name, err, ErrCorrupt)
		}
	}
}

// TestSealedHeader holds the header of sealed chunks apart from that of stored blocks: neither passes for the other.
func TestSealedHeader(t *testing.T) {
	h := Header{Scheme: SchemeSealed, Form: FormZstd, KeyID: 0xa1b2c3d4, PlainLen: ChunkMax}
	b := h.Append(nil)
	if got, want := hex.EncodeToString(b), "7768620101010000a1b2c3d400400000"; got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	if got, err := ParseSealedHeader(b); err != nil || got != h || !IsSealed(b) {
		t.Errorf("parsed %+v, %v", got, err)
	}
	if _, err := ParseHeader(b); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a sealed chunk's header passes for a stored block's: %v", err)
	}
	h.PlainLen++
	if _, err := ParseSealedHeader(h.Append(nil)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%d plain bytes: %v", h.PlainLen, err)
	}
	plain := Header{PlainLen: ChunkMax + SealOverhead}.Append(nil)
	if _, err := ParseSealedHeader(plain); !errors.Is(err, ErrCorrupt) || IsSealed(plain) || IsSealed(b[:4]) {
		t.Errorf("a stored block's header passes for a sealed chunk's: %v", err)
	}
	if _, err := ParseHeader(plain); err != nil {
		t.Errorf("the largest sealed chunk can't be stored: %v", err)
	}
}

// FuzzHeader breaks if hostile bytes panic, or don't round-trip.
func FuzzHeader(f *testing.F) {
	f.Add(Header{PlainLen: 5}.Append(nil))
	f.Add(Header{Scheme: SchemeSealed, KeyID: 9, PlainLen: 5}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			h, err = ParseSealedHeader(b)
		}
		if err == nil && string(h.Append(nil)) != string(b[:HeaderLen]) {
			t.Errorf("%x is written again as %x", b[:HeaderLen], h.Append(nil))
		}
	})
}

// TestID holds CIDs: golden text, and what is refused.
func TestID(t *testing.T) {
	id := Sum(Raw, []byte("hello"))
	const want = "bafkr4ihkr4ld3m4gqkjf4reryxsy2s5tkbxprqkow6fin2iiyvreuzzab4"
	if id.String() != want {
		t.Errorf("ID %s, want %s", id, want)
	}
	if got, err := Parse(want); err != nil || got != id {
		t.Errorf("parsed %s, %v", got, err)
	}
	if got, err := FromBytes(id.Bytes()); err != nil || got != id {
		t.Errorf("from bytes %s, %v", got, err)
	}
	for _, bad := range []string{"", "b", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG", want[:20]} {
		if _, err := Parse(bad); !errors.Is(err, ErrBadID) {
			t.Errorf("%q: %v, want %v", bad, err, ErrBadID)
		}
	}
	if err := id.Verify([]byte("hellp")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("verify: %v, want %v", err, ErrCorrupt)
	}
}
