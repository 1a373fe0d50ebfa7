package chunker

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// Chosen parameters cut within their sizes, alike wherever a stream is broken, and what is not known is refused. If it fails, a file under a rule of chunking is not
// shared with its equal, or a body names parameters that nobody reads.
func TestCutter(t *testing.T) {
	table := NewTable([32]byte{3})
	data := noise(4, 9<<20+77)
	for name, p := range map[string]Params{"gear 64 KiB": Gear(64 << 10), "gear 256 KiB": Gear(256 << 10), "gear 1 MiB": Gear(AvgSize), "fixed 64 KiB": Fixed(64 << 10), "fixed 4 MiB": Fixed(MaxSize)} {
		t.Run(name, func(t *testing.T) {
			c, err := table.With(p)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseParams(p.Append(nil)); err != nil || back != p {
				t.Errorf("parameters %v, %v", back, err)
			}
			if c.IsDefault() != (p == DefaultParams()) {
				t.Error("is it the default?")
			}
			var cuts []int
			for rest, off := data, int64(0); len(rest) > 0; {
				n := c.Cut(rest, off)
				if n == 0 || n > int(p.Max) || n < len(rest) && n < int(p.Min) {
					t.Fatalf("%d bytes at %d", n, off)
				}
				if c.IsDefault() && n != table.Cut(rest) {
					t.Fatalf("the default cuts %d, not %d", n, table.Cut(rest))
				}
				cuts, rest, off = append(cuts, n), rest[n:], off+int64(n)
			}
			if len(cuts) > c.ChunksMax(len(data)) {
				t.Errorf("%d chunks", len(cuts))
			}
			if mean := len(data) / len(cuts); p.Algorithm == AlgorithmGear2 && (mean < int(p.Avg)/2 || mean > 2*int(p.Avg)) {
				t.Errorf("mean %d, wanted about %d", mean, p.Avg)
			}
			s := c.SplitOver(bytes.NewReader(data), func() []byte { return make([]byte, 2*MaxSize) }, 0)
			for i, want := range cuts {
				if chunk, err := s.Next(); err != nil || len(chunk) != want {
					t.Fatalf("chunk %d of a stream: %d bytes, not %d, %v", i, len(chunk), want, err)
				}
			}
			if _, err := s.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("end: %v", err)
			}
		})
	}
	c, err := table.With(Fixed(64 << 10))
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Cut(data, 60<<10); n != 4<<10 {
		t.Errorf("a run that begins within a chunk is cut after %d bytes", n)
	}
	for _, p := range []Params{{}, {Algorithm: 3, Min: 1 << 16, Avg: 1 << 17, Max: 1 << 18}, Fixed(1 << 10), Fixed(MaxSize + 1), Gear(2 * AvgSize), {Algorithm: AlgorithmFixed, Min: 1 << 16, Avg: 1 << 17, Max: 1 << 17}} {
		if _, err := table.With(p); !errors.Is(err, ErrParams) {
			t.Errorf("%v: %v", p, err)
		}
		if _, err := ParseParams(p.Append(nil)); !errors.Is(err, ErrParams) {
			t.Errorf("%v is read: %v", p, err)
		}
	}
}
