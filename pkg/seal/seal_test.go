package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

var update = flag.Bool("update", false, "write testdata/format anew")

// testKey is a key made of one byte: golden files need the same each time.
func testKey(b byte) *Key { return New([SecretLen]byte(bytes.Repeat([]byte{b}, SecretLen))) }

// noise is n bytes that don't compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b) // it never fails
	return b
}

func text(n int) []byte { return bytes.Repeat([]byte("the pod reads a chunk\n"), n/22+1)[:n] }

func mustSeal(t testing.TB, k *Key, plain []byte) []byte {
	t.Helper()
	sealed, sum, err := k.Seal(nil, plain)
	if err != nil || sum != blake3.Sum256(plain) {
		t.Fatalf("sum %x, %v", sum, err)
	}
	return sealed
}

// TestRoundTrip breaks if a chunk does not come back, is larger than the store allows, or shows its bytes.
func TestRoundTrip(t *testing.T) {
	k := testKey(1)
	for _, row := range []struct {
		name  string
		plain []byte
		form  block.Form
		max   int
	}{
		{"empty", nil, block.FormRaw, block.SealOverhead},
		{"a byte", []byte("x"), block.FormRaw, 1 + block.SealOverhead},
		{"short", text(500), block.FormRaw, 500 + block.SealOverhead},
		{"text", text(100_000), block.FormZstd, 1000},
		{"noise", noise(100_001), block.FormRaw, 100_001 + block.SealOverhead},
		{"largest", noise(block.ChunkMax), block.FormRaw, block.ChunkMax + block.SealOverhead},
	} {
		sealed, _, err := k.Seal([]byte("before"), row.plain)
		if err != nil || string(sealed[:6]) != "before" {
			t.Fatalf("%s: %v", row.name, err)
		}
		sealed = sealed[6:]
		h, err := block.ParseSealedHeader(sealed)
		want := block.Header{Scheme: block.SchemeSealed, Form: row.form, KeyID: k.ID().Short(), PlainLen: uint32(len(row.plain))}
		if err != nil || h != want || len(sealed) > row.max {
			t.Errorf("%s: header %+v of %d bytes, %v", row.name, h, len(sealed), err)
		}
		if len(row.plain) > 20 && bytes.Contains(sealed, row.plain[:20]) {
			t.Errorf("%s: plain bytes in the sealed", row.name)
		}
		if got, err := k.Open(bytes.Clone(sealed)); err != nil || !bytes.Equal(got, row.plain) {
			t.Errorf("%s: %d bytes back, %v", row.name, len(got), err)
		}
	}
	if _, _, err := k.Seal(nil, make([]byte, block.ChunkMax+1)); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("a chunk over the limit: %v", err)
	}
}

// TestDeterministic breaks if equal chunks get different names, or different ones share a key.
func TestDeterministic(t *testing.T) {
	k := testKey(1)
	a, b := text(5000), text(5001)
	first := mustSeal(t, k, a)
	mustSeal(t, k, noise(70_000))
	if again := mustSeal(t, testKey(1), a); !bytes.Equal(first, again) || !bytes.Equal(first, mustSeal(t, k, a)) {
		t.Error("sealed again: other bytes")
	}
	if other := mustSeal(t, k, b); bytes.Equal(first[sivStart:dataAt], other[sivStart:dataAt]) {
		t.Error("two chunks with one synthetic nonce")
	}
	if other := mustSeal(t, testKey(2), a); bytes.Equal(first[sivStart:dataAt], other[sivStart:dataAt]) {
		t.Error("two keys give one synthetic nonce")
	}
}

// TestWrongKey breaks if another network's chunk is opened, even with a key ID that is the same.
func TestWrongKey(t *testing.T) {
	sealed := mustSeal(t, testKey(1), text(3000))
	if _, err := testKey(2).Open(bytes.Clone(sealed)); !errors.Is(err, ErrOtherKey) || errors.Is(err, block.ErrCorrupt) {
		t.Errorf("other key: %v", err)
	}
	other := testKey(2)
	other.id = testKey(1).id
	if _, err := other.Open(sealed); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("other key of the same ID: %v", err)
	}
}

// TestTampered breaks if a bit can be changed, or an end be cut off, unnoticed.
func TestTampered(t *testing.T) {
	k := testKey(1)
	for _, plain := range [][]byte{text(600), noise(300), nil} {
		good := mustSeal(t, k, plain)
		for i := range good {
			for bit := range 8 {
				bad := bytes.Clone(good)
				bad[i] ^= 1 << bit
				if got, err := k.Open(bad); err == nil {
					t.Fatalf("bit %d of byte %d flipped: %d bytes opened", bit, i, len(got))
				}
			}
			if _, err := k.Open(bytes.Clone(good[:i])); !errors.Is(err, block.ErrCorrupt) {
				t.Fatalf("cut to %d bytes: %v", i, err)
			}
		}
		if _, err := k.Open(append(bytes.Clone(good), 0)); !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("a byte more: %v", err)
		}
	}
}

// TestOneSealing breaks if who has the key can make a second sealed form of a chunk: GCM alone would take it.
func TestOneSealing(t *testing.T) {
	k := testKey(1)
	plain := noise(1000)
	good := mustSeal(t, k, plain)
	header, siv := good[:sivStart], noise(sivLen)
	aead, err := k.aead(siv)
	if err != nil {
		t.Fatal(err)
	}
	bad := append(bytes.Clone(header), siv...)
	bad = aead.Seal(bad, zeroNonce[:], plain, header)
	if _, err := k.Open(bad); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("opened: %v", err)
	}
}

// TestNoGrowth breaks if a frame that was sealed with a length that is not its own takes memory for more.
func TestNoGrowth(t *testing.T) {
	k := testKey(1)
	frame, f, err := k.codec.Encode(nil, make([]byte, block.ChunkMax))
	if err != nil || f != block.FormZstd {
		t.Fatal(f, err)
	}
	for _, plainLen := range []uint32{uint32(len(frame)), 5000, block.ChunkMax - 1} {
		header := block.Header{Scheme: block.SchemeSealed, Form: f, KeyID: k.id.Short(), PlainLen: plainLen}.Append(nil)
		siv := k.siv(header, blake3.Sum256(frame))
		aead, err := k.aead(siv[:])
		if err != nil {
			t.Fatal(err)
		}
		sealed := aead.Seal(append(bytes.Clone(header), siv[:]...), zeroNonce[:], frame, header)
		if _, err := k.Open(sealed); !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("plain length %d: %v", plainLen, err)
		}
	}
}

// formats are the golden bytes: what the key of ones makes of a text and of bytes that don't compress, its ID, and a derived key.
func formats(t testing.TB) map[string][]byte {
	t.Helper()
	k := testKey(1)
	id, derived := k.ID(), k.Derive("test 1")
	return map[string][]byte{
		"raw-v1": mustSeal(t, k, []byte("sealed chunk")), "zstd-v1": mustSeal(t, k, text(1000)), "id-v1": id[:], "derived-v1": derived[:],
	}
}

// TestGolden breaks if chunks that were sealed by an earlier version can't be opened, or get other names.
func TestGolden(t *testing.T) {
	for name, got := range formats(t) {
		path := filepath.Join("testdata", "format", name+".hex")
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.TrimSpace(string(b)); hex.EncodeToString(got) != want {
			t.Errorf("%s: %x, want %s", name, got, want)
		}
	}
}

// FuzzOpen breaks if hostile bytes panic, or are taken for a chunk that Seal would write differently.
func FuzzOpen(f *testing.F) {
	k := testKey(1)
	seeds := 0
	for name, b := range formats(f) {
		if strings.HasPrefix(name, "raw") || strings.HasPrefix(name, "zstd") {
			seeds++
			f.Add(b)
			f.Add(b[:len(b)-1])
			f.Add(b[:dataAt])
		}
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, err := k.Open(bytes.Clone(b))
		if err != nil {
			if !errors.Is(err, block.ErrCorrupt) && !errors.Is(err, ErrOtherKey) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		if again := mustSeal(t, k, plain); !bytes.Equal(again, b) {
			t.Errorf("%x is opened, and sealed as %x", b, again)
		}
	})
}

// TestAllocs breaks if sealing or opening takes memory for each chunk beside the bytes that it returns.
func TestAllocs(t *testing.T) {
	if race {
		t.Skip("pools keep nothing under the race detector")
	}
	k := testKey(1)
	plain := noise(100_000)
	buf := make([]byte, 0, 2*len(plain))
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := k.Seal(buf, plain); err != nil {
			t.Fatal(err)
		}
	}); n > 4 {
		t.Errorf("Seal makes %v allocations", n)
	}
	sealed := mustSeal(t, k, plain)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := k.Open(append(buf, sealed...)); err != nil {
			t.Fatal(err)
		}
	}); n > 4 {
		t.Errorf("Open makes %v allocations", n)
	}
}

func benchmark(b *testing.B, f func(b *testing.B, k *Key, plain []byte)) {
	for _, row := range []struct {
		name  string
		plain []byte
	}{{"noise", noise(1 << 20)}, {"text", textOf(1 << 20)}} {
		b.Run(fmt.Sprintf("%s/1MiB", row.name), func(b *testing.B) {
			b.SetBytes(int64(len(row.plain)))
			b.ReportAllocs()
			f(b, testKey(1), row.plain)
		})
	}
}

// textOf is text of random words, which compresses as prose does.
func textOf(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	var words []string
	for range 2000 {
		w := make([]byte, 2+rnd.IntN(9))
		for i := range w {
			w[i] = byte('a' + rnd.IntN(26))
		}
		words = append(words, string(w))
	}
	var out bytes.Buffer
	for out.Len() < n {
		out.WriteString(words[int(float64(len(words))*rnd.Float64()*rnd.Float64())])
		out.WriteByte(' ')
	}
	return out.Bytes()[:n]
}

func BenchmarkSeal(b *testing.B) {
	benchmark(b, func(b *testing.B, k *Key, plain []byte) {
		buf := make([]byte, 0, 2*len(plain))
		for b.Loop() {
			if _, _, err := k.Seal(buf, plain); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	benchmark(b, func(b *testing.B, k *Key, plain []byte) {
		sealed := mustSeal(b, k, plain)
		buf := make([]byte, 0, len(sealed))
		for b.Loop() {
			if _, err := k.Open(append(buf, sealed...)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
