package pod

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestPutFileBroken breaks if a stream that breaks off is taken for a whole file.
func TestPutFileBroken(t *testing.T) {
	p := firstPod(t)
	ctx := quickly(t)
	m := FileMeta{Mode: 0o644}
	if _, err := p.PutFile(ctx, vfs.RootID, "f", m, 3, bytes.NewReader([]byte("old"))); err != nil {
		t.Fatal(err)
	}
	for _, broken := range []error{io.ErrUnexpectedEOF, fmt.Errorf("connection: %w", io.EOF), errors.New("disk")} {
		for _, size := range []int64{500, 3 << 20} {
			r := io.MultiReader(bytes.NewReader(make([]byte, size)), failing{broken})
			if _, err := p.PutFile(ctx, vfs.RootID, "f", m, size+1, r); err == nil {
				t.Errorf("after %d bytes and %v: no error", size, broken)
			}
		}
	}
	if err := p.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	p.reads("/f", "old")
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestReadAhead breaks if blocks that are read ahead change what is read.
func TestReadAhead(t *testing.T) {
	p := firstPod(t)
	ctx := quickly(t)
	data := make([]byte, 24<<20)
	for i := range data {
		data[i] = byte(i>>3) ^ byte(i>>11) ^ byte(i>>19)
	}
	a, err := p.PutFile(ctx, vfs.RootID, "f", FileMeta{Mode: 0o644}, int64(len(data)), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.fs.Open(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 128<<10)
	for off := 0; off < len(data); off += len(got) {
		n, err := f.ReadAt(ctx, got, int64(off))
		if err != nil || !bytes.Equal(got[:n], data[off:off+n]) {
			t.Fatalf("at %d: %d bytes, %v", off, n, err)
		}
	}
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
}
