package chunker

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	updateFlag = flag.Bool("update", false, "write the golden files anew")
	seedFlag   = flag.Uint64("seed", 0, "seed of random tests; 0: a new one")
)

func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// noise is n bytes that depend on the seed only.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// plainCut is the rule of the package doc, word by word.
func plainCut(t *Table, b []byte) int {
	n := min(len(b), MaxSize)
	if n <= MinSize {
		return n
	}
	var h uint64
	for _, c := range b[MinSize-64 : MinSize] {
		h = h<<1 + t[c]
	}
	for i := MinSize; i < n; i++ {
		h = h<<1 + t[b[i]]
		bits := 22
		if i >= AvgSize {
			bits = 18
		}
		if h>>(64-bits) == 0 {
			return i + 1
		}
	}
	return n
}

// TestCutIsPlain compares the two streams with the plain loop: on noise, on data of few values, where cuts come
// at other distances, and on a table that cuts often. If it fails, deduplication between versions of the program ends.
func TestCutIsPlain(t *testing.T) {
	r := newRand(t)
	few := noise(2, 3*MaxSize/2)
	for i := range few {
		few[i] &= 3
	}
	datas := map[string][]byte{"noise": noise(1, 10<<20), "few values": few, "zeros": make([]byte, 5<<20)}
	tables := map[string]*Table{"zero key": NewTable([32]byte{}), "key": NewTable([32]byte{1, 2, 3})}
	// A hash with this table is small a thousand times as often.
	often := *tables["key"]
	for i := range often {
		often[i] >>= 10
	}
	tables["often"] = &often
	for dataName, data := range datas {
		for tableName, table := range tables {
			t.Run(dataName+", "+tableName, func(t *testing.T) {
				for b := data; len(b) > 0; {
					got, want := table.Cut(b), plainCut(table, b)
					if got != want {
						t.Fatalf("%d bytes before the end: cut at %d, want %d", len(b), got, want)
					}
					b = b[got:]
				}
				// Ends of the stream at all distances from the strides.
				for range 25 {
					off := r.IntN(len(data) - MaxSize)
					b := data[off : off+MinSize+r.IntN(2*AvgSize)]
					if got, want := table.Cut(b), plainCut(table, b); got != want {
						t.Fatalf("%d bytes at %d: cut at %d, want %d", len(b), off, got, want)
					}
				}
			})
		}
	}
}

// TestScanIsPlain compares scan alone, on short stretches and with limits that are met at every distance.
func TestScanIsPlain(t *testing.T) {
	r := newRand(t)
	table := NewTable([32]byte{9})
	data := noise(3, 40<<10)
	for range 1500 {
		from := window + r.IntN(len(data)-window)
		b := data[:from+r.IntN(len(data)-from+1)]
		limit := uint64(1) << (64 - r.IntN(17) - 1)
		h := table.roll(0, data[from-window:from])
		want := 0
		for i, rolled := from, h; i < len(b) && want == 0; i++ {
			if rolled = rolled<<1 + table[b[i]]; rolled < limit {
				want = i + 1
			}
		}
		got, end := table.scan(b, from, h, limit)
		if got != want {
			t.Fatalf("from %d, %d bytes, limit %#x: %d, want %d", from, len(b), limit, got, want)
		}
		if got == 0 && end != table.roll(h, b[from:]) {
			t.Fatalf("from %d, %d bytes: wrong hash at the end", from, len(b))
		}
	}
}

// TestGolden holds tables, parameters and cuts as they are stored.
func TestGolden(t *testing.T) {
	key := [32]byte([]byte("wormhole chunker golden key 0001"))
	var text strings.Builder
	fmt.Fprintf(&text, "params %x\n", DefaultParams().Append(nil))
	for _, tt := range []struct {
		name string
		key  [32]byte
	}{{"zero", [32]byte{}}, {"keyed", key}} {
		table := NewTable(tt.key)
		fmt.Fprintf(&text, "%s table %016x %016x %016x\n", tt.name, table[0], table[1], table[255])
		data := noise(1, 24<<20)
		for len(data) > 0 {
			n := table.Cut(data)
			fmt.Fprintf(&text, "%s cut %d\n", tt.name, n)
			data = data[n:]
		}
	}
	path := filepath.Join("testdata", "format", "cuts.txt")
	if *updateFlag {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text.String(), string(want)); diff != "" {
		t.Errorf("the format has changed:\n%s", diff)
	}
}

// TestSizes: the mean on noise is what the package doc says, and no chunk but the last is out of bounds.
func TestSizes(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	table := NewTable([32]byte{5})
	data := noise(5, 192<<20)
	total, n := len(data), 0
	for len(data) > 0 {
		k := table.Cut(data)
		if (k < MinSize && k != len(data)) || k > MaxSize {
			t.Errorf("chunk of %d bytes", k)
		}
		data = data[k:]
		n++
	}
	if mean := total / n >> 10; mean < 1000 || mean > 1350 {
		t.Errorf("%d chunks, mean %d KiB", n, mean)
	}
}

// TestLocal: an insertion changes the chunks around it only.
func TestLocal(t *testing.T) {
	table := NewTable([32]byte{})
	data := noise(6, 48<<20)
	before := map[string]bool{}
	for b := data; len(b) > 0; {
		n := table.Cut(b)
		before[string(b[:n])] = true
		b = b[n:]
	}
	after := bytes.Join([][]byte{data[:20<<20], []byte("inserted"), data[20<<20:]}, nil)
	fresh := 0
	for b := after; len(b) > 0; {
		n := table.Cut(b)
		if !before[string(b[:n])] {
			fresh++
		}
		b = b[n:]
	}
	if fresh == 0 || fresh > 4 {
		t.Errorf("%d new chunks after a small insertion", fresh)
	}
}

// TestSplit: a stream's chunks are those of the whole data, however the reader brings it and whatever the buffer.
func TestSplit(t *testing.T) {
	table := NewTable([32]byte{7})
	data := noise(7, 20<<20+123)
	var want []int
	for b := data; len(b) > 0; {
		n := table.Cut(b)
		want = append(want, n)
		b = b[n:]
	}
	for _, tt := range []struct {
		name string
		r    io.Reader
		buf  []byte
	}{
		{"plain", bytes.NewReader(data), nil},
		{"short buffer", bytes.NewReader(data), make([]byte, 100)},
		{"long buffer", bytes.NewReader(data), make([]byte, 3*MaxSize)},
		{"halves", iotest.HalfReader(bytes.NewReader(data)), make([]byte, 2*MaxSize)},
		{"error with the last bytes", iotest.DataErrReader(bytes.NewReader(data)), nil},
		{"empty reads", &lazyReader{r: bytes.NewReader(data)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := table.Split(tt.r, tt.buf)
			var got []int
			var all []byte
			for {
				chunk, err := s.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, len(chunk))
				all = append(all, chunk...)
			}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("cuts differ:\n%s", diff)
			}
			if !bytes.Equal(all, data) {
				t.Error("bytes differ")
			}
			if _, err := s.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

// lazyReader brings nothing at every second read.
type lazyReader struct {
	r   io.Reader
	odd bool
}

func (l *lazyReader) Read(p []byte) (int, error) {
	if l.odd = !l.odd; l.odd {
		return 0, nil
	}
	return l.r.Read(p[:min(len(p), 100_000)])
}

// brokenReader returns wrong results.
type brokenReader struct{ n int }

func (b brokenReader) Read(p []byte) (int, error) {
	if b.n > 0 {
		return len(p) + b.n, nil
	}
	return b.n, nil
}

// TestSplitErrors: an error is not taken for the end, or a file would be stored cut off.
func TestSplitErrors(t *testing.T) {
	table := NewTable([32]byte{})
	boom := errors.New("boom")
	for _, tt := range []struct {
		name string
		r    io.Reader
		want error
	}{
		{"at once", iotest.ErrReader(boom), boom},
		{"later", io.MultiReader(bytes.NewReader(noise(1, 1<<20)), iotest.ErrReader(boom)), boom},
		{"cut off", iotest.ErrReader(io.ErrUnexpectedEOF), io.ErrUnexpectedEOF},
		{"no progress", brokenReader{}, io.ErrNoProgress},
		{"too many bytes", brokenReader{n: 1}, nil},
		{"negative", brokenReader{n: -1}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := table.Split(tt.r, nil)
			for range 2 {
				_, err := s.Next()
				if err == nil || errors.Is(err, io.EOF) || (tt.want != nil && !errors.Is(err, tt.want)) {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
			}
		})
	}
	if _, err := table.Split(bytes.NewReader(nil), nil).Next(); !errors.Is(err, io.EOF) {
		t.Errorf("empty stream: %v", err)
	}
}

// TestSplitOver breaks if chunks are other than those of Split, or change before their memory is given again.
func TestSplitOver(t *testing.T) {
	table := NewTable([32]byte{})
	data := noise(9, 40<<20)
	var bufs [2][]byte
	var kept [2][][]byte // chunks in each
	var want []byte
	turn := 0
	check := func(chunks [][]byte) {
		for _, c := range chunks {
			if !bytes.Equal(c, data[:len(c)]) {
				t.Fatalf("a chunk of %d bytes has changed", len(c))
			}
			data = data[len(c):]
		}
	}
	s := table.SplitOver(bytes.NewReader(data), func() []byte {
		turn = 1 - turn
		check(kept[turn])
		kept[turn] = nil
		if bufs[turn] == nil {
			bufs[turn] = make([]byte, 2*MaxSize+turn*MaxSize)
		}
		return bufs[turn]
	})
	plain := table.Split(bytes.NewReader(data), nil)
	for {
		got, err := s.Next()
		var plainErr error
		want, plainErr = plain.Next()
		if !bytes.Equal(got, want) || !errors.Is(err, plainErr) {
			t.Fatalf("%d bytes, %v; Split has %d, %v", len(got), err, len(want), plainErr)
		}
		if err != nil {
			break
		}
		kept[turn] = append(kept[turn], got)
	}
	check(kept[1-turn])
	check(kept[turn])
	if len(data) > 0 {
		t.Errorf("%d bytes are missing", len(data))
	}
}

func TestSplitAllocs(t *testing.T) {
	table := NewTable([32]byte{})
	s := table.Split(&endless{data: noise(8, 8<<20)}, make([]byte, 2*MaxSize))
	allocs := testing.AllocsPerRun(20, func() {
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a chunk", allocs)
	}
}

// endless repeats its data.
type endless struct {
	data []byte
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.data[e.at:])
	e.at = (e.at + n) % len(e.data)
	return n, nil
}

func TestParams(t *testing.T) {
	good := DefaultParams()
	if got, err := ParseParams(good.Append(nil)); err != nil || got != good {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []Params{
		{},
		{Algorithm: 2, Min: MinSize, Avg: AvgSize, Max: MaxSize},
		{Algorithm: 1, Min: AvgSize, Avg: AvgSize, Max: MaxSize},
		{Algorithm: 1, Min: MinSize, Avg: MaxSize, Max: MaxSize},
		{Algorithm: 1, Min: MinSize, Avg: AvgSize, Max: MaxSize + 1},
		{Algorithm: 1, Min: 63, Avg: AvgSize, Max: MaxSize},
	} {
		if _, err := ParseParams(bad.Append(nil)); !errors.Is(err, ErrParams) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func FuzzParseParams(f *testing.F) {
	f.Add(DefaultParams().Append(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseParams(b)
		if err != nil {
			return
		}
		if got := p.Append(nil); !bytes.Equal(got, b) {
			t.Errorf("%s is written as %s", hex.EncodeToString(b), hex.EncodeToString(got))
		}
	})
}

func BenchmarkCut(b *testing.B) {
	table := NewTable([32]byte{1})
	data := noise(9, 64<<20)
	for _, bb := range []struct {
		name string
		cut  func([]byte) int
	}{
		{"streams=2", table.Cut},
		{"streams=1", func(p []byte) int { return plainCut(table, p) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				for p := data; len(p) > 0; {
					p = p[bb.cut(p):]
				}
			}
		})
	}
}

func BenchmarkSplit(b *testing.B) {
	table := NewTable([32]byte{1})
	data := noise(9, 64<<20)
	buf := make([]byte, 2*MaxSize)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		s := table.Split(bytes.NewReader(data), buf)
		for {
			if _, err := s.Next(); err != nil {
				break
			}
		}
	}
}
