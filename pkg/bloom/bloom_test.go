package bloom

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// testID is an ID made from a number.
func testID(i uint64) block.ID { return block.Sum(block.Raw, binary.BigEndian.AppendUint64(nil, i)) }

// TestFilter breaks if what was added is denied, or more of the rest is affirmed than is promised.
func TestFilter(t *testing.T) {
	for _, row := range []struct{ n, bits, oneIn int }{{1, 10, 70}, {1000, 10, 70}, {100_000, 10, 75}, {100_000, 16, 700}, {1 << 16, 16, 700}} {
		t.Run(fmt.Sprintf("n=%d/bits=%d", row.n, row.bits), func(t *testing.T) {
			f := New(row.n, row.bits)
			for i := range uint64(row.n) {
				f.Add(testID(i))
			}
			for i := range uint64(row.n) {
				if !f.Has(testID(i)) {
					t.Fatalf("ID %d was added and is denied", i)
				}
			}
			const asked = 200_000
			wrong := 0
			for i := range uint64(asked) {
				if f.Has(testID(1<<32 + i)) {
					wrong++
				}
			}
			t.Logf("%d of %d are wrong", wrong, asked)
			if wrong > asked/row.oneIn {
				t.Errorf("%d of %d are wrong, more than one in %d", wrong, asked, row.oneIn)
			}
			if f.Len() != row.n {
				t.Errorf("%d IDs, want %d", f.Len(), row.n)
			}
		})
	}
}

// TestSeeds breaks if two filters err on the same IDs: garbage that one keeps would be kept by all.
func TestSeeds(t *testing.T) {
	f, g := New(1000, 10), New(1000, 10)
	for i := range uint64(2000) {
		f.Add(testID(i))
		g.Add(testID(i))
	}
	wrong, both := 0, 0
	for i := range uint64(20_000) {
		if id := testID(1<<32 + i); f.Has(id) {
			wrong++
			if g.Has(id) {
				both++
			}
		}
	}
	if wrong < 100 || both > wrong/2 {
		t.Errorf("%d are wrong in one filter, %d of them in the other, too", wrong, both)
	}
}

// TestEmpty breaks if an empty filter, or one for nothing, affirms something or fails.
func TestEmpty(t *testing.T) {
	for _, n := range []int{0, 1, 1000} {
		if f := New(n, 10); f.Has(testID(1)) || f.Len() != 0 {
			t.Errorf("a filter for %d IDs is not empty", n)
		}
	}
}

// BenchmarkHas asks a filter of 10 MB, beyond the caches of most processors, for what is not there.
func BenchmarkHas(b *testing.B) {
	f := New(8<<20, 10)
	ids := make([]block.ID, 1<<14)
	for i := range ids {
		ids[i] = testID(uint64(i))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if f.Has(ids[i%len(ids)]) {
			b.Fatal("an empty filter affirms")
		}
		i++
	}
}
