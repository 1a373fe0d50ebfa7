package pod

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestOfflineWork breaks if a pod that works alone for days, and is switched off every night, doesn't bring all it did when it
// comes back, or doesn't take over what the others did meanwhile. After 40 days it is dormant: others no longer wait for it with what they delete.
func TestOfflineWork(t *testing.T) {
	two := newTheseTwo(t)
	for _, days := range []int{3, 40} {
		t.Run(fmt.Sprint(days, " days"), func(t *testing.T) {
			if days > 10 && testing.Short() {
				t.Skip("takes seconds")
			}
			p := two.open(t)
			away, home := p.pods[0], p.pods[1]
			want := maps.Clone(base)
			for day := range days {
				away.write(fmt.Sprintf("/d/away%d", day), fmt.Sprintf("away, day %d", day))
				away.write("/f.txt", fmt.Sprintf("away, day %d", day))
				home.write(fmt.Sprintf("/e/home%d", day), fmt.Sprintf("home, day %d", day))
				home.write("/d/x", fmt.Sprintf("home, day %d", day))
				want[fmt.Sprintf("/d/away%d", day)] = fmt.Sprintf("away, day %d", day)
				want[fmt.Sprintf("/e/home%d", day)] = fmt.Sprintf("home, day %d", day)
				if day == 1 {
					home.write("/g.txt", "home") // and so does the other one, later
					home.rm("/d/y")
					want["/d/y"] = ""
				}
				p.clock.turn(24 * time.Hour)
				away.restart()
			}
			last := fmt.Sprintf("day %d", days-1)
			want["/f.txt"], want["/d/x"] = "away, "+last, "home, "+last
			away.write("/h.txt", "away") // the same file, by its other name
			want["/g.txt"], want["/h.txt"], want["/g!2.txt"] = "away", "away", "home"
			// What was deleted long ago is gone, in the end.
			home.collectNow()
			away.collectNow()
			p.want(with(want))
		})
	}
}

// restart stops the pod, and starts it again.
func (s *sidePod) restart() {
	s.t.Helper()
	s.stop()
	s.start(s.o)
}

// collectNow collects garbage.
func (s *sidePod) collectNow() {
	s.t.Helper()
	if _, err := s.Collect(quickly(s.t), CollectOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// TestColdStartAlone breaks if a pod that starts with every other pod off doesn't list the whole tree: a real one, of which it has no bytes.
func TestColdStartAlone(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		testneed.Missing(t, "no Go distribution to take a tree from: %v", err)
	}
	source := filepath.Join(strings.TrimSpace(string(out)), "src", "net")
	a := firstPod(t)
	if err := a.SetPolicy(quickly(t), vfs.RootID, "none", ""); err != nil {
		t.Fatal(err)
	}
	b := joinPod(t, a, "second")
	want := importTree(t, a, source)
	sameRoot(t, a, b)
	root, err := b.Root(quickly(t))
	if err != nil {
		t.Fatal(err)
	}
	a.stop()
	b.stop()

	b = openPod(t, b.dir) // with a network, in which nobody is
	got := map[string]vfs.Attr{}
	var list func(id vfs.NodeID, at string)
	list = func(id vfs.NodeID, at string) {
		entries, err := b.fs.ReadDir(quickly(t), id, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got[filepath.Join(at, e.Name)] = vfs.Attr{Kind: e.Attr.Kind, Mode: e.Attr.Mode, Size: e.Attr.Size, Mtime: e.Attr.Mtime}
			if e.Attr.Kind == vfs.KindFolder {
				got[filepath.Join(at, e.Name)] = vfs.Attr{Kind: e.Attr.Kind}
				list(e.Attr.ID, filepath.Join(at, e.Name))
			}
		}
	}
	list(vfs.RootID, "/")
	if len(want) < 100 {
		t.Errorf("a tree of %d entries only", len(want))
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got - want +\n%s", diff)
	}
	if again, err := b.Root(quickly(t)); err != nil || again != root {
		t.Errorf("root %s, %v, want %s", again, err, root)
	}
	// What it can't have, it says at once.
	if _, err := b.read("/http/server.go"); !errors.Is(err, block.ErrUnavailable) {
		t.Errorf("read of what is elsewhere: %v", err)
	}
	b.clean()
}

// importTree puts a tree of this machine into a pod, and returns what must be listed.
func importTree(t *testing.T, p *testPod, source string) map[string]vfs.Attr {
	t.Helper()
	ctx := quickly(t)
	want := map[string]vfs.Attr{}
	folders := map[string]vfs.NodeID{"/": vfs.RootID}
	err := filepath.WalkDir(source, func(name string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(source, name)
		if err = errors.Join(err, relErr); err != nil || rel == "." {
			return err
		}
		at := "/" + filepath.ToSlash(rel)
		parent, base := folders[filepath.Dir(at)], filepath.Base(at)
		if d.IsDir() {
			made, err := p.fs.Create(ctx, parent, base, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
			folders[at], want[at] = made.ID, vfs.Attr{Kind: vfs.KindFolder}
			return err
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it was read
		m := FileMeta{Mode: uint32(info.Mode().Perm()), Mtime: info.ModTime().UnixNano()}
		want[at] = vfs.Attr{Kind: vfs.KindFile, Mode: m.Mode, Size: uint64(info.Size()), Mtime: m.Mtime}
		_, err = p.PutFile(ctx, parent, base, m, info.Size(), f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.settle()
	return want
}
