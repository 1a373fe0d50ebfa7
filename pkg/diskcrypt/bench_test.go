package diskcrypt

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// nowhere is a file whose bytes cost nothing: what is measured is the encryption alone.
type nowhere struct{ vfs.File }

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nowhere) ReadAt(p []byte, _ int64) (int, error)  { return len(p), nil }

func BenchmarkCrypt(b *testing.B) {
	k := NewKey()
	for _, size := range []struct {
		name  string
		bytes int
	}{{"4KiB", 4 << 10}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}} {
		for _, what := range []struct {
			name string
			do   func(vfs.File, []byte, int64) (int, error)
		}{{"write", vfs.File.WriteAt}, {"read", vfs.File.ReadAt}} {
			b.Run(what.name+"/"+size.name, func(b *testing.B) {
				f := &file{File: nowhere{}, key: k}
				f.stream.Store(newStream(k, newSalt()))
				p := make([]byte, size.bytes)
				b.SetBytes(int64(len(p)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := what.do(f, p, 1000); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
