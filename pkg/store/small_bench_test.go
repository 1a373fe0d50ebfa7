package store

import (
	"context"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/block/blocktest"
)

// smallText is n bytes of what people write, no line like the other.
func smallText(n int) []byte {
	words := strings.Fields("the pod keeps a block when its record has been written and somebody synced it, for func return if err nil chunk")
	b := make([]byte, 0, n+16)
	for i := uint64(1); len(b) < n; i = i*6364136223846793005 + 1442695040888963407 {
		b = append(append(b, words[(i>>33)%uint64(len(words))]...), " \n"[i>>62&1])
	}
	return b[:n]
}

// BenchmarkPutSmall puts different small blocks from as many goroutines as there are processors, hashing included, and
// syncs as the store bounds it.
func BenchmarkPutSmall(b *testing.B) {
	for _, row := range []struct {
		name  string
		plain []byte
	}{
		{"noise/100B", blocktest.Bytes(1, 100)},
		{"noise/2KiB", blocktest.Bytes(1, 2<<10)},
		{"text/2KiB", smallText(2 << 10)},
	} {
		b.Run(row.name, func(b *testing.B) {
			s := benchStore(b)
			b.SetBytes(int64(len(row.plain)))
			b.ReportAllocs()
			var next atomic.Uint64
			b.RunParallel(func(pb *testing.PB) {
				plain := append([]byte(nil), row.plain...)
				for pb.Next() {
					binary.BigEndian.PutUint64(plain, next.Add(1))
					if err := s.Put(context.Background(), block.Sum(block.Raw, plain), plain); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
