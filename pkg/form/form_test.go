package form

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// noise is n bytes that don't compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // it never fails
	return b
}

// TestRoundTrip breaks if bytes come back changed, or a form is chosen that does not pay.
func TestRoundTrip(t *testing.T) {
	var c Codec
	for _, row := range []struct {
		name  string
		plain []byte
		want  block.Form
	}{
		{"empty", nil, block.FormRaw},
		{"short", bytes.Repeat([]byte("a"), 511), block.FormRaw},
		{"text", bytes.Repeat([]byte("text "), 1000), block.FormZstd},
		{"noise", noise(100_000), block.FormRaw},
		{"largest", make([]byte, block.ChunkMax), block.FormZstd},
		{"much noise", noise(1 << 20), block.FormRaw},
		{"text at the end", append(noise(1<<19), bytes.Repeat([]byte("text "), 1<<17)...), block.FormZstd},
		{"text in the middle", append(append(noise(1<<19), bytes.Repeat([]byte("text "), 1<<17)...), noise(1<<19)...), block.FormZstd},
		{"the least that is sampled", bytes.Repeat([]byte("text"), sampleFrom/4), block.FormZstd},
		{"sealed", block.Header{Scheme: block.SchemeSealed}.Append(nil), block.FormRaw},
	} {
		b, form, err := c.Encode([]byte("before"), row.plain)
		if err != nil || form != row.want || string(b[:6]) != "before" || len(b)-6 > len(row.plain) {
			t.Errorf("%s: form %d of %d bytes, %v; want form %d", row.name, form, len(b)-6, err, row.want)
			continue
		}
		got, err := c.Decode(block.Header{Form: form, PlainLen: uint32(len(row.plain))}, b[6:], nil)
		if err != nil || !bytes.Equal(got, row.plain) {
			t.Errorf("%s: %d bytes back, %v", row.name, len(got), err)
		}
	}
}

// TestNoisy breaks if time is spent on noise, or what can be compressed is taken for noise: text, source, nodes full of
// hashes, a block that is text in a part.
func TestNoisy(t *testing.T) {
	source, err := os.ReadFile("form.go")
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	node := func(plain []byte, name string) []byte { // the list of CIDs of a node
		for at := 0; at+64 <= len(plain); at += 41 + len(name) {
			copy(plain[at:], "\xd8\x2a\x58\x25\x00\x01\x55\x1e\x20")
			copy(plain[at+41:], name)
		}
		return plain
	}
	for range 500 {
		n := compressMin + rnd.IntN(noiseTo-compressMin+1)
		plain := make([]byte, n)
		for i := range plain {
			plain[i] = byte(rnd.Uint32())
		}
		if !noisy(plain) {
			t.Errorf("%d bytes of noise are tried", n)
		}
		text := append([]byte(nil), plain...)
		copy(text[rnd.IntN(n/2):], bytes.Repeat([]byte("it may be compressed. "), n/44+1))
		for _, row := range []struct {
			name  string
			plain []byte
		}{
			{"half text", text},
			{"source", source[:min(n, len(source))]},
			{"entries", node(bytes.Clone(plain), "a name")},
			{"CIDs", node(bytes.Clone(plain), "")},
		} {
			if noisy(row.plain) {
				t.Errorf("%s of %d bytes is taken for noise", row.name, n)
			}
		}
	}
}

// TestSealedIsNotTried breaks if time is spent on bytes that can't get shorter.
func TestSealedIsNotTried(t *testing.T) {
	var c Codec
	plain := append(block.Header{Scheme: block.SchemeSealed}.Append(nil), make([]byte, 5000)...)
	if b, form, err := c.Encode(nil, plain); err != nil || form != block.FormRaw || len(b) != len(plain) {
		t.Errorf("form %d of %d bytes, %v", form, len(b), err)
	}
}

// TestOneResult breaks if what an encoder did before shows in a frame: equal bytes would be sealed to different blocks.
func TestOneResult(t *testing.T) {
	var c Codec
	rnd := rand.New(rand.NewPCG(3, 4))
	words := []string{"chunk ", "segment ", "commit ", "the ", "pod\n"}
	var want []byte
	for i := range 50 {
		var text bytes.Buffer
		for range 1 + rnd.IntN(60_000) {
			text.WriteString(words[rnd.IntN(len(words))])
		}
		if _, _, err := c.Encode(nil, text.Bytes()); err != nil {
			t.Fatal(err)
		}
		same := bytes.Repeat([]byte("the pod reads the segment of the chunk\n"), 5000)
		got, _, err := c.Encode(nil, same)
		if err != nil || i > 0 && !bytes.Equal(got, want) {
			t.Fatalf("round %d: another frame, %v", i, err)
		}
		want = got
	}
}

// TestDecodeInto breaks if memory that is offered is not used, or bytes behind what was decoded are touched.
func TestDecodeInto(t *testing.T) {
	var c Codec
	plain := bytes.Repeat([]byte("text "), 1000)
	frame, form, err := c.Encode(nil, plain)
	if err != nil {
		t.Fatal(err)
	}
	h := block.Header{Form: form, PlainLen: uint32(len(plain))}
	dst := make([]byte, len(plain)+1)
	dst[len(plain)] = 7
	got, err := c.Decode(h, frame, dst[:0])
	if err != nil || !bytes.Equal(got, plain) || &got[0] != &dst[0] || dst[len(plain)] != 7 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err := c.Decode(h, frame, dst[:0:len(plain)-1]); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("memory that is too short: %d bytes, %v", len(got), err)
	}
}

// FuzzDecode breaks if a hostile frame panics, or is opened to another length than its header says.
func FuzzDecode(f *testing.F) {
	var c Codec
	good, _, err := c.Encode(nil, bytes.Repeat([]byte("text "), 1000))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(block.FormZstd), uint32(5000), good)
	f.Add(byte(block.FormZstd), uint32(10), good)
	f.Add(byte(block.FormRaw), uint32(3), []byte("raw"))
	f.Fuzz(func(t *testing.T, form byte, plainLen uint32, b []byte) {
		h := block.Header{Form: block.Form(form % 2), PlainLen: plainLen % (1 << 20)}
		got, err := c.Decode(h, b, nil)
		if err == nil && len(got) != int(h.PlainLen) || err != nil && !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%d bytes, %v; header says %d", len(got), err, h.PlainLen)
		}
	})
}

// BenchmarkEncode compares what can be compressed with what can't.
func BenchmarkEncode(b *testing.B) {
	for _, row := range []struct {
		name  string
		plain []byte
	}{
		{"noise/1MiB", noise(1 << 20)},
		{"text/1MiB", bytes.Repeat([]byte("text and more "), 1<<16)},
		{"noise/2KiB", noise(2 << 10)},
		{"text/2KiB", bytes.Repeat([]byte("text and more "), 1<<7)},
	} {
		b.Run(row.name, func(b *testing.B) {
			var c Codec
			out := make([]byte, 0, 2<<20)
			b.SetBytes(int64(len(row.plain)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := c.Encode(out, row.plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecode decodes one file of text at a time.
func BenchmarkDecode(b *testing.B) {
	plain, err := os.ReadFile("form.go")
	if err != nil {
		b.Fatal(err)
	}
	var c Codec
	form, f, err := c.Encode(nil, plain)
	if err != nil {
		b.Fatal(err)
	}
	h := block.Header{Form: f, PlainLen: uint32(len(plain))}
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Decode(h, form, nil); err != nil {
			b.Fatal(err)
		}
	}
}
