package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/block/blocktest"
	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
)

func benchStore(b *testing.B) *Store {
	b.Helper()
	return benchStoreOn(b, vfs.Default)
}

func benchStoreOn(b *testing.B, fs vfs.FS) *Store {
	b.Helper()
	s, err := Open(fs, b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { mustClose(b, s) })
	return s
}

var benchSizes = []struct {
	name string
	n    int
}{{"4KiB", 4 << 10}, {"1MiB", 1 << 20}}

// BenchmarkPut puts different blocks, incompressible, and syncs as the store bounds it.
func BenchmarkPut(b *testing.B) { benchPut(b, vfs.Default) }

// BenchmarkPutLocked is BenchmarkPut on an encrypted disk.
func BenchmarkPutLocked(b *testing.B) { benchPut(b, diskcrypt.New(vfs.Default, diskcrypt.NewKey())) }

func benchPut(b *testing.B, fs vfs.FS) {
	for _, size := range benchSizes {
		b.Run(size.name, func(b *testing.B) {
			s := benchStoreOn(b, fs)
			plain := blocktest.Bytes(1, size.n)
			b.SetBytes(int64(size.n))
			b.ReportAllocs()
			var i uint64
			for b.Loop() {
				i++
				binary.BigEndian.PutUint64(plain, i)
				if err := s.Put(context.Background(), block.Sum(block.Raw, plain), plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPutSync puts a block and syncs, alone and with others at the same time.
func BenchmarkPutSync(b *testing.B) {
	for _, parallel := range []int{1, 8} {
		b.Run(fmt.Sprintf("4KiB/parallel=%d", parallel), func(b *testing.B) {
			s := benchStore(b)
			b.SetBytes(4 << 10)
			b.SetParallelism(parallel)
			seeds := make(chan uint64, 1)
			seeds <- 0
			b.RunParallel(func(pb *testing.PB) {
				plain := blocktest.Bytes(1, 4<<10)
				for pb.Next() {
					seed := <-seeds
					seeds <- seed + 1
					binary.BigEndian.PutUint64(plain, seed)
					err := s.Put(context.Background(), block.Sum(block.Raw, plain), plain)
					if err == nil {
						err = s.Sync(context.Background())
					}
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkGet gets blocks from the page cache, with all checks.
func BenchmarkGet(b *testing.B) { benchGet(b, vfs.Default) }

// BenchmarkGetLocked is BenchmarkGet from an encrypted disk.
func BenchmarkGetLocked(b *testing.B) { benchGet(b, diskcrypt.New(vfs.Default, diskcrypt.NewKey())) }

func benchGet(b *testing.B, fs vfs.FS) {
	for _, size := range benchSizes {
		b.Run(size.name, func(b *testing.B) {
			s := benchStoreOn(b, fs)
			var ids []block.ID
			for i := range uint64(64) {
				ids = append(ids, mustPut(b, s, 2*i+1, size.n))
			}
			mustSync(b, s)
			b.SetBytes(int64(size.n))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := s.Get(context.Background(), ids[i%len(ids)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// TestPutAllocs: a Put takes little memory beside its buffers, which are used again.
func TestPutAllocs(t *testing.T) {
	s := openAt(t, vfs.NewMem(), Options{})
	plain := blocktest.Bytes(1, 4<<10)
	var i uint64
	got := testing.AllocsPerRun(200, func() {
		i++
		binary.BigEndian.PutUint64(plain, i)
		if err := s.Put(context.Background(), block.Sum(block.Raw, plain), plain); err != nil {
			t.Fatal(err)
		}
	})
	if got > 12 {
		t.Errorf("%.0f allocations a Put", got)
	}
	t.Logf("%.0f allocations a Put", got)
}
