package blocktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Run runs the conformance suite of block.Store. open gives an empty store and cleans up after
// itself with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) block.Store) {
	t.Helper()
	tests := []struct {
		name string
		run  func(*testing.T, block.Store)
	}{
		{"put then get", testPutGet},
		{"get of nothing", testNotFound},
		{"put twice", testPutTwice},
		{"codecs are apart", testCodecs},
		{"bytes are not kept", testNotKept},
		{"wrong bytes are never served", testWrongBytes},
		{"too many bytes", testTooMany},
		{"cancelled", testCancelled},
		{"concurrent", testConcurrent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Helper()
			tt.run(t, open(t))
		})
	}
}

// Bytes is n bytes made from a seed: half of the seeds (the even ones) give bytes that compress
// well, the others bytes that don't.
func Bytes(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	if seed%2 == 0 {
		for i := range b {
			b[i] = 'a' + b[i]%4
		}
	}
	return b
}

// sizes are plain lengths at which stores differ: none, few, around a page, the limits.
var sizes = []int{0, 1, 15, 4095, 4096, 4097, 1 << 16, block.NodeMax}

func testPutGet(t *testing.T, s block.Store) {
	ctx := context.Background()
	for seed, size := range sizes {
		for _, codec := range []block.Codec{block.Raw, block.DagCBOR} {
			want := Bytes(uint64(seed), size)
			id := block.Sum(codec, want)
			put(t, s, id, want)
			got, err := s.Get(ctx, id)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("codec %x, %d bytes: got %d bytes, %v", codec, size, len(got), err)
			}
		}
	}
	for _, seed := range []uint64{20, 21} {
		want := Bytes(seed, block.ChunkMax)
		id := block.Sum(block.Raw, want)
		put(t, s, id, want)
		if got, err := s.Get(ctx, id); err != nil || !bytes.Equal(got, want) {
			t.Errorf("largest chunk: got %d bytes, %v", len(got), err)
		}
	}
}

func testNotFound(t *testing.T, s block.Store) {
	put(t, s, block.Sum(block.Raw, []byte("there")), []byte("there"))
	for _, id := range []block.ID{block.Sum(block.Raw, []byte("not there")), {}} {
		if got, err := s.Get(context.Background(), id); !errors.Is(err, block.ErrNotFound) {
			t.Errorf("get %q: got %q, %v; want ErrNotFound", id, got, err)
		}
	}
}

func testPutTwice(t *testing.T, s block.Store) {
	want := Bytes(1, 5000)
	id := block.Sum(block.Raw, want)
	put(t, s, id, want)
	put(t, s, id, want)
	if got, err := s.Get(context.Background(), id); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// testCodecs: the same bytes under two codecs are two blocks.
func testCodecs(t *testing.T, s block.Store) {
	b := Bytes(3, 100)
	put(t, s, block.Sum(block.Raw, b), b)
	if _, err := s.Get(context.Background(), block.Sum(block.DagCBOR, b)); !errors.Is(err, block.ErrNotFound) {
		t.Errorf("get under the other codec: %v; want ErrNotFound", err)
	}
}

// testNotKept: the caller may use its buffer again after Put.
func testNotKept(t *testing.T, s block.Store) {
	for seed := range uint64(2) {
		want := Bytes(seed, 3000)
		id := block.Sum(block.Raw, want)
		buf := bytes.Clone(want)
		put(t, s, id, buf)
		clear(buf)
		if got, err := s.Get(context.Background(), id); err != nil || !bytes.Equal(got, want) {
			t.Errorf("seed %d: got %d bytes, %v", seed, len(got), err)
		}
	}
}

// testWrongBytes: bytes put under another's ID are refused, by Put or at the latest by Get.
func testWrongBytes(t *testing.T, s block.Store) {
	ctx := context.Background()
	id := block.Sum(block.Raw, Bytes(5, 2000))
	if err := s.Put(ctx, id, Bytes(7, 2000)); err != nil {
		if !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("put: %v; want ErrCorrupt", err)
		}
		return
	}
	if got, err := s.Get(ctx, id); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("get: %d bytes, %v; want ErrCorrupt", len(got), err)
	}
}

func testTooMany(t *testing.T, s block.Store) {
	ctx := context.Background()
	for _, codec := range []block.Codec{block.Raw, block.DagCBOR} {
		b := make([]byte, block.SizeMax(block.Sum(codec, nil))+1)
		id := block.Sum(codec, b)
		if err := s.Put(ctx, id, b); err == nil {
			t.Errorf("codec %x: put of %d bytes is no error", codec, len(b))
		}
		if _, err := s.Get(ctx, id); !errors.Is(err, block.ErrNotFound) {
			t.Errorf("codec %x: get: %v; want ErrNotFound", codec, err)
		}
	}
}

func testCancelled(t *testing.T, s block.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	b := []byte("bytes")
	id := block.Sum(block.Raw, b)
	put(t, s, id, b)
	cancel()
	if _, err := s.Get(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v; want context.Canceled", err)
	}
	if err := s.Put(ctx, id, b); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v; want context.Canceled", err)
	}
}

// testConcurrent: workers put and get the same and different blocks at once.
func testConcurrent(t *testing.T, s block.Store) {
	const workers, rounds = 8, 30
	ctx := context.Background()
	var wg sync.WaitGroup
	for w := range uint64(workers) {
		wg.Go(func() {
			for i := range uint64(rounds) {
				for _, seed := range []uint64{i, 1000*w + i} { // shared by all; own
					want := Bytes(seed, int(200+seed%3000))
					id := block.Sum(block.Raw, want)
					if err := putGet(ctx, s, id, want); err != nil {
						t.Errorf("worker %d, seed %d: %v", w, seed, err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func putGet(ctx context.Context, s block.Store, id block.ID, want []byte) error {
	if err := s.Put(ctx, id, want); err != nil {
		return err
	}
	got, err := s.Get(ctx, id)
	if err == nil && !bytes.Equal(got, want) {
		return fmt.Errorf("got %d other bytes", len(got))
	}
	return err
}

func put(t *testing.T, s block.Store, id block.ID, b []byte) {
	t.Helper()
	if err := s.Put(context.Background(), id, b); err != nil {
		t.Fatalf("put %s, %d bytes: %v", id, len(b), err)
	}
}
