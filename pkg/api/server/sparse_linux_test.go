package server

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

// TestWithHoles breaks if the parts of a file with holes are not its bytes.
func TestWithHoles(t *testing.T) {
	for name, data := range map[string]map[int64]int{ // offset -> bytes
		"dense":  {0: 3 << 20},
		"start":  {0: 100},
		"middle": {3 << 20: 1 << 20, 9 << 20: 5, 9<<20 + 32<<10: 5},
		"hole":   {},
		"end":    {16<<20 - 4096: 4096},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "f"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }() // A test's.
			size := int64(16 << 20)
			if name == "dense" {
				size = 3 << 20
			}
			want := make([]byte, size)
			for off, n := range data {
				copy(want[off:], bytes.Repeat([]byte{7}, n))
				if _, err := f.WriteAt(want[off:off+int64(n)], off); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Truncate(size); err != nil {
				t.Fatal(err)
			}
			r, ok := withHoles(f).(pod.Sparse)
			hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE) // a file system without holes has one at the end alone
			if err != nil {
				t.Fatal(err)
			}
			if ok != (hole < size) {
				t.Fatalf("it has parts: %t; its first hole is at %d of %d", ok, hole, size)
			}
			if !ok {
				if name != "dense" {
					testneed.Missing(t, "a file system without holes")
				}
				return
			}
			var got []byte
			read := int64(0)
			for {
				hole, err := r.NextPart()
				got = append(got, make([]byte, hole)...)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(r)
				if err != nil {
					t.Fatal(err)
				}
				read += int64(len(b))
				got = append(got, b...)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes, want %d, or others", len(got), len(want))
			}
			if read > 3<<20 {
				t.Errorf("%d bytes were read", read)
			}
		})
	}
}
