package erasure

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/klauspost/reedsolomon"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// BenchmarkEncode compares the parity that this package makes with the library's own, on memory that it aligned itself. Both take turns, and the best of each counts, so that what
// else runs on the machine tells for neither: MB/s of the form, and how many times the library's that is.
func BenchmarkEncode(b *testing.B) {
	for _, n := range []int{256 << 10, 1 << 20, 4 << 20} {
		b.Run(fmt.Sprintf("4+2/%dKiB", n>>10), func(b *testing.B) {
			id, form := formOf(random(b), n)
			enc, err := reedsolomon.New(4, 2, reedsolomon.WithMaxGoroutines(1))
			if err != nil {
				b.Fatal(err)
			}
			shards := reedsolomon.AllocAligned(6, block.FragmentSize(len(form), 4))
			var c Codec
			var s Set
			if err := c.Cut(&s, id, form, 4, 2); err != nil {
				b.Fatal(err)
			}
			for i := range shards { // pages that were never written are one page of zeros
				copy(shards[i], s.shards[i])
			}
			library, ours := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
			for b.Loop() {
				begin := time.Now()
				if err := enc.Encode(shards); err != nil {
					b.Fatal(err)
				}
				middle := time.Now()
				if err := c.parity(&s); err != nil {
					b.Fatal(err)
				}
				library, ours = min(library, middle.Sub(begin)), min(ours, time.Since(middle))
			}
			b.ReportMetric(float64(n)/ours.Seconds()/1e6, "MB/s")
			b.ReportMetric(float64(n)/library.Seconds()/1e6, "library-MB/s")
			b.ReportMetric(library.Seconds()/ours.Seconds(), "of-library")
		})
	}
}

// BenchmarkCut is the whole of it: the digest of the form, the parity, the digests of the fragments; MB/s of the form, the best.
func BenchmarkCut(b *testing.B) {
	for _, n := range []int{256 << 10, 1 << 20, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			var c Codec
			id, form := formOf(random(b), n)
			s := new(Set)
			room := s.Room(len(form), 4, 2)
			copy(room, form)
			b.ReportAllocs()
			best := time.Duration(math.MaxInt64)
			for b.Loop() {
				begin := time.Now()
				if err := c.Cut(s, id, room, 4, 2); err != nil {
					b.Fatal(err)
				}
				best = min(best, time.Since(begin))
			}
			b.ReportMetric(float64(n)/best.Seconds()/1e6, "MB/s")
		})
	}
}

// BenchmarkDecode compares the bytes that this package makes again out of parity with the library's own, as BenchmarkEncode does: two fragments of data are lost.
func BenchmarkDecode(b *testing.B) {
	const n = 1 << 20
	id, form := formOf(random(b), n)
	var c Codec
	var s Set
	if err := c.Cut(&s, id, form, 4, 2); err != nil {
		b.Fatal(err)
	}
	enc, err := reedsolomon.New(4, 2, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		b.Fatal(err)
	}
	shards, lost := reedsolomon.AllocAligned(6, block.FragmentSize(len(form), 4)), make([][]byte, 6)
	for i := range shards {
		copy(shards[i], s.shards[i])
	}
	library, ours := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for b.Loop() {
		copy(lost, shards)
		lost[0], lost[2] = lost[0][:0], lost[2][:0]
		begin := time.Now()
		if err := enc.ReconstructData(lost); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		s.have[0], s.have[2] = false, false
		if err := c.reconstruct(&s); err != nil {
			b.Fatal(err)
		}
		library, ours = min(library, middle.Sub(begin)), min(ours, time.Since(middle))
	}
	b.ReportMetric(float64(n)/ours.Seconds()/1e6, "MB/s")
	b.ReportMetric(float64(n)/library.Seconds()/1e6, "library-MB/s")
	b.ReportMetric(library.Seconds()/ours.Seconds(), "of-library")
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
