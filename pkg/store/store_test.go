package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/block/blocktest"
)

const testDir = "home/store"

// openAt opens a store that the test closes, or a cleanup.
func openAt(t testing.TB, fs vfs.FS, o Options) *Store {
	t.Helper()
	if err := fs.MkdirAll("home", 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Open(fs, testDir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // most tests have closed it with the error checked
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func mustSync(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Sync(context.Background()); err != nil {
		t.Fatalf("sync: %v", err)
	}
}

// testBlock is a block made from a seed, and its ID.
func testBlock(seed uint64, n int) (block.ID, []byte) {
	b := blocktest.Bytes(seed, n)
	return block.Sum(block.Raw, b), b
}

func mustPut(t testing.TB, s *Store, seed uint64, n int) block.ID {
	t.Helper()
	id, b := testBlock(seed, n)
	if err := s.Put(context.Background(), id, b); err != nil {
		t.Fatalf("put seed %d: %v", seed, err)
	}
	return id
}

func wantBlock(t testing.TB, s *Store, seed uint64, n int) {
	t.Helper()
	id, want := testBlock(seed, n)
	got, err := s.Get(context.Background(), id)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("get seed %d: %d bytes, %v", seed, len(got), err)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// wantCheck runs Check and compares the number of problems of each kind.
func wantCheck(t testing.TB, s *Store, want map[ProblemKind]int) {
	t.Helper()
	got := make(map[ProblemKind]int)
	var all []Problem
	err := s.Check(context.Background(), func(p Problem) {
		got[p.Kind]++
		all = append(all, p)
	})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("check found %v, want %v: %v", got, want, all)
	}
	checkCounts(t, s)
}

// checkCounts compares Usage with what Each lists.
func checkCounts(t testing.TB, s *Store) {
	t.Helper()
	var want Usage
	err := s.Each(context.Background(), func(_ block.ID, n int64, cached bool) error {
		want.Blocks++
		if cached {
			want.CachedBytes += n
		} else {
			want.OwnedBytes += n
		}
		return nil
	})
	if err != nil {
		t.Fatalf("each: %v", err)
	}
	err = s.EachFragment(context.Background(), func(_ block.Fragment, n int64, trashed bool, _ time.Time) error {
		if trashed || n == 0 {
			want.TrashBytes += n
			return nil
		}
		want.Blocks++
		want.OwnedBytes += n
		return nil
	})
	if err != nil {
		t.Fatalf("each fragment: %v", err)
	}
	err = s.EachTrash(context.Background(), func(_ block.ID, n int64, _ time.Time) error {
		want.TrashBytes += n
		return nil
	})
	if err != nil {
		t.Fatalf("each of the trash: %v", err)
	}
	got := s.Usage()
	want.DeadBytes, want.FreeBytes = got.DeadBytes, got.FreeBytes
	if got != want {
		t.Errorf("usage %+v, each says %+v", got, want)
	}
	if got.DeadBytes < 0 {
		t.Errorf("%d dead bytes", got.DeadBytes)
	}
	s.mu.RLock()
	if used := s.usedNow(); s.used != used {
		t.Errorf("%d bytes are counted as used, the segments have %d", s.used, used)
	}
	s.mu.RUnlock()
	if have := s.cache.bytes(); have != got.CachedBytes {
		t.Errorf("%d bytes in the order of use, %d cached", have, got.CachedBytes)
	}
}

func TestConformance(t *testing.T) {
	t.Run("mem", func(t *testing.T) {
		blocktest.Run(t, func(t *testing.T) block.Store { return openAt(t, vfs.NewMem(), Options{}) })
	})
	t.Run("disk", func(t *testing.T) {
		blocktest.Run(t, func(t *testing.T) block.Store {
			s, err := Open(vfs.Default, t.TempDir(), Options{SegmentBytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { mustClose(t, s) })
			return s
		})
	})
}

// TestReopen: a clean close and open loses nothing, over many small segments.
func TestReopen(t *testing.T) {
	fs := vfs.NewMem()
	o := Options{SegmentBytes: 10_000}
	for round := range uint64(4) {
		s := openAt(t, fs, o)
		if r := s.Recovered(); r.IndexRebuilt || r.CutBytes != 0 || r.Records != 0 || len(r.Problems) != 0 {
			t.Errorf("round %d: recovered %+v", round, r)
		}
		for seed := range round * 20 {
			wantBlock(t, s, seed, int(seed*100))
		}
		for seed := round * 20; seed < (round+1)*20; seed++ {
			mustPut(t, s, seed, int(seed*100))
		}
		wantCheck(t, s, nil)
		mustClose(t, s)
	}
}

func TestSecondOpen(t *testing.T) {
	for _, tt := range []struct {
		name string
		fs   vfs.FS
		dir  string
	}{{"mem", vfs.NewMem(), "/store"}, {"disk", vfs.Default, t.TempDir()}} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Open(tt.fs, tt.dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = Open(tt.fs, tt.dir, Options{})
			wantErr(t, "second open", err, ErrLocked)
			mustClose(t, s)
			if s, err = Open(tt.fs, tt.dir, Options{}); err != nil {
				t.Fatalf("open after close: %v", err)
			}
			mustClose(t, s)
		})
	}
}

func TestClosed(t *testing.T) {
	ctx := context.Background()
	s := openAt(t, vfs.NewMem(), Options{})
	id := mustPut(t, s, 1, 100)
	mustClose(t, s)
	mustClose(t, s)
	_, b := testBlock(3, 100)
	wantErr(t, "put", s.Put(ctx, block.Sum(block.Raw, b), b), ErrClosed)
	_, err := s.Get(ctx, id)
	wantErr(t, "get", err, ErrClosed)
	wantErr(t, "sync", s.Sync(ctx), ErrClosed)
	wantErr(t, "each", s.Each(ctx, func(block.ID, int64, bool) error { return nil }), ErrClosed)
}

// TestStoredOnce: the same block put by many at once makes one record.
func TestStoredOnce(t *testing.T) {
	s := openAt(t, vfs.NewMem(), Options{})
	id, b := testBlock(1, 100_000)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := s.Put(context.Background(), id, b); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if u := s.Usage(); u.Blocks != 1 || u.OwnedBytes != 100_000+recordHead || u.DeadBytes != 0 {
		t.Errorf("usage %+v", u)
	}
}

// TestLendWire: bytes that are lent stay as they are until they are given back, while others are lent and read; they are those of Wire, and of Fragment.
func TestLendWire(t *testing.T) {
	ctx := t.Context()
	s := openAt(t, vfs.NewMem(), Options{})
	type loan struct {
		want, got []byte
		done      func()
	}
	var loans []loan
	lend := func(want, got []byte, done func(), errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		loans = append(loans, loan{want, got, done})
	}
	for seed := range uint64(8) {
		id := mustPut(t, s, seed, 20_000)
		want, err := s.Wire(ctx, id)
		got, done, lendErr := s.LendWire(ctx, id)
		lend(want, got, done, err, lendErr)
		f := mustPutFragment(t, s, 100+seed, 20_000)
		want, err = s.Fragment(ctx, f)
		got, done, lendErr = s.LendFragment(ctx, f)
		lend(want, got, done, err, lendErr)
		if seed%3 == 2 {
			loans[seed].done()
			loans[seed].got = loans[seed].want
		}
	}
	for i, l := range loans {
		if !bytes.Equal(l.got, l.want) {
			t.Errorf("loan %d changed", i)
		}
	}
	if _, _, err := s.LendWire(ctx, block.Sum(block.Raw, []byte("nothing"))); !errors.Is(err, block.ErrNotFound) {
		t.Errorf("a block that is not there: %v", err)
	}
	raw := mustPut(t, s, 3, 50_000)
	const times = 200
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		_, done, err := s.LendWire(ctx, raw)
		if err != nil {
			t.Fatal(err)
		}
		done()
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / times; n > 25_000 { // under the race detector a pool forgets some
		t.Errorf("%d bytes of memory for a loan of 50,000", n)
	}
}

// TestCompression: what compresses is stored so, what doesn't is not; both come back.
func TestCompression(t *testing.T) {
	s := openAt(t, vfs.NewMem(), Options{})
	for _, tt := range []struct {
		seed uint64
		form block.Form
	}{{2, block.FormZstd}, {3, block.FormRaw}} {
		id := mustPut(t, s, tt.seed, 50_000)
		wire, err := s.Wire(context.Background(), id)
		if err != nil {
			t.Fatal(err)
		}
		h, err := block.ParseHeader(wire)
		if err != nil || h.Form != tt.form || h.PlainLen != 50_000 {
			t.Errorf("seed %d: header %+v, %v", tt.seed, h, err)
		}
		wantBlock(t, s, tt.seed, 50_000)
	}
}

func TestWire(t *testing.T) {
	ctx := context.Background()
	a, b := openAt(t, vfs.NewMem(), Options{}), openAt(t, vfs.NewMem(), Options{})
	for _, seed := range []uint64{2, 3} {
		id := mustPut(t, a, seed, 9000)
		wire, err := a.Wire(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		for i := range wire {
			bad := bytes.Clone(wire)
			bad[i] ^= 0x40
			if i%97 == 0 || i < block.HeaderLen {
				wantErr(t, fmt.Sprintf("wire with byte %d changed", i), b.PutWire(ctx, id, bad, false), block.ErrCorrupt)
			}
		}
		wantErr(t, "short wire", b.PutWire(ctx, id, wire[:len(wire)-1], false), block.ErrCorrupt)
		wantErr(t, "no wire", b.PutWire(ctx, id, nil, false), block.ErrCorrupt)
		if owned, cached := b.Has(id); owned || cached {
			t.Errorf("a bad block is held")
		}
		if err := b.PutWire(ctx, id, wire, seed == 2); err != nil {
			t.Fatal(err)
		}
		wantBlock(t, b, seed, 9000)
		if owned, cached := b.Has(id); owned != (seed == 3) || cached != (seed == 2) {
			t.Errorf("seed %d: owned %t, cached %t", seed, owned, cached)
		}
	}
}

// TestBomb: a frame that would grow past the header's plain length takes no memory for it.
func TestBomb(t *testing.T) {
	s := openAt(t, vfs.NewMem(), Options{})
	var c codec
	form, _, err := c.encode(nil, make([]byte, block.ChunkMax))
	if err != nil {
		t.Fatal(err)
	}
	id := block.Sum(block.Raw, nil)
	for _, plainLen := range []uint32{0, 10, block.ChunkMax - 1} {
		wire := append(block.Header{Form: block.FormZstd, PlainLen: plainLen}.Append(nil), form...)
		wantErr(t, fmt.Sprintf("plain length %d", plainLen), s.PutWire(context.Background(), id, wire, false), block.ErrCorrupt)
	}
	bomb := bytes.Repeat(form, 2000) // frames in a row: 8 GB
	wire := append(block.Header{Form: block.FormZstd, PlainLen: block.ChunkMax}.Append(nil), bomb...)
	wantErr(t, "many frames", s.PutWire(context.Background(), id, wire, false), block.ErrCorrupt)
}

// TestDelete: a deleted block is gone, before and after a reopen, and when the index is lost; one
// put again after that stays.
func TestDelete(t *testing.T) {
	ctx := context.Background()
	fs := vfs.NewMem()
	o := Options{SegmentBytes: 20_000}
	s := openAt(t, fs, o)
	for seed := range uint64(20) {
		mustPut(t, s, seed, 3000)
	}
	mustSync(t, s)
	for seed := range uint64(10) {
		id, _ := testBlock(seed, 3000)
		if err := s.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(ctx, id); err != nil {
			t.Errorf("delete of nothing: %v", err)
		}
		_, err := s.Get(ctx, id)
		wantErr(t, "get of a deleted block", err, block.ErrNotFound)
	}
	mustPut(t, s, 3, 3000)
	verify := func(s *Store) {
		t.Helper()
		for seed := range uint64(20) {
			id, _ := testBlock(seed, 3000)
			if owned, _ := s.Has(id); owned != (seed >= 10 || seed == 3) {
				t.Errorf("seed %d: held %t", seed, owned)
			}
		}
		wantCheck(t, s, nil)
	}
	verify(s)
	mustClose(t, s)
	s = openAt(t, fs, o)
	verify(s)
	mustClose(t, s)
	if err := fs.RemoveAll(testDir + "/index"); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, fs, o)
	if !s.Recovered().IndexRebuilt {
		t.Error("the loss of the index is not told")
	}
	verify(s)
	if err := s.RebuildIndex(ctx, func(p Problem) { t.Errorf("rebuild: %v", p) }); err != nil {
		t.Fatal(err)
	}
	verify(s)
	mustClose(t, s)
	verify(openAt(t, fs, o))
}
