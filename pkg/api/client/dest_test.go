//go:build unix

package client

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestGetSameNames: on a disk to which "A" and "a" are one name, of two that a tree has the second is a problem. If it replaces the first, or a link takes it elsewhere, a file is lost and nobody hears of it.
func TestGetSameNames(t *testing.T) {
	top, err := (&destFolder{path: t.TempDir(), item: -1, refs: 1}).use(os.OpenRoot(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer top.close()
	made, err := top.folder(0, "made", api.Item{Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	defer made.close()
	makes := map[string]func() error{
		"file": func() error {
			f, err := made.file(1, "name", api.Item{Kind: uint8(vfs.KindFile), Mode: 0o644})
			if err == nil {
				err = f.finish()
			}
			return err
		},
		"folder": func() error {
			d, err := made.folder(1, "name", api.Item{Mode: 0o755})
			if err == nil {
				d.close()
			}
			return err
		},
		"symlink": func() error { return made.symlink("name", api.Item{Target: "/elsewhere"}) },
		"pipe":    func() error { return made.special("name", api.Item{Kind: uint8(vfs.KindFIFO), Mode: 0o600}) },
		"link": func() error {
			return (&getter{top: top}).link(destLink{dir: made, name: "name", to: "other"})
		},
	}
	if err := os.WriteFile(filepath.Join(top.root.Name(), "other"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for before, first := range makes {
		for after, second := range makes {
			if before == "link" && after == "link" {
				continue // the same file twice
			}
			if err := first(); err != nil {
				t.Fatalf("%s: %v", before, err)
			}
			was, err := made.root.Lstat("name")
			if err != nil {
				t.Fatal(err)
			}
			if err := second(); !errors.Is(err, errSameName) {
				t.Errorf("%s after %s: %v", after, before, err)
			}
			if is, err := made.root.Lstat("name"); err != nil || !os.SameFile(was, is) {
				t.Errorf("%s after %s: it is another one: %v", after, before, err)
			}
			if err := made.root.RemoveAll("name"); err != nil {
				t.Fatal(err)
			}
		}
	}
}
