package pod

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// told are the conflicts that a pod told of at first sight.
type told struct {
	mu   sync.Mutex
	list []string
}

func (c *told) add(x Conflict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, x.Kind+" "+x.Path)
}

func (c *told) all() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.list, ", ")
}

// twoApart are two pods with the same tree that do things apart: the second is off the network until meet.
type twoApart struct {
	t      *testing.T
	a, b   *testPod
	events [2]*told
}

func newTwoApart(t *testing.T) *twoApart {
	x := &twoApart{t: t, events: [2]*told{{}, {}}}
	x.a = firstPod(t)
	x.a.stop()
	x.a = x.open(0, Options{Dir: x.a.dir, Listen: []string{"127.0.0.1:0"}})
	x.b = joinPod(t, x.a, "second")
	x.a.write("/f", "old")
	x.a.write("/g", "old")
	x.b.reads("/g", "old")
	sameRoot(t, x.a, x.b)
	x.b.stop()
	x.b = x.open(1, Options{Dir: x.b.dir, Offline: true})
	return x
}

func (x *twoApart) open(i int, o Options) *testPod {
	x.t.Helper()
	o.OnConflict = x.events[i].add
	return runWithHistory(x.t, o)
}

func (x *twoApart) meet() {
	x.t.Helper()
	x.b.stop()
	x.b = x.open(1, Options{Dir: x.b.dir, Listen: []string{"127.0.0.1:0"}})
	sameRoot(x.t, x.a, x.b)
}

func (x *twoApart) conflicts(p *testPod) []Conflict {
	x.t.Helper()
	all, err := p.Conflicts(quickly(x.t), "/")
	if err != nil {
		x.t.Fatal(err)
	}
	return all
}

// TestConflictsApart breaks if a conflict is not told of once on each pod, not listed with who made what, not seen in the attributes of what is in it, or if
// what one pod resolves is not resolved on the other; or if what was not kept can't be had back.
func TestConflictsApart(t *testing.T) {
	x := newTwoApart(t)
	ctx := quickly(t)
	x.a.write("/f", "from a")
	x.b.write("/f", "from the second")
	g, err := vfs.Resolve(ctx, x.a.fs, "/g")
	if err != nil {
		t.Fatal(err)
	}
	mode := uint32(0o600)
	if _, err := x.a.fs.SetAttr(ctx, g.ID, vfs.SetAttr{Mode: &mode}); err != nil {
		t.Fatal(err)
	}
	x.b.remove("/g")
	x.meet()
	for i, p := range []*testPod{x.a, x.b} {
		eventually(t, "conflicts are told", func() error {
			if got := x.events[i].all(); got != "contents /f, deleted /g" {
				return fmt.Errorf("pod %d: %q", i, got)
			}
			return nil
		})
		told := map[string]int{}
		err := p.Events(ctx, time.Time{}, false, func(ev Event) error {
			if ev.Kind == EventConflict {
				told[ev.Path]++
			}
			return nil
		})
		if diff := cmp.Diff(told, map[string]int{"/f": 1, "/g": 1}); err != nil || diff != "" {
			t.Errorf("pod %d: events: %v: got - want +\n%s", i, err, diff)
		}
		all := x.conflicts(p)
		if len(all) != 2 {
			t.Fatalf("%+v", all)
		}
		for _, v := range all[0].Versions {
			text, err := p.read(v.Path)
			want := map[string]string{"first": "from a", "second": "from the second"}[v.By]
			if err != nil || text != want || v.Ours != (v.By == p.Info().Name) || time.Since(v.At) > time.Hour || !strings.Contains(v.Path, "/f") {
				t.Errorf("pod %d: %+v: %q, %v", i, v, text, err)
			}
			value, err := p.fs.GetXattr(ctx, v.NodeID, "user.wh.conflict")
			if want := "contents " + all[0].Versions[0].ID + " " + all[0].Versions[1].ID; err != nil || string(value) != want {
				t.Errorf("pod %d: attribute %q, %v, want %q", i, value, err, want)
			}
		}
		st, err := p.Status(ctx)
		if err != nil || !strings.Contains(fmt.Sprint(st.Warnings), "2 files or folders were changed") {
			t.Errorf("pod %d: %+v, %v", i, st.Warnings, err)
		}
		free, err := vfs.Resolve(ctx, p.fs, "/")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.fs.GetXattr(ctx, free.ID, "user.wh.conflict"); !errors.Is(err, vfs.ErrNoXattr) {
			t.Errorf("the root is in conflict: %v", err)
		}
	}
	open, err := x.b.fs.Open(ctx, x.conflicts(x.b)[0].Versions[0].NodeID)
	if err != nil {
		t.Fatal(err)
	}
	before, err := x.a.Root(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.a.Resolve(ctx, "/f", KeepOurs); err != nil {
		t.Fatal(err)
	}
	if err := x.b.Resolve(ctx, "/g", "nothing"); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := x.b.Resolve(ctx, "/g", KeepOurs); err != nil { // it is this pod that deleted it
		t.Fatal(err)
	}
	if err := open.Close(ctx); err != nil {
		t.Error(err)
	}
	sameRoot(t, x.a, x.b)
	for i, p := range []*testPod{x.a, x.b} {
		p.reads("/f", "from a")
		if _, err := p.read("/g"); !errors.Is(err, vfs.ErrNotExist) {
			t.Errorf("pod %d: /g: %v", i, err)
		}
		eventually(t, "no conflict is left", func() error {
			if all := x.conflicts(p); len(all) > 0 {
				return fmt.Errorf("pod %d: %+v", i, all)
			}
			return nil
		})
		if got := x.events[i].all(); got != "contents /f, deleted /g" {
			t.Errorf("pod %d: told again: %q", i, got)
		}
		p.clean()
	}
	x.a.wantAt(before.String(), "/g", "old")
	m, err := x.a.OpenMoment(ctx, Moment{Root: before})
	if err != nil {
		t.Fatal(err)
	}
	list, err := m.ReadDir(ctx, vfs.RootID, "", 10)
	if err != nil || len(list) != 3 {
		t.Errorf("before: %+v, %v", list, err)
	}
}

// TestResolveKeeps: what a user keeps is what is there, on both pods, and nothing else.
func TestResolveKeeps(t *testing.T) {
	x := newTwoApart(t)
	ctx := quickly(t)
	names := []string{"/ours", "/theirs", "/version", "/part", "/both"}
	for _, name := range names {
		x.a.write(name, "from a")
		x.b.write(name, "from the second")
	}
	x.meet()
	version := map[string]string{} // the second's
	for _, c := range x.conflicts(x.a) {
		for _, v := range c.Versions {
			if v.By == "second" {
				version[c.Path] = v.ID
			}
		}
	}
	if len(version) != len(names) {
		t.Fatalf("conflicts with versions of the second: %v", version)
	}
	for name, keep := range map[string]string{
		"/ours": KeepOurs, "/theirs": KeepTheirs, "/version": version["/version"], "/part": version["/part"][:5], "/both": KeepBoth,
	} {
		if err := x.a.Resolve(ctx, name, keep); err != nil {
			t.Errorf("keep %s of %s: %v", keep, name, err)
		}
	}
	sameRoot(t, x.a, x.b)
	for i, p := range []*testPod{x.a, x.b} {
		if all := x.conflicts(p); len(all) > 0 {
			t.Errorf("pod %d: conflicts are left: %+v", i, all)
		}
		p.reads("/ours", "from a")
		for _, name := range names[1:4] {
			p.reads(name, "from the second")
		}
		for _, name := range names {
			want := 1
			if name == "/both" {
				want = 2
			}
			if got := p.conflictsOf(name[1:]); len(got) != want {
				t.Errorf("pod %d: %s is there as %v", i, name, got)
			}
		}
		p.clean()
	}
}

// TestResolveWhileWritten breaks if a file that is being written loses what was written when a conflict of it is resolved.
func TestResolveWhileWritten(t *testing.T) {
	x := newTwoApart(t)
	ctx := quickly(t)
	x.a.write("/f", "from a")
	x.b.write("/f", "from the second")
	x.meet()
	shown := x.conflicts(x.a)[0].Versions[0] // either: the clocks of the two are not far apart
	edited, other := "FROM!the second", "from a"
	if shown.By == "first" {
		edited, other = "FROM!a", "from the second"
	}
	f, err := x.a.fs.Open(ctx, shown.NodeID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(ctx, []byte("FROM"), 0); err != nil {
		t.Fatal(err)
	}
	if err := x.a.Resolve(ctx, "/f", KeepBoth); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(ctx, []byte("!"), 4); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
	sameRoot(t, x.a, x.b)
	for _, p := range []*testPod{x.a, x.b} {
		p.reads("/f", edited)
		list, err := p.fs.ReadDir(ctx, vfs.RootID, "", 10)
		if err != nil || len(list) != 3 || len(x.conflicts(p)) != 0 {
			t.Errorf("%+v, %v", list, err)
			continue
		}
		p.reads("/"+list[1].Name, other)
		if list[1].Attr.ID == list[0].Attr.ID {
			t.Error("both are one file")
		}
	}
}

// TestComputedXattrs breaks if user.wh.cid is not the CID, or if computed attributes are listed or can be set.
func TestComputedXattrs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "only"}); err != nil {
		t.Fatal(err)
	}
	p := openPodOffline(t, dir)
	ctx := quickly(t)
	p.write("/f", "content")
	p.write("/empty", "")
	p.settle()
	if _, err := p.Root(ctx); err != nil {
		t.Fatal(err)
	}
	for path, there := range map[string]bool{"/f": true, "/": true, "/empty": false} {
		a, err := vfs.Resolve(ctx, p.fs, path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := p.CID(ctx, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.fs.GetXattr(ctx, a.ID, "user.wh.cid")
		if there && (err != nil || string(got) != want.String()) || !there && !errors.Is(err, vfs.ErrNoXattr) {
			t.Errorf("%s: %q, %v, want %s", path, got, err, want)
		}
		if names, err := p.fs.ListXattr(ctx, a.ID); err != nil || len(names) > 0 {
			t.Errorf("%s: %q, %v", path, names, err)
		}
		for _, name := range []string{"user.wh.cid", "user.wh.other"} {
			if err := p.fs.SetXattr(ctx, a.ID, name, []byte("x"), 0); !errors.Is(err, vfs.ErrNotPermitted) {
				t.Errorf("%s: set %s: %v", path, name, err)
			}
		}
	}
}
