package store

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

// TestUncached: what is read uncached is what was put, and leaves nothing in the kernel's memory that was not there; other reads do, and so does what is short.
func TestUncached(t *testing.T) {
	const n = 1 << 20
	ctx := context.Background()
	s, err := Open(vfs.Default, t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	long, short := mustPut(t, s, 1, n), mustPut(t, s, 3, uncachedFrom/2)
	mustSync(t, s)
	fd := s.segs[1].file.Fd()
	read := func(ctx context.Context, what string, id block.ID, bytes int, least, most int64) {
		t.Helper()
		if err := unix.Fadvise(int(fd), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		before := testneed.CachedBytes(t, fd)
		if got, err := s.Get(ctx, id); err != nil || len(got) != bytes {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
		if cachesAlways.Load() {
			testneed.Missing(t, "RWF_DONTCACHE: this kernel, or this file system, has none")
		}
		if after := testneed.CachedBytes(t, fd); after < before+least || after > before+most {
			t.Errorf("%s: %d bytes are in memory, %d were before", what, after, before)
		}
	}
	read(Uncached(ctx), "uncached", long, n, 0, n/8)
	read(Uncached(ctx), "a short one", short, uncachedFrom/2, 1, n/2)
	read(ctx, "as usual", long, n, n/2, 4*n)
}

// TestForgets: what is synced leaves the kernel's memory where nobody will read it back, is there where somebody will, and can be read either way.
func TestForgets(t *testing.T) {
	const n, blocks = 1 << 20, 8
	for _, back := range []bool{false, true} {
		for name, fs := range map[string]vfs.FS{"plain": vfs.Default, "locked": diskcrypt.New(vfs.Default, diskcrypt.NewKey())} {
			s, err := Open(fs, t.TempDir(), Options{ReadBack: func() bool { return back }})
			if err != nil {
				t.Fatal(err)
			}
			for i := range uint64(blocks) {
				mustPut(t, s, 2*i+1, n)
			}
			mustSync(t, s)
			if got := testneed.CachedBytes(t, s.segs[1].file.Fd()); back != (got > blocks*n/2) {
				t.Errorf("%s, to be read back %t: %d bytes of %d are in memory", name, back, got, blocks*n)
			}
			wantCheck(t, s, nil)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestForgetsUncached: of what is synced the cached copies that were put uncached leave the kernel's memory, whatever stands between them, and nothing else does.
func TestForgetsUncached(t *testing.T) {
	const n, blocks = 1 << 20, 6
	ctx := context.Background()
	for name, fs := range map[string]vfs.FS{"plain": vfs.Default, "locked": diskcrypt.New(vfs.Default, diskcrypt.NewKey())} {
		s, err := Open(fs, t.TempDir(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		put := func(ctx context.Context, i uint64) {
			id, b := testBlock(2*i+1, n)
			if err := s.PutCached(ctx, id, b); err != nil {
				t.Fatal(err)
			}
		}
		for i := range uint64(blocks) {
			put(Uncached(ctx), 3*i)
			if i%2 == 0 { // so that some stand side by side
				put(ctx, 3*i+1)
				mustPut(t, s, 2*(3*i+2)+1, n)
			}
		}
		mustSync(t, s)
		if got := testneed.CachedBytes(t, s.segs[1].file.Fd()); got < blocks*n || got > (blocks+1)*n {
			t.Errorf("%s: %d bytes are in memory, want %d of %d", name, got, blocks*n, 2*blocks*n)
		}
		wantCheck(t, s, nil)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestUncachedLocked: of a locked disk, whose descriptors tell of encrypted bytes, an uncached read is like any other.
func TestUncachedLocked(t *testing.T) {
	ctx := context.Background()
	s, err := Open(diskcrypt.New(vfs.Default, diskcrypt.NewKey()), t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	id := mustPut(t, s, 1, 1<<20)
	mustSync(t, s)
	if got, err := s.Get(Uncached(ctx), id); err != nil || len(got) != 1<<20 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
