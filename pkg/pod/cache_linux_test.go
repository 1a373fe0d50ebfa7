package pod

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/testneed"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestFetchedForMount breaks if what comes from another pod for a mount, which keeps it in memory, stays in the memory of the cache's files, too, or if what others read doesn't.
func TestFetchedForMount(t *testing.T) {
	a := firstPod(t)
	ctx := quickly(t)
	if err := a.SetRule(ctx, "policy", "none"); err != nil {
		t.Fatal(err)
	}
	b := joinPod(t, a, "b")
	const size = 12 << 20
	mount, others := randomText(78, size), randomText(79, size)
	a.write("/mount", mount)
	a.write("/others", others)
	a.settle()
	sameRoot(t, a, b)
	read := func(ctx context.Context, path, want string) (grown int64) {
		before := b.inMemory()
		f, err := b.FS().Open(ctx, b.at(path))
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		buf := make([]byte, 1<<20)
		for off := int64(0); off < size; off += int64(len(buf)) {
			if _, err := f.ReadAt(ctx, buf, off); err != nil {
				t.Fatal(err)
			}
			got.Write(buf)
		}
		if err := f.Close(ctx); err != nil || got.String() != want {
			t.Fatalf("read %s: %v", shorten(got.String()), err)
		}
		if err := b.store.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		return b.inMemory() - before
	}
	cached := b.usage().Cache
	if n := read(vfs.WithReuse(ctx, vfs.ReadKept), "/mount", mount); n > size/4 {
		t.Errorf("read for a mount: the cache's files have %d bytes more in memory", n)
	}
	if n := b.usage().Cache - cached; n < size {
		t.Errorf("the cache has %d bytes more, want %d", n, size)
	}
	if n := read(ctx, "/others", others); n < size*3/4 {
		t.Errorf("read for others: the cache's files have %d bytes more in memory, want %d", n, size)
	}
}

// inMemory is how many bytes of the store's files the kernel has in memory.
func (p *testPod) inMemory() (n int64) {
	p.t.Helper()
	err := filepath.WalkDir(p.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".seg" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		n += testneed.CachedBytes(p.t, f.Fd())
		return f.Close()
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}
