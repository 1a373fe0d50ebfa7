package pod

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestPast breaks if .wh/at doesn't show what was, if it can be changed, if it is listed in the root, or if its numbers are those of other nodes.
func TestPast(t *testing.T) {
	p := historyPod(t, Options{})
	ctx := quickly(t)
	if _, err := p.fs.Create(ctx, vfs.RootID, "d", vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	p.write("/d/f", "one")
	p.snapshot("s")
	p.write("/d/f", "two")
	for path, want := range map[string]string{"/.wh/at/s/d/f": "one", "/d/f": "two", "/.wh/at/now/d/f": "two", "/.wh/at/s/.wh": "", "/.wh/at/s/none": "", "/.wh/at/never": "", "/.wh/x": ""} {
		got, err := readPath(ctx, p.fs, path)
		if path == "/.wh/at/now/d/f" {
			if _, err := p.Root(ctx); err != nil { // the newest checkpoint is what there is of now
				t.Fatal(err)
			}
			got, err = readPath(ctx, p.fs, path)
		}
		if got != want || (want == "") != errors.Is(err, vfs.ErrNotExist) {
			t.Errorf("%s: %q, %v, want %q", path, got, err, want)
		}
	}
	list := func(path string) string {
		t.Helper()
		a, err := vfs.Resolve(ctx, p.fs, path)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for after := ""; ; {
			page, err := p.fs.ReadDir(ctx, a.ID, after, 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				return strings.Join(names, " ")
			}
			after = page[0].Name
			names = append(names, after)
			if same, err := p.fs.Lookup(ctx, a.ID, after); err != nil || same.ID != page[0].Attr.ID {
				t.Errorf("%s/%s is node %d, %v, and %d in its folder", path, after, same.ID, err, page[0].Attr.ID)
			}
			if page[0].Attr.Kind == vfs.KindFolder {
				if up, err := p.fs.Parent(ctx, page[0].Attr.ID); err != nil || up != a.ID {
					t.Errorf("%s/%s is in node %d, %v, not in %d", path, after, up, err, a.ID)
				}
			}
		}
	}
	for path, want := range map[string]string{"/": "d", "/.wh": "at", "/.wh/at": "s", "/.wh/at/s": "d", "/.wh/at/s/d": "f"} {
		if got := list(path); got != want {
			t.Errorf("%s lists %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]bool{"/": true, "/.wh": false, "/.wh/at": false, "/.wh/at/s": true, "/.wh/at/s/d": true} {
		a, err := vfs.Resolve(ctx, p.fs, path)
		if w, ok := p.fs.(vfs.Watcher); err != nil || !ok || w.Watched(a.ID) != want {
			t.Errorf("%s: %v; that its changes are told should be %v", path, err, want)
		}
	}
	old, err := vfs.Resolve(ctx, p.fs, "/.wh/at/s/d")
	if err != nil {
		t.Fatal(err)
	}
	file, err := vfs.Resolve(ctx, p.fs, "/.wh/at/s/d/f")
	if err != nil {
		t.Fatal(err)
	}
	mode := uint32(0o600)
	for what, err := range map[string]error{
		"create":     second(p.fs.Create(ctx, old.ID, "new", vfs.NewNode{Kind: vfs.KindFile})),
		"create .wh": second(p.fs.Create(ctx, vfs.RootID, ".wh", vfs.NewNode{Kind: vfs.KindFolder})),
		"chmod":      second(p.fs.SetAttr(ctx, file.ID, vfs.SetAttr{Mode: &mode})),
		"remove":     p.fs.Remove(ctx, old.ID, "f", false),
		"rename out": p.fs.Rename(ctx, old.ID, "f", vfs.RootID, "f", 0),
		"rename in":  p.fs.Rename(ctx, vfs.RootID, "d", old.ID, "d", 0),
		"to .wh":     p.fs.Rename(ctx, vfs.RootID, "d", vfs.RootID, ".wh", 0),
		"link":       second(p.fs.Link(ctx, file.ID, vfs.RootID, "f")),
		"xattr":      p.fs.SetXattr(ctx, file.ID, "user.a", nil, 0),
	} {
		if !errors.Is(err, vfs.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if list("/") != "d" || list("/.wh/at/s/d") != "f" {
		t.Error("something was changed")
	}
}

func second[T any](_ T, err error) error { return err }

// TestPastTreesAreClosed breaks if trees under .wh/at are held without limit, or a number comes to name another node.
func TestPastTreesAreClosed(t *testing.T) {
	p := historyPod(t, Options{})
	ctx := quickly(t)
	p.write("/f", "first")
	p.snapshot("s0")
	first, err := vfs.Resolve(ctx, p.fs, "/.wh/at/s0/f")
	if err != nil {
		t.Fatal(err)
	}
	for i := range pastTreesMax + 2 {
		p.write("/f", fmt.Sprint("content ", i))
		name := fmt.Sprintf("s%d", i+1)
		p.snapshot(name)
		got, err := readPath(ctx, p.fs, "/.wh/at/"+name+"/f")
		if want := fmt.Sprint("content ", i); err != nil || got != want {
			t.Fatalf("%s: %q, %v", name, got, err)
		}
	}
	if n := len(p.past.trees); n > pastTreesMax {
		t.Errorf("%d trees are open", n)
	}
	if _, err := p.fs.GetAttr(ctx, first.ID); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("a node of a tree that was closed: %v", err)
	}
	if got, err := readPath(ctx, p.fs, "/.wh/at/s0/f"); err != nil || got != "first" {
		t.Errorf("%q, %v", got, err)
	}
}
