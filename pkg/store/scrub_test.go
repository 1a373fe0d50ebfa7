package store

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// scrubAll scrubs from the start to the end in steps, and calls between before each.
func scrubAll(t *testing.T, s *Store, stepBytes int64, f func(Problem), between func(step int)) (blocks, steps int) {
	t.Helper()
	for from := ""; ; steps++ {
		if between != nil {
			between(steps)
		}
		did, err := s.Scrub(context.Background(), from, stepBytes, f)
		if err != nil {
			t.Fatal(err)
		}
		blocks += did.Blocks
		if did.Done {
			return blocks, steps + 1
		}
		if did.Next == from || did.Bytes == 0 || did.Bytes > stepBytes+3*rotSize { // a gap comes with the record behind it
			t.Fatalf("step %d from %q: %+v", steps, from, did)
		}
		from = did.Next
	}
}

// TestScrub breaks if a scrub in steps passes a block over, reads more than it may, counts as a use of cached copies, or
// stumbles over a segment that goes meanwhile.
func TestScrub(t *testing.T) {
	ctx := context.Background()
	s := openAt(t, vfs.NewMem(), Options{SegmentBytes: 5 * rotSize})
	for i := range uint64(20) {
		mustPut(t, s, 2*i+1, rotLen)
	}
	for i := range uint64(4) {
		s.mustPutCached(t, 101+2*i, rotLen)
	}
	mustTrash(t, s, mustPut(t, s, 201, rotLen))
	mustSync(t, s)
	ok := func(p Problem) { t.Errorf("problem %v", p) }
	for _, step := range []int64{1, rotSize, 3 * rotSize, 1 << 30} {
		blocks, steps := scrubAll(t, s, step, ok, nil)
		if blocks != 25 || step == 1 && steps < 25 || step == 1<<30 && steps != 1 {
			t.Errorf("%d bytes a step: %d blocks in %d steps", step, blocks, steps)
		}
	}
	if _, err := s.EvictTo(ctx, 2*rotSize); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(4) {
		if _, cached := holds(s, 101+2*i, rotLen); cached != (i >= 2) {
			t.Errorf("copy %d: cached %t", i, cached)
		}
	}
	scrubAll(t, s, rotSize, ok, func(step int) {
		if step != 3 {
			return
		}
		for i := range uint64(8) {
			id, _ := testBlock(2*i+1, rotLen)
			if err := s.Delete(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		if freed, err := s.Compact(ctx); err != nil || freed == 0 {
			t.Errorf("compact: %d, %v", freed, err)
		}
	})
	for _, from := range []string{"", "nonsense", "1:-5", "1:99999999", "77:0", ":", "1"} {
		if did, err := s.Scrub(ctx, from, 1<<30, ok); err != nil || !did.Done || did.Next != "" {
			t.Errorf("from %q: %+v, %v", from, did, err)
		}
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if did, err := s.Scrub(stopped, "2:3097", 1, ok); !errors.Is(err, context.Canceled) || did.Next == "" {
		t.Errorf("a scrub that was stopped: %+v, %v", did, err)
	}
}

// TestScrubFinds breaks if a scrub does not find a byte that rotted in a form, a head or a mark.
func TestScrubFinds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		off    int64
		hit    uint64 // the block that is lost; 0: none
		kinds  [Unindexed + 1]int
		blocks int
	}{
		{"form", 3*rotSize + 1000, 7, [Unindexed + 1]int{Damaged: 1}, 11},
		{"head", 3*rotSize + 20, 7, [Unindexed + 1]int{Damaged: 1, Garbage: 1}, 11},
		{"mark, its head", 10*rotSize + 10 + recordHead + 50, 0, [Unindexed + 1]int{Garbage: 1}, 11},
		{"mark, its time", 10*rotSize + 10 + 2*recordHead + 5, 0, [Unindexed + 1]int{Garbage: 1}, 11},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fs := rotten(t)
			s := openAt(t, fs, Options{})
			id100, _ := testBlock(100, 10)
			mustTrash(t, s, id100)
			mustSync(t, s)
			overwrite(t, fs, segmentFiles(t, fs)[0], tt.off, []byte{0xee})
			var got [Unindexed + 1]int
			blocks, _ := scrubAll(t, s, 1, func(p Problem) {
				got[p.Kind]++
				if id, _ := testBlock(tt.hit, rotLen); p.Kind == Damaged && p.ID != id {
					t.Errorf("problem %v", p)
				}
			}, nil)
			if got != tt.kinds || blocks != tt.blocks {
				t.Errorf("found %v in %d blocks, want %v in %d", got, blocks, tt.kinds, tt.blocks)
			}
			if tt.hit != 0 {
				if owned, _ := holds(s, tt.hit, rotLen); owned {
					t.Error("the damaged block is held")
				}
				id, _ := testBlock(tt.hit, rotLen)
				_, err := s.GetInto(context.Background(), id, make([]byte, rotLen))
				wantErr(t, "get", err, block.ErrCorrupt)
			}
		})
	}
}

// TestScrubTorn breaks if a scrub takes what a crash tore for damage.
func TestScrubTorn(t *testing.T) {
	fs := rotten(t)
	path := segmentFiles(t, fs)[0]
	info, err := fs.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, fs, path, info.Size(), make([]byte, 5000))
	s := openAt(t, fs, Options{})
	mustPut(t, s, 31, rotLen)
	mustSync(t, s)
	blocks, _ := scrubAll(t, s, 2*rotSize, func(p Problem) { t.Errorf("problem %v", p) }, nil)
	if blocks != 12 {
		t.Errorf("%d blocks", blocks)
	}
}
