package pod

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
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

// TestPutStream breaks if a chunk's memory is used again before it is put.
func TestPutStream(t *testing.T) {
	const size = 80 << 20
	p := firstPod(t)
	ctx := quickly(t)
	body, err := p.putStream(ctx, size, randomStream(5, size), p.makingAt(1))
	if err != nil {
		t.Fatal(err)
	}
	placed, err := dag.Range(ctx, blocks{p.Pod}, body, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	cut := p.seal.Load().table.Split(randomStream(5, size), nil)
	for i, e := range placed {
		chunk, err := cut.Next()
		if err != nil || e.ID != block.Sum(block.Raw, chunk) || e.Len != uint64(len(chunk)) {
			t.Fatalf("chunk %d of %d is not the stream's, %v", i, len(placed), err)
		}
		if got, err := p.store.Get(ctx, e.ID); err != nil || !bytes.Equal(got, chunk) {
			t.Fatalf("chunk %d holds other bytes, %v", i, err)
		}
	}
	if _, err := cut.Next(); err != io.EOF { //nolint:errorlint // the end itself
		t.Errorf("chunks are missing: %v", err)
	}
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
