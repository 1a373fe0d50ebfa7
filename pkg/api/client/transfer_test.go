//go:build unix

package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/apitest"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/api/server"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// world is a daemon with one pod and a client.
type world struct {
	t   *testing.T
	pod *apitest.Pod
	c   *client.Client

	mu       sync.Mutex
	problems []string
	errs     []error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	p := apitest.New(apitest.Info())
	home := apitest.Serve(t, apitest.Machine{Pods: map[string]*apitest.Pod{"box": p}})
	return &world{t: t, pod: p, c: client.New(home, "")}
}

func (w *world) problem(path string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, path+": "+err.Error())
	w.errs = append(w.errs, err)
}

func (w *world) add(o client.AddOptions, paths ...string) api.Result {
	w.t.Helper()
	if o.To == "" {
		o.To = "/"
	}
	o.Problem = w.problem
	for _, p := range paths {
		o.Sources = append(o.Sources, client.Source{Path: p, Name: filepath.Base(p)})
	}
	r, err := w.c.Add(w.t.Context(), o)
	if err != nil {
		w.t.Fatalf("add %q: %v", paths, err)
	}
	return r
}

func (w *world) get(o client.GetOptions) {
	w.t.Helper()
	o.Problem = w.problem
	if err := w.c.Get(w.t.Context(), o); err != nil {
		w.t.Fatalf("get %s: %v", o.Source, err)
	}
}

func (w *world) noProblems() {
	w.t.Helper()
	if len(w.problems) > 0 {
		w.t.Errorf("problems: %q", w.problems)
	}
	w.problems, w.errs = nil, nil
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// makeTree makes one of everything.
func makeTree(t *testing.T, root string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "sub", "deep"), 0o755))
	must(os.Mkdir(filepath.Join(root, "empty"), 0o700))
	write(t, filepath.Join(root, "a"), "hello")
	write(t, filepath.Join(root, "none"), "")
	write(t, filepath.Join(root, "sub", "big"), strings.Repeat("0123456789abcdef", 400_000))
	write(t, filepath.Join(root, "sub", "bad\xff\xed\xb2\x80name\n"), "x")
	for i := range 700 {
		write(t, filepath.Join(root, "sub", "deep", fmt.Sprint("f", i)), strings.Repeat(fmt.Sprint(i), i))
	}
	must(os.Link(filepath.Join(root, "a"), filepath.Join(root, "sub", "hard")))
	must(os.Symlink("../no/where\xfe", filepath.Join(root, "link")))
	must(unix.Mkfifo(filepath.Join(root, "pipe"), 0o640))
	sparse, err := os.Create(filepath.Join(root, "sparse"))
	must(err)
	_, err = sparse.WriteAt([]byte("end"), 3<<20)
	must(err)
	must(sparse.Close())
	must(unix.Chmod(filepath.Join(root, "none"), 0o4751))
	must(unix.Chmod(filepath.Join(root, "a"), 0))
	if err := unix.Setxattr(filepath.Join(root, "sub"), "user.colour", []byte("red\x00"), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	if err := unix.Setxattr(filepath.Join(root, "sub", "big"), "user.colour", []byte("blue"), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
		t.Fatal(err)
	}
	for name, sec := range map[string]int64{"a": -86400, "link": 1, "sub/big": 1<<33 + 7, "empty": -1, "sub": 5, "": 6} {
		ts := []unix.Timespec{{Sec: 1}, {Sec: sec, Nsec: 123456789}}
		must(unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, name), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// listing describes a tree: everything that is to survive.
func listing(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	names := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%q mode %o uid %d gid %d mtime %d", rel, st.Mode, st.Uid, st.Gid, st.Mtim.Nano())
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" size %d sum %s", len(b), block.Sum(block.Raw, b))
			if first, ok := names[st.Ino]; ok {
				line += " = " + first
			}
			if st.Nlink > 1 {
				names[st.Ino] = rel
			}
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" -> %q", target)
		}
		var buf [100]byte
		if n, err := unix.Lgetxattr(path, "user.colour", buf[:]); err == nil {
			line += fmt.Sprintf(" colour %q", buf[:n])
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A tree goes in and comes out as it was, by descriptors and by streaming.
func TestRoundTrip(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprint("stream=", stream), func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("needs root for a file of mode 0")
			}
			w := newWorld(t)
			src := filepath.Join(t.TempDir(), "src")
			makeTree(t, src)
			r := w.add(client.AddOptions{Stream: stream}, src)
			w.noProblems()
			if len(r.Added) != 1 || r.Added[0].Path != "/src" || r.Added[0].CID.IsZero() {
				t.Errorf("added %+v", r.Added)
			}
			if w.pod.Settled() == 0 {
				t.Error("not settled")
			}
			dst := t.TempDir()
			w.get(client.GetOptions{Source: "/src", Dest: dst, Stream: stream, SUID: true})
			w.noProblems()
			want := listing(t, src)
			if d := cmp.Diff(want, listing(t, filepath.Join(dst, "src"))); d != "" {
				t.Error(d)
			}
			byCID := filepath.Join(dst, "named")
			w.get(client.GetOptions{Source: r.Added[0].CID.String(), Dest: byCID, Stream: stream, SUID: true})
			if got := listing(t, byCID); len(got) != len(want) {
				t.Errorf("by CID: %d names instead of %d", len(got), len(want))
			}
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(dst, "src", "sparse"), &st); err != nil || !stream && st.Blocks > 1024 {
				t.Errorf("the hole is gone: %d blocks, %v", st.Blocks, err)
			}
			// Again, over what is there: the same.
			w.add(client.AddOptions{Stream: stream}, src)
			w.get(client.GetOptions{Source: "/src", Dest: dst, Stream: stream, SUID: true})
			w.noProblems()
			if d := cmp.Diff(want, listing(t, filepath.Join(dst, "src"))); d != "" {
				t.Error(d)
			}
		})
	}
}

func (w *world) node(path string) vfs.Attr {
	w.t.Helper()
	a, err := vfs.Resolve(w.t.Context(), w.pod.FS(), path)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// An existing file is edited and keeps its identity; folders merge; what is of another kind is in the way.
func TestAddOver(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	f := filepath.Join(dir, "f")
	write(t, f, "one")
	w.add(client.AddOptions{}, f)
	before := w.node("/f")
	write(t, f, "other")
	w.add(client.AddOptions{}, f)
	w.noProblems()
	after := w.node("/f")
	if after.ID != before.ID || after.Size != 5 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	// A file over a folder, and a folder over a file.
	if err := os.MkdirAll(filepath.Join(dir, "x", "f"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.add(client.AddOptions{}, filepath.Join(dir, "x", "f"))
	if len(w.errs) != 1 || !errors.Is(w.errs[0], vfs.ErrExist) {
		t.Errorf("problems %q", w.problems)
	}
	w.problems, w.errs = nil, nil
	w.add(client.AddOptions{Force: true}, filepath.Join(dir, "x", "f"))
	w.noProblems()
	if w.node("/f").Kind != vfs.KindFolder {
		t.Error("--force did not replace the file")
	}
	w.add(client.AddOptions{Force: true}, f)
	if len(w.errs) != 1 || !errors.Is(w.errs[0], vfs.ErrExist) {
		t.Errorf("a folder was replaced: %q", w.problems)
	}
}

// A target that doesn't exist is the name of the only source; several need a folder.
func TestAddTarget(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "1")
	write(t, b, "2")
	w.add(client.AddOptions{To: "/new"}, a)
	if w.node("/new").Kind != vfs.KindFile {
		t.Error("not a file")
	}
	o := client.AddOptions{To: "/no", Problem: w.problem, Sources: []client.Source{{Path: a, Name: "a"}, {Path: b, Name: "b"}}}
	if _, err := w.c.Add(w.t.Context(), o); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("two to nowhere: %v", err)
	}
	o.To = "/new"
	if _, err := w.c.Add(w.t.Context(), o); !errors.Is(err, vfs.ErrNotDir) {
		t.Errorf("two to a file: %v", err)
	}
	o.To = "/no/where"
	o.Sources = o.Sources[:1]
	if _, err := w.c.Add(w.t.Context(), o); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("no parent: %v", err)
	}
	// "." merges into the target.
	o = client.AddOptions{To: "/", Problem: w.problem, Sources: []client.Source{{Path: dir}}}
	r, err := w.c.Add(w.t.Context(), o)
	if err != nil || len(r.Added) != 1 || r.Added[0].Path != "/" {
		t.Errorf("merge: %+v, %v", r, err)
	}
	w.node("/b")
	w.noProblems()
}

// Streams go in; a source that fails spoils only itself.
func TestAddReader(t *testing.T) {
	w := newWorld(t)
	data := bytes.Repeat([]byte("stream"), 300_000)
	o := client.AddOptions{To: "/", Problem: w.problem, Sources: []client.Source{
		{Path: "-", Name: "in", Reader: bytes.NewReader(data), Mtime: -5},
		{Path: "bad", Name: "bad", Reader: failingReader{}},
		{Path: filepath.Join(t.TempDir(), "missing"), Name: "missing"},
	}}
	r, err := w.c.Add(w.t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if a := w.node("/in"); a.Size != uint64(len(data)) || a.Mtime != -5 {
		t.Errorf("%+v", a)
	}
	if len(w.problems) != 2 || !strings.Contains(strings.Join(w.problems, "\n"), "it broke") {
		t.Errorf("problems %q", w.problems)
	}
	if len(r.Added) != 2 || r.Added[0].Bytes != uint64(len(data)) || !r.Added[1].CID.IsZero() {
		t.Errorf("added %+v", r.Added)
	}
	var got bytes.Buffer
	if err := w.c.Cat(w.t.Context(), "/in", &got); err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Errorf("cat: %d bytes, %v", got.Len(), err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("it broke") }

// A stream that is cut off, by its sender's end or interruption, leaves no file: what came of it is not what was meant.
func TestAddCutOff(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	waits, end := io.Pipe()
	defer end.Close()
	go func() {
		_, _ = end.Write(bytes.Repeat([]byte("half of it"), 100_000))
		cancel()
	}()
	o := client.AddOptions{To: "/", Problem: w.problem, Sources: []client.Source{{Path: "-", Name: "in", Reader: waits}}}
	if _, err := w.c.Add(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	// The daemon notices the end on its own time: an add through the same pod comes after it.
	f := filepath.Join(t.TempDir(), "f")
	write(t, f, "x")
	for range 50 {
		w.add(client.AddOptions{}, f)
		if a, err := w.pod.FS().Lookup(t.Context(), vfs.RootID, "in"); !errors.Is(err, vfs.ErrNotExist) {
			t.Fatalf("%+v, %v", a, err)
		}
	}
}

// --move deletes what was added, and only that.
func TestMove(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	if err := os.MkdirAll(filepath.Join(src, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(src, "sub", "f"), "1")
	write(t, filepath.Join(src, "g"), "2")
	// A folder is in the way of g.
	if _, err := client.Call[struct{}](w.t.Context(), w.c, "mkdir", api.PathRequest{Path: "/src/g", Parents: true}); err != nil {
		t.Fatal(err)
	}
	w.add(client.AddOptions{Move: true}, src)
	if _, err := os.Stat(filepath.Join(src, "sub")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sub: %v", err)
	}
	if _, err := os.Stat(filepath.Join(src, "g")); err != nil {
		t.Errorf("g was deleted: %v", err)
	}
}

// A move deletes nothing before all is durable, nor ever what is not in the network as it is.
func TestMoveKeeps(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	all := []string{"a", "hard", "same", "sub", "sub/f"}
	tree := func() {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(src, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "same", "sub/f"} {
			write(t, filepath.Join(src, name), name)
		}
		_ = os.Remove(filepath.Join(src, "hard")) // It may not be there.
		if err := os.Link(filepath.Join(src, "a"), filepath.Join(src, "hard")); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (names []string) {
		for _, name := range all {
			if _, err := os.Lstat(filepath.Join(src, name)); err == nil {
				names = append(names, name)
			}
		}
		return names
	}
	tree()
	p := &settling{Pod: apitest.New(apitest.Info())}
	home := apitest.Serve(t, onePod{p: p})
	w := &world{t: t, pod: p.Pod, c: client.New(home, "")}
	move := func() error {
		_, err := w.c.Add(t.Context(), client.AddOptions{
			To: "/", Move: true, Problem: w.problem, Sources: []client.Source{{Path: src, Name: "src"}},
		})
		return err
	}
	// The disk fails.
	p.on(func() error { return errors.New("disk") })
	if err := move(); err == nil {
		t.Error("no error")
	}
	if d := cmp.Diff(all, left()); d != "" {
		t.Error(d)
	}
	// Something changes while it becomes durable: its contents with size and time as before, a file that comes.
	p.on(func() error {
		if d := cmp.Diff(all, left()); d != "" {
			t.Error(d)
		}
		path := filepath.Join(src, "same")
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		write(t, path, "SAME")
		write(t, filepath.Join(src, "sub", "new"), "")
		return os.Chtimes(path, st.ModTime(), st.ModTime())
	})
	w.problems = nil
	if err := move(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"same", "sub"}, left()); d != "" {
		t.Error(d)
	}
	if len(w.problems) != 3 { // and the top folder
		t.Errorf("problems %q", w.problems)
	}
}

// TestMoveNotDurable: where others do not have what was added, as the policy asks, nothing of it is deleted; the target being there before, under another name, or
// merged into, changes nothing of that.
func TestMoveNotDurable(t *testing.T) {
	for _, name := range []string{"src", ""} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "f"), "f")
		if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "sub", "g"), "g")
		p := &settling{Pod: apitest.New(apitest.Info()), lacking: errors.New("two of three pods are down")}
		p.on(func() error { return nil })
		w := &world{t: t, pod: p.Pod, c: client.New(apitest.Serve(t, onePod{p: p}), "")}
		o := client.AddOptions{To: "/", Move: true, Problem: w.problem, Sources: []client.Source{{Path: dir, Name: name}}}
		if _, err := w.c.Add(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if len(w.problems) != 1 {
			t.Errorf("%q: problems %q", name, w.problems)
		}
		for _, f := range []string{"f", "sub/g"} {
			if _, err := os.Lstat(filepath.Join(dir, f)); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

// settling is a pod whose Settle can be changed.
type settling struct {
	*apitest.Pod

	lacking error // Durable's

	mu     sync.Mutex
	settle func() error // guarded by mu
}

// Durable is lacking.
func (s *settling) Durable(context.Context, vfs.NodeID) error { return s.lacking }

// Settle is settle.
func (s *settling) Settle(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settle()
}

// on sets it.
func (s *settling) on(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle = f
}

// onePod is a machine with one pod.
type onePod struct {
	apitest.Machine
	p server.Pod
}

// Pod is that one.
func (o onePod) Pod(string) (server.Pod, error) { return o.p, nil }

// What can't be had is told; the rest is written, and nothing is destroyed.
func TestGetLost(t *testing.T) {
	for _, stream := range []bool{false, true} {
		w := newWorld(t)
		dir := t.TempDir()
		src := filepath.Join(dir, "src")
		if err := os.Mkdir(src, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(src, "lost"), "gone")
		write(t, filepath.Join(src, "ok"), "here")
		w.add(client.AddOptions{}, src)
		if err := w.pod.FS().SetXattr(w.t.Context(), w.node("/src/lost").ID, apitest.LostXattr, nil, 0); err != nil {
			t.Fatal(err)
		}
		dst := filepath.Join(dir, "dst")
		w.get(client.GetOptions{Source: "/src", Dest: dst, Stream: stream})
		if len(w.errs) != 1 || !errors.Is(w.errs[0], block.ErrUnavailable) || !strings.HasPrefix(w.problems[0], filepath.Join(dst, "lost")) {
			t.Errorf("problems %q", w.problems)
		}
		if b, err := os.ReadFile(filepath.Join(dst, "ok")); err != nil || string(b) != "here" {
			t.Errorf("ok: %q, %v", b, err)
		}
		if _, err := os.Lstat(filepath.Join(dst, "lost")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("lost: %v", err)
		}
		write(t, filepath.Join(dst, "lost"), "an older copy")
		w.get(client.GetOptions{Source: "/src", Dest: dst + "/.", Stream: stream})
		if b, err := os.ReadFile(filepath.Join(dst, "lost")); err != nil || string(b) != "an older copy" {
			t.Errorf("the copy that was there is now %q, %v", b, err)
		}
	}
}

// A get follows no symlink that is in its way, so it can't write outside its target.
func TestGetStaysInside(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	src, dst, out := filepath.Join(dir, "src"), filepath.Join(dir, "dst"), filepath.Join(dir, "out")
	for _, d := range []string{filepath.Join(src, "d"), dst, out} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(src, "f"), "new")
	write(t, filepath.Join(src, "d", "g"), "new")
	write(t, filepath.Join(out, "f"), "old")
	w.add(client.AddOptions{}, src)
	if err := os.Symlink(filepath.Join(out, "f"), filepath.Join(dst, "f")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(out, filepath.Join(dst, "d")); err != nil {
		t.Fatal(err)
	}
	o := client.GetOptions{Source: "/src", Dest: dst, Problem: w.problem}
	o.Source = "/"
	write(t, filepath.Join(dir, "x"), "")
	w.add(client.AddOptions{To: "/f"}, filepath.Join(src, "f"))
	w.add(client.AddOptions{To: "/d"}, filepath.Join(src, "d"))
	if err := w.c.Get(w.t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(out, "f")); err != nil || string(b) != "old" {
		t.Errorf("written outside: %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(out, "g")); err == nil {
		t.Error("a file was made outside")
	}
	if b, err := os.ReadFile(filepath.Join(dst, "f")); err != nil || string(b) != "new" {
		t.Errorf("f: %q, %v", b, err)
	}
	if len(w.errs) == 0 || !errors.Is(w.errs[0], fs.ErrExist) {
		t.Errorf("problems %q", w.problems)
	}
}

// With no daemon every call says so at once.
func TestNoDaemon(t *testing.T) {
	c := client.New(api.Home(t.TempDir()), "")
	_, err := client.Call[api.Status](context.Background(), c, "status", struct{}{})
	if !errors.Is(err, api.ErrNoDaemon) || api.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	if _, err := c.Add(context.Background(), client.AddOptions{}); !errors.Is(err, api.ErrNoDaemon) {
		t.Errorf("%v", err)
	}
}
