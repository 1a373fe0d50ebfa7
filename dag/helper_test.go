package dag

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

var (
	updateFlag  = flag.Bool("update", false, "write the golden files anew")
	entriesFlag = flag.Int("entries", 1_000_000, "how many entries the largest folder has")
	seedFlag    = flag.Uint64("seed", 0, "seed of random tests; 0: a new one")
)

// newRand is a random source whose seed is printed when the test fails.
func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// golden compares bytes with a golden file of hexadecimal lines.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "format", name+".hex")
	if *updateFlag {
		var text strings.Builder
		for line := range chunksOf(got, 32) {
			text.WriteString(hex.EncodeToString(line) + "\n")
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the format has changed:\ngot  %x\nwant %x", name, got, want)
	}
}

func chunksOf(b []byte, n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			k := min(n, len(b))
			if !yield(b[:k]) {
				return
			}
			b = b[k:]
		}
	}
}

// chunkID is the ID of an imagined chunk.
func chunkID(n uint64) block.ID {
	return block.Sum(block.Raw, binary.BigEndian.AppendUint64([]byte("chunk"), n))
}

// nodeID is the ID of an imagined node.
func nodeID(n uint64) block.ID {
	return block.Sum(block.DagCBOR, binary.BigEndian.AppendUint64([]byte("node"), n))
}

// counted counts the blocks that are got and put.
type counted struct {
	block.Store
	gets, puts int
}

func (c *counted) Get(ctx context.Context, id block.ID) ([]byte, error) {
	c.gets++
	return c.Store.Get(ctx, id)
}

func (c *counted) Put(ctx context.Context, id block.ID, plain []byte) error {
	c.puts++
	return c.Store.Put(ctx, id, plain)
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// equateIDs compares IDs by ==, and byte strings, none and empty ones alike, in one step: cmp is slow on long ones.
var equateIDs = cmp.Options{
	cmp.Comparer(func(a, b block.ID) bool { return a == b }),
	cmp.Comparer(bytes.Equal),
}
