package pod

import (
	"math/rand/v2"
	"testing"
)

// TestExtents compares random writes and truncations with a plain slice.
func TestExtents(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var x extents
		model, known := make([]byte, 4096), make([]bool, 4096)
		for range 60 {
			off := rnd.IntN(3000)
			if rnd.IntN(8) == 0 {
				x.truncate(int64(off))
				clear(known[off:])
				continue
			}
			p := make([]byte, rnd.IntN(400))
			for i := range p {
				p[i] = byte(rnd.Uint32())
				known[off+i] = true
			}
			copy(model[off:], p)
			x.write(int64(off), p)
		}
		var total int64
		got, have := make([]byte, 4096), make([]bool, 4096)
		for i, e := range x.list {
			if len(e.data) == 0 || (i > 0 && x.list[i-1].end() >= e.off) {
				t.Fatalf("extent %d is empty, or touches the one before", i)
			}
			total += int64(len(e.data))
			copy(got[e.off:], e.data)
			for k := range e.data {
				have[int(e.off)+k] = true
			}
		}
		if total != x.bytes {
			t.Fatalf("bytes is %d, want %d", x.bytes, total)
		}
		for i := range known {
			if known[i] != have[i] || (known[i] && got[i] != model[i]) {
				t.Fatalf("byte %d: have %v %d, want %v %d", i, have[i], got[i], known[i], model[i])
			}
		}
		over := x.overlay(1000, 500)
		flat := make([]byte, 500)
		for _, e := range over {
			copy(flat[e.off-1000:], e.data)
		}
		for i := range flat {
			if known[1000+i] && flat[i] != model[1000+i] {
				t.Fatalf("overlay differs at %d", i)
			}
		}
	}
}
