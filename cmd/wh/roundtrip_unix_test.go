//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

// TestRoundTrip breaks if `wh add` and `wh get`, with a real pod between them, change anything of a tree: contents,
// modes, times, links, names.
func TestRoundTrip(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the daemon")
	}
	dir := t.TempDir()
	wh := filepath.Join(dir, "wh")
	if out, err := exec.Command("go", "build", "-o", wh, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	tree := filepath.Join(dir, "tree")
	oddTree(t, tree)
	m := &fleet.Machine{Name: "a", WH: wh, Home: filepath.Join(dir, "home")}
	ctx := t.Context()
	if err := m.Init(ctx, "round"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	run := func(args ...string) {
		t.Helper()
		if _, err := m.Run(ctx, args...); err != nil {
			t.Fatal(err)
		}
	}
	run("add", tree, "--to", "/")
	first := filepath.Join(dir, "first")
	run("get", "/tree", "-o", first)
	compareTrees(t, tree, first)

	root, err := m.Run(ctx, "root")
	if err != nil {
		t.Fatal(err)
	}
	byRoot := filepath.Join(dir, "by-root")
	run("get", strings.TrimSpace(root), "-o", byRoot)
	compareTrees(t, tree, filepath.Join(byRoot, "tree"))

	if err := m.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Up(ctx); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(dir, "again")
	run("get", "/tree", "-o", again)
	compareTrees(t, tree, again)
	run("fsck")
}

// holeySize is the size of the file with holes, the largest, in bytes.
const holeySize = 20 << 20

// oddTree makes a tree of what programs get wrong.
func oddTree(t *testing.T, root string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	must(os.MkdirAll(filepath.Join(root, "empty"), 0o755))
	must(os.MkdirAll(filepath.Join(root, "deep", "er", "still"), 0o755))
	files := map[string][]byte{
		"nothing": nil, "one": {1}, "inline": random(1024), "chunk": random(1025), "big": random(9 << 20),
		"zeros": make([]byte, 3<<20), "deep/er/still/text": bytes.Repeat([]byte("text\n"), 10_000),
		strings.Repeat("n", 255): []byte("long name"), "\xff\xfe not UTF-8": []byte("odd name"), "new\nline": []byte("x"),
		" space ": []byte("y"), "-dash": []byte("z"), "ünï": []byte("composed or not"),
	}
	for name, data := range files {
		must(os.WriteFile(filepath.Join(root, name), data, 0o644))
	}
	for mode := range 8 {
		name := filepath.Join(root, fmt.Sprintf("mode%o", mode*0o111))
		must(os.WriteFile(name, []byte("mode"), 0o644))
		if os.Getuid() == 0 || mode&4 != 0 { // others can't read it
			must(os.Chmod(name, fs.FileMode(mode*0o111)))
		}
	}
	must(os.WriteFile(filepath.Join(root, "holey"), random(5000), 0o644))
	must(os.Truncate(filepath.Join(root, "holey"), holeySize))
	must(os.Symlink("nowhere at all", filepath.Join(root, "dangling")))
	must(os.Symlink("/etc/hostname", filepath.Join(root, "absolute")))
	must(os.Symlink(strings.Repeat("long/", 700), filepath.Join(root, "far")))
	must(os.Link(filepath.Join(root, "big"), filepath.Join(root, "deep", "big-too")))
	must(os.Chtimes(filepath.Join(root, "one"), time.Time{}, time.Unix(1_000_000_000, 123_456_789)))
	must(os.Chtimes(filepath.Join(root, "inline"), time.Time{}, time.Unix(-86_400, 987_654_321)))
	must(os.Chtimes(filepath.Join(root, "nothing"), time.Time{}, time.Unix(0, 1)))
	must(os.Chmod(filepath.Join(root, "deep", "er"), 0o700))
	must(os.Chtimes(filepath.Join(root, "empty"), time.Time{}, time.Unix(-1, 5)))
	must(os.Chtimes(filepath.Join(root, "deep"), time.Time{}, time.Unix(1_234_567_890, 42)))
}

// compareTrees fails the test for each difference.
func compareTrees(t *testing.T, want, got string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(want, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(want, path)
		if err != nil {
			return err
		}
		seen++
		if diff := difference(path, filepath.Join(got, rel)); diff != "" {
			t.Errorf("%q: %s", rel, diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	have := 0
	err = filepath.WalkDir(got, func(_ string, _ fs.DirEntry, err error) error { have++; return err })
	if err != nil || have != seen {
		t.Errorf("%d entries, want %d; %v", have, seen, err)
	}
}

func difference(want, got string) string {
	a, err := os.Lstat(want)
	if err != nil {
		return err.Error()
	}
	b, err := os.Lstat(got)
	if err != nil {
		return err.Error()
	}
	if a.Mode() != b.Mode() {
		return fmt.Sprintf("mode %v, want %v", b.Mode(), a.Mode())
	}
	if !a.ModTime().Equal(b.ModTime()) {
		return fmt.Sprintf("mtime %v, want %v", b.ModTime().UTC(), a.ModTime().UTC())
	}
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	if !ok1 || !ok2 {
		return "no stat"
	}
	if x.Uid != y.Uid || x.Gid != y.Gid {
		return fmt.Sprintf("owner %d:%d, want %d:%d", y.Uid, y.Gid, x.Uid, x.Gid)
	}
	switch a.Mode().Type() {
	case 0:
		if x.Nlink != y.Nlink {
			return fmt.Sprintf("%d links, want %d", y.Nlink, x.Nlink)
		}
		if a.Size() >= holeySize && y.Blocks > x.Blocks+128 {
			return fmt.Sprintf("%d blocks, want %d: the holes are gone", y.Blocks, x.Blocks)
		}
		p, err := os.ReadFile(want)
		if err != nil {
			return err.Error()
		}
		q, err := os.ReadFile(got)
		if err != nil {
			return err.Error()
		}
		if !bytes.Equal(p, q) {
			return "contents differ"
		}
	case fs.ModeSymlink:
		p, err := os.Readlink(want)
		if err != nil {
			return err.Error()
		}
		q, err := os.Readlink(got)
		if err != nil {
			return err.Error()
		}
		if p != q {
			return fmt.Sprintf("target %q, want %q", q, p)
		}
	}
	return ""
}
