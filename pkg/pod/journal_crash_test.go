package pod

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// noFile is the state of a name at which nothing is.
const noFile = "no file"

// outcomes are what a crash may leave at each name. A file's state is what it holds.
type outcomes struct {
	mu  sync.Mutex          // guards the fields below
	may map[string][]string // the first is durable, the last is now
	at  map[string]int      // the state that the last operation on the name itself made: of no older file, after any sync
}

func (m *outcomes) now(name string) string {
	if list := m.may[name]; len(list) > 0 {
		return list[len(list)-1]
	}
	return noFile
}

// becomes is called before a change: it may be there from now on. With own, it is one of the name.
func (m *outcomes) becomes(name, text string, own bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.may[name]) == 0 {
		m.may[name] = []string{noFile}
	}
	m.may[name] = append(m.may[name], text)
	if own {
		m.at[name] = len(m.may[name]) - 1
	}
}

// synced is called after a sync of a file, or of all.
func (m *outcomes) synced(which ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, list := range m.may {
		from := m.at[name]
		if slices.Contains(which, name) {
			from = len(list) - 1
		}
		m.may[name], m.at[name] = slices.Clone(list[from:]), 0
	}
}

// cut is a disk as a loss of power left it, and what it may hold.
type cut struct {
	fs  *pebblevfs.MemFS
	may map[string][]string
}

// TestJournalPower cuts the power at syncs, renames and removals of the disk while files are written, truncated, synced, closed, removed,
// and saved by rename. What an fsync acknowledged must be there, no file may hold what it never held, and a name that was renamed over shows the old file or the
// new one, whole. The fold after it must change nothing.
func TestJournalPower(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	steps, cutsMax := 400, 60
	if testing.Short() {
		steps, cutsMax = 100, 12
	}
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "cut"}); err != nil {
		t.Fatal(err)
	}
	mem := pebblevfs.NewCrashableMem()
	if _, err := pebblevfs.Clone(pebblevfs.Default, mem, dir, dir, pebblevfs.CloneSync); err != nil {
		t.Fatal(err)
	}
	syncDirs(t, mem, dir)
	model := &outcomes{may: map[string][]string{}, at: map[string]int{}}
	chance := rand.New(rand.NewPCG(seed, 1)) // guarded, as what follows, by model.mu
	var cuts []cut
	armed := false // Pebble's first steps are not what is tested
	hook := errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpRename, errorfs.OpRemove:
		default:
			return nil
		}
		model.mu.Lock()
		defer model.mu.Unlock()
		if armed && len(cuts) < cutsMax && chance.IntN(5) == 0 {
			c := cut{may: map[string][]string{}}
			for name, list := range model.may {
				c.may[name] = slices.Clone(list)
			}
			c.fs = mem.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[chance.IntN(3)], RNG: chance})
			cuts = append(cuts, c)
		}
		return nil
	})
	p := runPod(t, Options{Dir: dir, Offline: true, FS: errorfs.Wrap(mem, hook)})
	model.mu.Lock()
	armed = true
	model.mu.Unlock()
	u := &saver{t: t, p: p, m: model, rng: rng, open: map[string]vfs.File{}}
	for range steps {
		u.step()
	}
	p.stop()
	if len(cuts) == 0 {
		t.Fatal("the power was never cut")
	}
	records := 0
	for i := range cuts {
		records += cuts[i].check(t, dir)
	}
	t.Logf("%d cuts, with %d journal records", len(cuts), records)
	if records == 0 {
		t.Error("no cut found a record: this tests nothing")
	}
}

// syncDirs makes durable that the folders below dir, and those above it, are there.
func syncDirs(t *testing.T, fs pebblevfs.FS, dir string) {
	t.Helper()
	one := func(path string) {
		d, err := fs.OpenDir(path)
		if err == nil {
			err = errors.Join(d.Sync(), d.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var below func(path string)
	below = func(path string) {
		list, err := fs.List(path)
		if err != nil {
			t.Fatal(err)
		}
		one(path)
		for _, name := range list {
			if info, err := fs.Stat(fs.PathJoin(path, name)); err == nil && info.IsDir() {
				below(fs.PathJoin(path, name))
			}
		}
	}
	below(dir)
	for up := filepath.Dir(dir); ; up = filepath.Dir(up) {
		if one(up); up == filepath.Dir(up) {
			return
		}
	}
}

// check opens what is left and looks at it, before and after a fold.
func (c *cut) check(t *testing.T, dir string) (records int) {
	t.Helper()
	p := openStill(t, Options{Dir: dir, FS: c.fs})
	records = p.records()
	found := map[string]string{}
	for _, when := range []string{"replayed", "folded", "opened again"} {
		list, err := p.fs.ReadDir(p.t.Context(), vfs.RootID, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, e := range list {
			if got[e.Name], err = readFS(p.t.Context(), p.fs, e.Name); err != nil {
				t.Errorf("%s: %s: %v", when, e.Name, err)
			}
			if _, known := c.may[e.Name]; !known {
				t.Errorf("%s: there is a file %q", when, e.Name)
			}
		}
		for name, may := range c.may {
			text, there := got[name]
			if !there {
				text = noFile
			}
			if when == "replayed" {
				found[name] = text
				if !slices.Contains(may, text) {
					t.Errorf("%s holds %q, none of %d: %q", name, shorten(text), len(may), shortened(may))
				}
			} else if text != found[name] {
				t.Errorf("%s: %s holds %q, before %q", when, name, shorten(text), shorten(found[name]))
			}
		}
		switch when {
		case "replayed":
			p.folds()
			if n := p.records(); n != 0 {
				t.Errorf("%d records are left after a fold", n)
			}
		case "folded":
			if err := p.db.Check(p.t.Context(), func(problem string) { t.Error(problem) }); err != nil {
				t.Error(err)
			}
			p = p.again()
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	return records
}

func shortened(list []string) (out []string) {
	for _, s := range list {
		out = append(out, shorten(s))
	}
	return out
}

// saver uses files.
type saver struct {
	t    *testing.T
	p    *testPod
	m    *outcomes
	rng  *rand.Rand
	n    int
	open map[string]vfs.File
}

// text is one that was never written before, sometimes of more than a body holds itself.
func (u *saver) text() string {
	u.n++
	return strings.Repeat(fmt.Sprintf("<%d>", u.n), 1+u.rng.IntN(4)*u.rng.IntN(400))
}

func (u *saver) ok(err error) {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
}

// file opens or makes one.
func (u *saver) file(name string) vfs.File {
	u.t.Helper()
	if f := u.open[name]; f != nil {
		return f
	}
	a, err := u.p.fs.Lookup(u.t.Context(), vfs.RootID, name)
	if errors.Is(err, vfs.ErrNotExist) {
		u.m.becomes(name, "", true)
		a, err = u.p.fs.Create(u.t.Context(), vfs.RootID, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	}
	u.ok(err)
	f, err := u.p.fs.Open(u.t.Context(), a.ID)
	u.ok(err)
	u.open[name] = f
	return f
}

func (u *saver) close(name string) {
	u.t.Helper()
	if f := u.open[name]; f != nil {
		delete(u.open, name)
		u.ok(f.Close(u.t.Context()))
	}
}

func (u *saver) write(name string) {
	u.t.Helper()
	f := u.file(name)
	was, text := u.m.now(name), u.text()
	off := u.rng.IntN(len(was) + 1)
	b := append([]byte(was), make([]byte, max(0, off+len(text)-len(was)))...)
	copy(b[off:], text)
	u.m.becomes(name, string(b), false)
	_, err := f.WriteAt(u.t.Context(), []byte(text), int64(off))
	u.ok(err)
}

func (u *saver) sync(name string) {
	u.t.Helper()
	u.ok(u.file(name).Sync(u.t.Context()))
	u.m.synced(name)
}

func (u *saver) step() {
	u.t.Helper()
	name := fmt.Sprint("f", u.rng.IntN(4))
	switch k := u.rng.IntN(100); {
	case k < 40:
		u.write(name)
	case k < 65:
		u.sync(name)
	case k < 73:
		u.file(name)
		was := u.m.now(name)
		size := uint64(u.rng.IntN(len(was) + 1))
		u.m.becomes(name, was[:size], false)
		a, err := u.p.fs.Lookup(u.t.Context(), vfs.RootID, name)
		u.ok(err)
		_, err = u.p.fs.SetAttr(u.t.Context(), a.ID, vfs.SetAttr{Size: &size})
		u.ok(err)
	case k < 82:
		u.close(name)
	case k < 86:
		if u.m.now(name) == noFile {
			return
		}
		u.m.becomes(name, noFile, true)
		u.ok(u.p.fs.Remove(u.t.Context(), vfs.RootID, name, false))
		u.close(name)
	case k < 98:
		u.save(name)
	default:
		u.ok(u.p.fs.SyncFS(u.t.Context()))
		all := []string{"tmp"}
		for i := range 4 {
			all = append(all, fmt.Sprint("f", i))
		}
		u.m.synced(all...)
	}
}

// save is what editors do: write a new file, sync it, or not, and rename it over the old one.
func (u *saver) save(name string) {
	u.t.Helper()
	u.write("tmp")
	if u.rng.IntN(3) > 0 {
		u.sync("tmp")
	}
	if u.rng.IntN(2) > 0 {
		u.write("tmp")
	}
	stays := u.rng.IntN(2) == 0
	f := u.file("tmp")
	if !stays {
		u.close("tmp")
	}
	text := u.m.now("tmp")
	u.m.becomes("tmp", noFile, true)
	u.m.becomes(name, text, true)
	u.ok(u.p.fs.Rename(u.t.Context(), vfs.RootID, "tmp", vfs.RootID, name, 0))
	u.close(name)
	if stays {
		delete(u.open, "tmp")
		u.open[name] = f
	}
}
