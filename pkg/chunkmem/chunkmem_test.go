package chunkmem

import (
	"math/rand/v2"
	"testing"
)

// TestTake breaks if what is taken is shorter than it is to be, or far longer, however often the memory was used and lost what stood before a block.
func TestTake(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's
	for range 2000 {
		n := rnd.IntN(most + 1000)
		b := Take(n)
		if len(b) != n {
			t.Fatalf("%d bytes were taken, %d came", n, len(b))
		}
		if n >= least && cap(b) > (n+n/4)*5/4+slack { // a fourth for its class, and another for one above that it came from
			t.Fatalf("%d bytes have %d of memory", n, cap(b))
		}
		Give(b[min(n, rnd.IntN(headers)):])
	}
}

// TestTakeAgain breaks if memory is not used again, for a block that is a little longer too.
func TestTakeAgain(t *testing.T) {
	const n, tries = 1 << 20, 100
	again := 0
	for range tries {
		b := Take(n)
		b[100] = 1
		Give(b[80:])
		b = Take(n + headers)
		if len(b) > 20 && b[20] != 0 {
			again++
		}
		Give(b)
	}
	if again < tries/4 { // with the race detector a pool loses some
		t.Errorf("%d times of %d", again, tries)
	}
}

// TestGiveLess: what is too short to be of use is left alone.
func TestGiveLess(t *testing.T) {
	Give(nil)
	b := make([]byte, least)
	b[0] = 1
	Give(b)
	if b[0] != 1 {
		t.Error("it was taken")
	}
}
