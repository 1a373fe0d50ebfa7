package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

// needHoles skips a test, loudly, where the file system gives no space back for a hole: whether it does is asked of a file of its own, so that a store that
// punches none is not taken for such a one.
func needHoles(t *testing.T, dir string) {
	t.Helper()
	f, err := os.CreateTemp(dir, "holes")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
			t.Error(err)
		}
	}()
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	switch err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20); {
	case errors.Is(err, unix.EOPNOTSUPP):
		testneed.Missing(t, "%s is on a file system that punches no holes", dir)
	case err != nil:
		t.Fatal(err)
	}
}

// diskBytes is what the segments of a store take on a real disk.
func diskBytes(t *testing.T, dir string) (n int64) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "segments", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		n += info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	return n
}

// TestPunch: deleted blocks give their space back, and neither the ones beside them nor the index
// made anew take harm.
func TestPunch(t *testing.T) {
	testPunch(t, vfs.Default)
}

// TestPunchLocked is TestPunch on an encrypted disk, where bytes stand elsewhere than they seem to.
func TestPunchLocked(t *testing.T) {
	testPunch(t, diskcrypt.New(vfs.Default, diskcrypt.NewKey()))
}

func testPunch(t *testing.T, fs vfs.FS) {
	t.Helper()
	const n = 100_001
	ctx := context.Background()
	dir := t.TempDir()
	needHoles(t, dir)
	s, err := Open(fs, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(10) {
		mustPut(t, s, 2*i+1, n)
	}
	mustSync(t, s)
	before := diskBytes(t, dir)
	for i := range uint64(10) {
		if id, _ := testBlock(2*i+1, n); i%2 == 0 {
			if err := s.Delete(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustSync(t, s)
	if s.Usage().DeadBytes > 5*(n+recordHead) {
		t.Errorf("usage %+v", s.Usage())
	}
	if s.segs[1].punched == 0 {
		t.Fatal("nothing was punched")
	}
	if after := diskBytes(t, dir); after > before*6/10 {
		t.Errorf("%d bytes on disk before, %d after", before, after)
	}
	wantCheck(t, s, nil)
	if err := s.RebuildIndex(ctx, func(p Problem) { t.Errorf("rebuild: %v", p) }); err != nil {
		t.Fatal(err)
	}
	wantCheck(t, s, nil)
	for i := range uint64(10) {
		if owned, _ := holds(s, 2*i+1, n); owned != (i%2 == 1) {
			t.Errorf("block %d: owned %t", i, owned)
		}
		if i%2 == 1 {
			wantBlock(t, s, 2*i+1, n)
		}
	}
	mustClose(t, s)
}

// TestPunchFragment: the name of a deleted fragment, which goes on behind the head of its record, is not punched: an index made anew
// reads it before it comes to the deletion, and would take it for damage.
func TestPunchFragment(t *testing.T) {
	dir := t.TempDir()
	needHoles(t, dir)
	s, err := Open(vfs.Default, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, 1, pageBytes-recordHead-recordHead-nameBehind/2) // a page ends within the name
	f := mustPutFragment(t, s, 1, 40_000)
	mustSync(t, s)
	if err := s.DeleteFragment(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	mustPut(t, s, 3, 100)
	if s.segs[1].punched == 0 {
		t.Fatal("nothing was punched")
	}
	mustClose(t, s)
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(vfs.Default, dir, Options{}); err != nil {
		t.Fatal(err)
	}
	if r := s.Recovered(); len(r.Problems) > 0 {
		t.Errorf("recovered %+v", r)
	}
	wantCheck(t, s, nil)
	mustClose(t, s)
}

// TestEvictForSpace: an owned block pushes cached copies out of a full store, on a file system
// that takes the space back.
func TestEvictForSpace(t *testing.T) {
	const n = 200_001
	dir := t.TempDir()
	needHoles(t, dir)
	s, err := Open(vfs.Default, dir, Options{CapacityBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	for _, seed := range []uint64{1, 3, 5, 7, 9} {
		s.mustPutCached(t, seed, n)
	}
	mustSync(t, s)
	id, b := testBlock(11, n)
	if err := s.Put(context.Background(), id, b); err != nil {
		t.Fatal(err)
	}
	wantBlock(t, s, 11, n)
	wantCheck(t, s, nil)
}
