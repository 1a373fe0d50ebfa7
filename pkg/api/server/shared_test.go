package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// sharingFile is a file of which pieces of 700 bytes are lent, each third of them not, and which breaks at an offset.
type sharingFile struct {
	vfs.File

	data   []byte
	breaks int64
	out    *atomic.Int64 // how many pieces are lent and not given back
}

// lentPiece spoils its bytes when it is given back.
type lentPiece struct {
	b   []byte
	out *atomic.Int64
}

func (l lentPiece) GiveBack() {
	clear(l.b)
	l.out.Add(-1)
}

var errBroken = errors.New("broken")

func (f sharingFile) ReadShared(_ context.Context, off int64) ([]byte, vfs.Lent, error) {
	const piece = 700
	switch end := (off/piece + 1) * piece; {
	case off >= int64(len(f.data)):
		return nil, nil, io.EOF
	case f.breaks > 0 && end > f.breaks:
		return nil, nil, errBroken
	case off/piece%3 == 2:
		return nil, nil, fmt.Errorf("fake: %w", vfs.ErrNotSupported)
	default:
		b := bytes.Clone(f.data[off:min(end, int64(len(f.data)))])
		f.out.Add(1)
		return b, lentPiece{b, f.out}, nil
	}
}

func (f sharingFile) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return bytes.NewReader(f.data).ReadAt(p, off)
}

// TestSharedParts: a file whose bytes are shared in part is given on whole, so is a section of it and no more, and its errors are.
func TestSharedParts(t *testing.T) {
	data := make([]byte, 10_000)
	for i := range data {
		data[i] = byte(i * 7 / 3)
	}
	given := func(f vfs.File) (got []byte, err error) {
		err = eachPartAhead(t.Context(), f, [2][]byte{make([]byte, 900), make([]byte, 900)}, func(b []byte, off int64) error {
			if off != int64(len(got)) {
				t.Errorf("a part at %d after %d bytes", off, len(got))
			}
			got = append(got, b...)
			return nil
		})
		return got, err
	}
	f := sharingFile{data: data, out: new(atomic.Int64)}
	if got, err := given(f); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for _, part := range [][2]int64{{0, 10_000}, {1, 699}, {699, 701}, {650, 2050}, {1400, 9999}, {9999, 10_000}} {
		got, err := given(section{f, part[0], part[1]})
		if err != nil || !bytes.Equal(got, data[part[0]:part[1]]) {
			t.Errorf("section %v: %d bytes, %v", part, len(got), err)
		}
	}
	if n := f.out.Load(); n != 0 {
		t.Errorf("%d pieces were lent and not given back", n)
	}
	f.breaks = 5000
	if got, err := given(f); !errors.Is(err, errBroken) || !bytes.HasPrefix(data, got) {
		t.Errorf("a broken one: %d bytes, %v", len(got), err)
	}
}
