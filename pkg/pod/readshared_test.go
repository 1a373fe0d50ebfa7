package pod

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// readAllShared reads a file to its end as it is given, and by ReadAt where it is not; shared is how many bytes were.
func readAllShared(t *testing.T, f vfs.File) (all []byte, shared int) {
	t.Helper()
	s, ok := f.(vfs.SharedReader)
	if !ok {
		t.Fatalf("a %T shares nothing", f)
	}
	for {
		b, lent, err := s.ReadShared(t.Context(), int64(len(all)))
		switch {
		case err == io.EOF: //nolint:errorlint // as the interface says
			return all, shared
		case errors.Is(err, vfs.ErrNotSupported):
			buf := make([]byte, 1000)
			n, err := f.ReadAt(t.Context(), buf, int64(len(all)))
			if err != nil && err != io.EOF { //nolint:errorlint // as the interface says
				t.Fatal(err)
			}
			b = buf[:n]
		case err != nil || len(b) == 0:
			t.Fatalf("at %d: %d bytes, %v", len(all), len(b), err)
		case len(b) < sharedMin:
			t.Fatalf("%d bytes are shared at %d", len(b), len(all))
		default:
			shared += len(b)
		}
		all = append(all, b...)
		if lent != nil {
			lent.GiveBack()
		}
	}
}

// TestReadShared: what is shared is the file, also while it is written, made shorter or longer, and in and behind holes; most of one that rests is shared.
func TestReadShared(t *testing.T) {
	p := firstPod(t)
	text := randomText(7100, 3_000_000)
	p.write("/f", text)
	p.settle()
	f, id := p.open("/f")
	defer func() { _ = f.Close(p.t.Context()) }()
	same := func(what string, least int) {
		t.Helper()
		if got, shared := readAllShared(t, f); string(got) != text || shared < least {
			t.Errorf("%s: %d bytes of %d, the same: %t; %d are shared", what, len(got), len(text), string(got) == text, shared)
		}
	}
	same("at rest", len(text)/2)
	size := uint64(len(text) - 700_001)
	if _, err := p.fs.SetAttr(t.Context(), id, vfs.SetAttr{Size: &size}); err != nil {
		t.Fatal(err)
	}
	text = text[:size]
	same("cut", 0)
	if _, err := f.WriteAt(t.Context(), []byte("written"), 1_000_000); err != nil {
		t.Fatal(err)
	}
	text = text[:1_000_000] + "written" + text[1_000_007:]
	same("written", 0)
	if _, err := f.WriteAt(t.Context(), []byte("behind a hole"), int64(len(text))+5_000_000); err != nil {
		t.Fatal(err)
	}
	text += string(make([]byte, 5_000_000)) + "behind a hole"
	same("with a hole", 0)
	if err := f.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.settle()
	same("with a hole, at rest", int(size)/2)
	for at := range 20 {
		if _, err := f.WriteAt(t.Context(), []byte("edited"), int64(at)*20_000); err != nil {
			t.Fatal(err)
		}
		text = text[:at*20_000] + "edited" + text[at*20_000+6:]
		if err := f.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.settle()
	same("with many small edits", 1)
	if s, ok := f.(vfs.SharedReader); ok {
		if _, _, err := s.ReadShared(t.Context(), -1); !errors.Is(err, vfs.ErrInvalid) {
			t.Errorf("before the start: %v", err)
		}
	}
	text = "inline"
	p.write("/small", text)
	small, _ := p.open("/small")
	defer func() { _ = small.Close(p.t.Context()) }()
	f = small
	same("inline", 0)
}

// TestReadsGiveBackLast breaks if a read looks at a chunk that it has given back: no chunk stays in memory here, so that of each is another's at once.
func TestReadsGiveBackLast(t *testing.T) {
	const size = 12 << 20
	p := filledPod(t, func(p *Pod) { putRandom(t, p, "f", 73, size) })
	text, err := io.ReadAll(randomStream(73, size))
	if err != nil {
		t.Fatal(err)
	}
	p.chunks = newChunkCache(1)
	const readers, piece = 4, 200_000
	var wg sync.WaitGroup
	for i := range readers {
		f := openAt(t, p, "/f")
		wg.Go(func() {
			for range 4 {
				if i == 0 {
					if got, _ := readAllShared(t, f); !bytes.Equal(got, text) {
						t.Error("what is shared is not the file")
						return
					}
					continue
				}
				buf := make([]byte, piece)
				for at := 0; at+piece <= len(text); at += piece {
					if _, err := f.ReadAt(t.Context(), buf, int64(at)); err != nil || !bytes.Equal(buf, text[at:at+piece]) {
						t.Errorf("at %d it is not the file: %v", at, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// memGetter has blocks in memory.
type memGetter map[block.ID][]byte

func (m memGetter) Get(_ context.Context, id block.ID) ([]byte, error) {
	if b, ok := m[id]; ok {
		return b, nil
	}
	return nil, block.ErrNotFound
}

// TestReadBodyClears: a read leaves nothing in the memory that it is given of what was there: not in holes, nor behind the end.
func TestReadBodyClears(t *testing.T) {
	chunk := bytes.Repeat([]byte("c"), 100)
	id := block.Sum(block.Raw, chunk)
	get := memGetter{id: chunk}
	hole := dag.Entry{Len: 50}
	for name, entries := range map[string][]dag.Entry{
		"a hole before, between and behind": {hole, {Len: 60, Skip: 10, ID: id}, hole, {Len: 100, ID: id}, hole},
		"no hole":                           {{Len: 100, ID: id}, {Len: 100, ID: id}},
		"a hole alone":                      {hole},
	} {
		var want []byte
		for _, e := range entries {
			if e.IsHole() {
				want = append(want, make([]byte, e.Len)...)
			} else {
				want = append(want, chunk[e.Skip:][:e.Len]...)
			}
		}
		body := dag.Body{Size: uint64(len(want)), Entries: entries}
		want = append(want, make([]byte, 100)...)
		for from := range want {
			for _, n := range []int{0, 1, 49, 50, 51, 120, len(want) - from} {
				n = min(n, len(want)-from)
				got := bytes.Repeat([]byte{0xff}, n)
				if err := readBody(t.Context(), get, body, got, uint64(from)); err != nil || !bytes.Equal(got, want[from:from+n]) {
					t.Fatalf("%s: %d bytes at %d: %x, %v", name, n, from, got, err)
				}
			}
		}
	}
	got := bytes.Repeat([]byte{0xff}, 20)
	if err := readBody(t.Context(), get, dag.InlineBody([]byte("inline")), got, 2); err != nil || string(got) != "line"+string(make([]byte, 16)) {
		t.Errorf("inline: %q, %v", got, err)
	}
}
