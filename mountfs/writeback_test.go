//go:build linux

package mountfs_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
)

// TestWriteback: the kernel gathers small writes and brings all of them at the close; a file that grew or shrank elsewhere is seen so by who opens it
// next, although the kernel keeps to the sizes that it knows.
func TestWriteback(t *testing.T) {
	tree := &writesFS{FS: memfs.New(memfs.Options{})}
	m := mount(t, tree, mountfs.Options{Writeback: true})
	dir := cleanPath(m.Dir(), "d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(cleanPath(dir, "old"))
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if _, err := f.WriteString("ten bytes."); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n := tree.writes.Load(); n > 20 {
		t.Errorf("%d writes came of 1000", n)
	}
	name := cleanPath(dir, "f") // and the kernel's place of it is another than where it was made
	if err := os.Rename(cleanPath(dir, "old"), name); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		b, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := read(); got != strings.Repeat("ten bytes.", 1000) {
		t.Fatalf("%d bytes", len(got))
	}
	other := tree.View()
	parent, _, err := vfs.ResolveParent(t.Context(), other, "/d/f")
	if err != nil {
		t.Fatal(err)
	}
	a, err := other.Lookup(t.Context(), parent, "f")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"short", strings.Repeat("longer", 10_000), ""} {
		size := uint64(len(text))
		if _, err := other.SetAttr(t.Context(), a.ID, vfs.SetAttr{Size: &size}); err != nil {
			t.Fatal(err)
		}
		o, err := other.Open(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.WriteAt(t.Context(), []byte(text), 0); err != nil {
			t.Fatal(err)
		}
		if err := o.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the file is as the other made it", func() bool { return read() == text })
	}
}

// writesFS counts writes.
type writesFS struct {
	*memfs.FS
	writes atomic.Int64
}

func (c *writesFS) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	f, err := c.FS.Open(ctx, id)
	return writesFile{f, c}, err
}

type writesFile struct {
	vfs.File
	c *writesFS
}

func (f writesFile) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	f.c.writes.Add(1)
	return f.File.WriteAt(ctx, p, off)
}
