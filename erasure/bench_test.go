package erasure

import (
	"fmt"
	"testing"

	"github.com/klauspost/reedsolomon"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// BenchmarkEncode compares the parity that this package makes with the library's own, on memory that it aligned itself: MB/s of the form.
func BenchmarkEncode(b *testing.B) {
	for _, n := range []int{256 << 10, 1 << 20, 4 << 20} {
		_, form := formOf(random(b), n)
		size := block.FragmentSize(len(form), 4)
		b.Run(fmt.Sprintf("by=library/%dKiB", n>>10), func(b *testing.B) {
			enc, err := reedsolomon.New(4, 2, reedsolomon.WithMaxGoroutines(1))
			if err != nil {
				b.Fatal(err)
			}
			shards := reedsolomon.AllocAligned(6, size)
			b.SetBytes(int64(n))
			for b.Loop() {
				if err := enc.Encode(shards); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("by=us/%dKiB", n>>10), func(b *testing.B) {
			var c Codec
			id := block.Sum(block.Raw, form[block.HeaderLen:])
			s := new(Set)
			if err := c.Cut(s, id, form, 4, 2); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(n))
			for b.Loop() {
				if err := c.parity(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCut is the whole of it: the digest of the form, the parity, the digests of the fragments.
func BenchmarkCut(b *testing.B) {
	for _, n := range []int{256 << 10, 1 << 20, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			var c Codec
			id, form := formOf(random(b), n)
			s := new(Set)
			room := s.Room(len(form), 4, 2)
			copy(room, form)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Cut(s, id, room, 4, 2); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkJoin is a degraded read: one fragment of data is lost.
func BenchmarkJoin(b *testing.B) {
	const n = 1 << 20
	var c Codec
	id, form := formOf(random(b), n)
	wires := wiresOf(b, mustCut(b, id, form, 4, 2))
	var s Set
	b.SetBytes(n)
	b.ReportAllocs()
	for b.Loop() {
		for i, w := range wires[1:5] {
			f, r, data, err := block.ParseFragment(w)
			if err != nil {
				b.Fatal(err)
			}
			if i == 0 {
				s.Reset(r)
			}
			if _, err := s.Add(r, int(f.I), data); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := c.Join(&s); err != nil {
			b.Fatal(err)
		}
	}
}
