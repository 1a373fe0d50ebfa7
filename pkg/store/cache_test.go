package store

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func (s *Store) mustPutCached(t testing.TB, seed uint64, n int) {
	t.Helper()
	id, b := testBlock(seed, n)
	if err := s.PutCached(context.Background(), id, b); err != nil {
		t.Fatalf("put cached seed %d: %v", seed, err)
	}
}

func holds(s *Store, seed uint64, n int) (owned, cached bool) {
	id, _ := testBlock(seed, n)
	return s.Has(id)
}

// TestCacheLimit: cached copies stay below the limit, the least used one goes first, owned blocks
// never.
func TestCacheLimit(t *testing.T) {
	const n = 1001 // odd seeds don't compress
	s := openAt(t, vfs.NewMem(), Options{})
	s.SetCacheLimit(3*(n+recordHead), 0)
	mustPut(t, s, 1, n)
	for _, seed := range []uint64{3, 5, 7} {
		s.mustPutCached(t, seed, n)
	}
	wantBlock(t, s, 3, n) // 5 is now the oldest
	s.mustPutCached(t, 9, n)
	for seed, want := range map[uint64]bool{3: true, 5: false, 7: true, 9: true} {
		if _, cached := holds(s, seed, n); cached != want {
			t.Errorf("seed %d: cached %t, want %t", seed, cached, want)
		}
	}
	if u := s.Usage(); u.CachedBytes != 3*(n+recordHead) || u.OwnedBytes != n+recordHead {
		t.Errorf("usage %+v", u)
	}
	if _, err := s.EvictTo(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	if u := s.Usage(); u.CachedBytes != 0 || u.Blocks != 1 {
		t.Errorf("after EvictTo(0): %+v", u)
	}
	id, b := testBlock(11, 5*n)
	wantErr(t, "copy over the limit", s.PutCached(context.Background(), id, b), ErrNoSpace)
	wantCheck(t, s, nil)
}

// TestOwn: owned and cached turn into each other, and it lasts, also without the index.
func TestOwn(t *testing.T) {
	const n = 500
	ctx := context.Background()
	fs := vfs.NewMem()
	s := openAt(t, fs, Options{})
	s.mustPutCached(t, 1, n) // stays cached
	s.mustPutCached(t, 3, n) // owned by Own
	s.mustPutCached(t, 5, n) // owned by Put
	mustSync(t, s)
	id3, _ := testBlock(3, n)
	if err := s.Own(ctx, id3); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, 5, n)
	id7 := mustPut(t, s, 7, n)
	if err := s.Disown(ctx, id7); err != nil {
		t.Fatal(err)
	}
	s.mustPutCached(t, 3, n) // an owned block stays owned
	id9, _ := testBlock(9, n)
	if err := s.Own(ctx, id9); err == nil {
		t.Error("own of nothing is no error")
	}
	for _, id := range []uint64{3, 9, 1} {
		id, _ := testBlock(id, n)
		if err := s.Uncache(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	verify := func(s *Store) {
		t.Helper()
		for seed, want := range map[uint64][2]bool{1: {}, 3: {true, false}, 5: {true, false}, 7: {false, true}} {
			if owned, cached := holds(s, seed, n); owned != want[0] || cached != want[1] {
				t.Errorf("seed %d: owned %t, cached %t, want %v", seed, owned, cached, want)
			}
		}
		wantCheck(t, s, nil)
	}
	verify(s)
	mustClose(t, s)
	s = openAt(t, fs, Options{})
	verify(s)
	mustClose(t, s)
	if err := fs.RemoveAll(testDir + "/index"); err != nil {
		t.Fatal(err)
	}
	verify(openAt(t, fs, Options{}))
}

// TestLastUse: the order of use outlives a clean close.
func TestLastUse(t *testing.T) {
	const n = 500
	fs := vfs.NewMem()
	c := &testClock{}
	s := openAt(t, fs, Options{Clock: c})
	for seed := range uint64(5) {
		c.seconds.Add(1)
		s.mustPutCached(t, 2*seed+1, n)
	}
	c.seconds.Add(1)
	wantBlock(t, s, 1, n)
	mustClose(t, s)
	s = openAt(t, fs, Options{Clock: c})
	if _, err := s.EvictTo(context.Background(), 2*(n+recordHead)); err != nil {
		t.Fatal(err)
	}
	for seed, want := range map[uint64]bool{1: true, 3: false, 5: false, 7: false, 9: true} {
		if _, cached := holds(s, seed, n); cached != want {
			t.Errorf("seed %d: cached %t, want %t", seed, cached, want)
		}
	}
}
