package pod

import (
	"bytes"
	"io"
	"testing"
)

// BenchmarkReadAt reads bytes that are in memory, in a file whose body is a tree.
func BenchmarkReadAt(b *testing.B) {
	p := filledPod(b, func(p *Pod) { putRandom(b, p, "f", 1, allocBytes) })
	f := openAt(b, p, "/f")
	for _, row := range []struct {
		name string
		size int64
	}{{"4KiB", 4 << 10}, {"128KiB", 128 << 10}} {
		b.Run(row.name, func(b *testing.B) {
			data := make([]byte, row.size)
			b.SetBytes(row.size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.ReadAt(b.Context(), data, 20<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkGetChunks reads a file from the disk, or from what the system keeps of it in memory.
func BenchmarkGetChunks(b *testing.B) {
	p := filledPod(b, func(p *Pod) { putRandom(b, p, "f", 1, allocBytes) })
	f := openAt(b, p, "/f")
	data := make([]byte, 1<<20)
	b.SetBytes(allocBytes)
	b.ReportAllocs()
	for b.Loop() {
		for off := int64(0); off < allocBytes; off += int64(len(data)) {
			if _, err := f.ReadAt(b.Context(), data, off); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkPutStream puts a stream that doesn't compress, each time another one.
func BenchmarkPutStream(b *testing.B) {
	p := filledPod(b, func(*Pod) {})
	data, err := io.ReadAll(randomStream(1, allocBytes))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(allocBytes)
	b.ReportAllocs()
	n := byte(0)
	for b.Loop() {
		n++
		for off := 0; off < len(data); off += 100_000 { // in each chunk
			data[off] = n
		}
		if _, err := p.putStream(b.Context(), allocBytes, bytes.NewReader(data), p.makingAt(1)); err != nil {
			b.Fatal(err)
		}
	}
}
