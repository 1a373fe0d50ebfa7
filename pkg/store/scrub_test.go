package store

import (
	"context"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// TestScrub breaks if a scrub in steps passes over a block, reads one twice, misses damage, or counts as a use of cached copies.
func TestScrub(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open(fs, "store", Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	ids := make(map[block.ID]bool)
	for i := range 3000 {
		b := fmt.Appendf(nil, "block %d", i)
		id := block.Sum(block.Raw, b)
		ids[id] = true
		put := s.Put
		if i%3 == 0 {
			put = s.PutCached
		}
		if err := put(ctx, id, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	oldest := s.cache.victims(0)[0]
	pass := func() (blocks int, bytes int64, found map[block.ID]ProblemKind) {
		found = make(map[block.ID]ProblemKind)
		for cursor := ""; ; {
			got, err := s.Scrub(ctx, cursor, 1000, func(p Problem) { found[p.ID] = p.Kind })
			if err != nil {
				t.Fatal(err)
			}
			blocks += got.Blocks
			bytes += got.Bytes
			if cursor = got.Next; got.Done {
				return blocks, bytes, found
			}
			if got.Bytes > 2000 || got.Blocks == 0 {
				t.Fatalf("a step of 1000 bytes: %+v", got)
			}
		}
	}
	blocks, bytes, found := pass()
	u := s.Usage()
	if blocks != len(ids) || bytes != u.OwnedBytes+u.CachedBytes || len(found) != 0 {
		t.Errorf("%d blocks, %d bytes of %d and %d; found %v", blocks, bytes, len(ids), u.OwnedBytes+u.CachedBytes, found)
	}
	if got := s.cache.victims(0)[0]; got != oldest {
		t.Errorf("the cached copy that was not used for longest is %s, not %s any more", got, oldest)
	}
	var bad block.ID
	for bad = range ids {
		break
	}
	r, _, err := s.lookup(bad)
	if err != nil {
		t.Fatal(err)
	}
	flip(t, fs, s.segs[r.seg].path, r.off+recordHead+2)
	for range 2 { // found, and told again as long as it is so
		if _, _, found = pass(); len(found) != 1 || found[bad] != Damaged {
			t.Errorf("found %v, want %s", found, bad)
		}
	}
	if _, err := s.Scrub(ctx, "nonsense", 1, nil); err == nil {
		t.Error("a cursor that is none is taken")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// flip turns a bit of a file.
func flip(t *testing.T, fs vfs.FS, path string, off int64) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
