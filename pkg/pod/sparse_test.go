package pod

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// parts is a Sparse: holes and data in turn.
type parts struct {
	holes []int64
	data  [][]byte
	tail  int64
	now   io.Reader
}

func (s *parts) NextPart() (int64, error) {
	if len(s.data) == 0 {
		return s.tail, io.EOF
	}
	hole := s.holes[0]
	s.now, s.holes, s.data = bytes.NewReader(s.data[0]), s.holes[1:], s.data[1:]
	return hole, nil
}

func (s *parts) Read(p []byte) (int, error) { return s.now.Read(p) }

// plain is what the file holds.
func (s *parts) plain() []byte {
	var b []byte
	for i, d := range s.data {
		b = append(append(b, make([]byte, s.holes[i])...), d...)
	}
	return append(b, make([]byte, s.tail)...)
}

// pattern is bytes none of which is zero.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i%251) + 1
	}
	return b
}

// TestSparse breaks if a file with holes comes out with other bytes, or its holes are forgotten.
func TestSparse(t *testing.T) {
	p := firstPod(t)
	ctx := quickly(t)
	for name, s := range map[string]*parts{
		"none":   {},
		"hole":   {tail: 5 << 20},
		"start":  {holes: []int64{1 << 20}, data: [][]byte{pattern(10)}},
		"end":    {holes: []int64{0}, data: [][]byte{pattern(3 << 20)}, tail: 7},
		"both":   {holes: []int64{1 << 20, 3 << 20}, data: [][]byte{pattern(5 << 20), pattern(1)}, tail: 1 << 20},
		"no one": {holes: []int64{0}, data: [][]byte{pattern(2 << 20)}},
	} {
		want := s.plain()
		a, err := p.PutFile(ctx, vfs.RootID, name, FileMeta{Mode: 0o644}, int64(len(want)), s)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		p.reads("/"+name, string(want))
		f, err := p.fs.Open(ctx, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		checkData(t, f, want)
		if len(want) == 0 {
			continue
		}
		// Written, and not yet cut.
		for _, off := range []int{len(want) / 2, 0, len(want) + 100} {
			if _, err := f.WriteAt(ctx, []byte("dirty"), int64(off)); err != nil {
				t.Fatal(err)
			}
			want = append(want, make([]byte, max(off+5-len(want), 0))...)
			copy(want[off:], "dirty")
			checkData(t, f, want)
		}
		if err := f.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	// A file of a size that nobody can read.
	a, err := p.PutFile(ctx, vfs.RootID, "huge", FileMeta{Mode: 0o644}, -1, &parts{holes: []int64{1 << 40}, data: [][]byte{pattern(10)}, tail: 1 << 40})
	if err != nil || a.Size != 2<<40+10 || a.Blocks > 8 {
		t.Fatalf("%+v, %v", a, err)
	}
	f, err := p.fs.Open(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if from, to, err := f.(*file).NextData(ctx, 0); err != nil || from != 1<<40 || to != from+10 {
		t.Errorf("data from %d to %d, %v", from, to, err)
	}
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// checkData compares NextData with a file's bytes, none of whose data is zero: all else must be holes.
func checkData(t *testing.T, f vfs.File, want []byte) {
	t.Helper()
	end := int64(0)
	for {
		from, to, err := f.(*file).NextData(quickly(t), end)
		if errors.Is(err, io.EOF) {
			from = int64(len(want))
		} else if err != nil {
			t.Fatal(err)
		}
		if from < end || !isZero(want[end:from]) {
			t.Fatalf("there is data between %d and %d", end, from)
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if to <= from || to > int64(len(want)) {
			t.Fatalf("data from %d to %d of %d", from, to, len(want))
		}
		if bytes.IndexByte(want[from:to], 0) >= 0 && to-from > 8<<20 {
			t.Fatalf("holes between %d and %d are taken for data", from, to)
		}
		end = to
	}
}
