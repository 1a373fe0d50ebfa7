package pod

import (
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// TestWalkedBodies: it never says of a body that it was walked which was not, since what that alone names would be lost; it has most of those that it
// has room for, and takes no more memory for more.
func TestWalkedBodies(t *testing.T) {
	const n = 1 << 12
	s := newWalkedBodies(n)
	id := func(i int) walked {
		return walkedID(block.Sum(block.Raw, []byte{byte(i), byte(i >> 8), byte(i >> 16)}))
	}
	for i := range n {
		s.add(id(i))
	}
	has := 0
	for i := range n {
		if s.has(id(i)) {
			has++
		}
	}
	if has < n*3/4 {
		t.Errorf("%d of %d are remembered", has, n)
	}
	for i := n; i < 3*n; i++ {
		if s.has(id(i)) {
			t.Fatalf("%d was never added", i)
		}
	}
	if big := newWalkedBodies(100 * walkedMax); len(big)*walkedWays != walkedMax {
		t.Errorf("room for %d", len(big)*walkedWays)
	}
}
