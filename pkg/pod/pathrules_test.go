package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/chunker"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// folder makes a folder.
func (p *testPod) folder(path string) vfs.NodeID {
	p.t.Helper()
	ctx := quickly(p.t)
	parent, name, err := vfs.ResolveParent(ctx, p.fs, path)
	if err != nil {
		p.t.Fatal(err)
	}
	a, err := p.fs.Create(ctx, parent, name, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
	if err != nil {
		p.t.Fatal(err)
	}
	return a.ID
}

// rule sets rules of a path: KEY=VALUE.
func (p *testPod) rule(path string, rules ...string) {
	p.t.Helper()
	all := make(map[string]string)
	for _, r := range rules {
		key, value, _ := strings.Cut(r, "=")
		all[key] = value
	}
	if err := p.SetPathRules(quickly(p.t), p.at(path), all); err != nil {
		p.t.Fatal(err)
	}
}

// putAt puts a file.
func (p *testPod) putAt(path string, data []byte) error {
	p.t.Helper()
	ctx := quickly(p.t)
	parent, name, err := vfs.ResolveParent(ctx, p.fs, path)
	if err != nil {
		p.t.Fatal(err)
	}
	_, err = p.PutFile(ctx, parent, name, FileMeta{Mode: 0o644}, int64(len(data)), bytes.NewReader(data))
	return err
}

// noiseOf is bytes that nothing compresses.
func noiseOf(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// Rules of a path are inherited, by the nearest that is set, go with a folder that is moved, are known to all pods within a second, and after a restart; what is no rule is refused.
func TestPathRules(t *testing.T) {
	pods := metPods(t, 2)
	a, b := pods[0], pods[1]
	a.folder("/src")
	a.folder("/src/deep")
	a.write("/src/deep/f", "x")
	sameRoot(t, a, b)
	a.rule("/", "compression=off", "retention=720h")
	a.rule("/src", "quota=1GiB", "compression=zstd", "chunking=fixed:64KiB", "minority=read-only")
	set := time.Now()
	says := func(p *testPod, path string, want map[string]string) {
		t.Helper()
		eventually(t, "rules of "+path, func() error {
			pol, err := p.Policy(quickly(t), p.at(path))
			if err != nil {
				return err
			}
			for _, r := range pol.Rules {
				if got := r.Value + " " + r.Path; got != want[r.Rule] {
					err = errors.Join(err, fmt.Errorf("%s is %q, not %q", r.Rule, got, want[r.Rule]))
				}
			}
			return err
		})
	}
	inherited := map[string]string{"compression": "zstd /src", "retention": "720h /", "quota": "1GiB /src", "chunking": "fixed:64KiB /src", "minority": "read-only /src"}
	says(b, "/src/deep/f", inherited)
	if d := time.Since(set); d > time.Second {
		t.Errorf("they were in force after %s", d)
	}
	if err := a.fs.Rename(quickly(t), vfs.RootID, "src", vfs.RootID, "moved", 0); err != nil {
		t.Fatal(err)
	}
	sameRoot(t, a, b)
	moved := map[string]string{}
	for k, v := range inherited {
		moved[k] = strings.Replace(v, "/src", "/moved", 1)
	}
	b = again(t, func() *testPod { gone(b); return b }())
	says(b, "/moved/deep/f", moved)
	b.rule("/moved", "quota=unset", "minority=unset")
	moved["quota"], moved["minority"] = "none ", "write "
	says(a, "/moved/deep/f", moved)
	list, err := a.PathRules(quickly(t), "/moved")
	if err != nil || len(list) != 2 || list[0] != (PathRule{"/moved", "compression", "zstd"}) {
		t.Errorf("list %v, %v", list, err)
	}
	for key, value := range map[string]string{"compression": "lzma", "chunking": "fixed:1KiB", "retention": "2d", "minority": "what", "quota": "-1", "colour": "red"} {
		err := a.SetPathRules(quickly(t), vfs.RootID, map[string]string{key: value})
		if want := map[bool]error{true: config.ErrNoKey, false: config.ErrBad}[key == "colour"]; !errors.Is(err, want) {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
}

// A quota refuses what is written beyond it, in every way, on every pod, and nothing else: not an edit in place, what is removed gives room, what was merged stays.
func TestQuota(t *testing.T) {
	pods := metPods(t, 2)
	a, b := pods[0], pods[1]
	ctx := quickly(t)
	top := a.folder("/q")
	a.folder("/q/sub")
	a.folder("/free")
	a.rule("/q", "quota=100KiB")
	sameRoot(t, a, b)
	over := func(what string, err error, want bool) {
		t.Helper()
		if errors.Is(err, vfs.ErrQuota) != want || err != nil && !want {
			t.Errorf("%s: %v", what, err)
		}
	}
	over("put", a.putAt("/q/sub/one", noiseOf(1, 60<<10)), false)
	over("put beyond", a.putAt("/q/two", noiseOf(2, 60<<10)), true)
	over("put elsewhere", a.putAt("/free/two", noiseOf(2, 60<<10)), false)
	over("put in its place", a.putAt("/q/sub/one", noiseOf(3, 70<<10)), false)
	over("rename into it", a.fs.Rename(ctx, a.at("/free"), "two", top, "two", 0), true)
	over("rename within it", a.fs.Rename(ctx, a.at("/q/sub"), "one", top, "one", 0), false)
	_, err := a.fs.Link(ctx, a.at("/free/two"), top, "two")
	over("link into it", err, true)
	_, err = a.CopyFile(ctx, a.at("/free/two"), top, "two", FileMeta{Mode: 0o644})
	over("copy into it", err, true)
	out, err := a.PutFiles(ctx, []SmallFile{{Parent: top, Name: "s1", Data: noiseOf(4, 20<<10)}, {Parent: top, Name: "s2", Data: noiseOf(5, 20<<10)}})
	if err != nil {
		t.Fatal(err)
	}
	over("a small file", out[0].Err, false)
	over("one too many", out[1].Err, true)
	file, err := a.fs.Open(ctx, a.at("/q/one"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(n, off int) error {
		_, err := file.WriteAt(ctx, noiseOf(6, n), int64(off))
		return err
	}
	over("overwrite", write(70<<10, 0), false)
	over("append beyond", write(20<<10, 70<<10), true)
	over("append", write(5<<10, 70<<10), false)
	over("close", file.Close(ctx), false)
	over("remove", a.fs.Remove(ctx, top, "s1", false), false)
	over("put where something was removed", a.putAt("/q/s3", noiseOf(7, 24<<10)), false)
	sameRoot(t, a, b)
	over("put on another pod", b.putAt("/q/two", noiseOf(2, 60<<10)), true)
	a.rule("/q", "quota=200KiB")
	set := time.Now()
	eventually(t, "a higher quota on another pod", func() error { return b.putAt("/q/two", noiseOf(2, 60<<10)) })
	if d := time.Since(set); d > time.Second {
		t.Errorf("it was in force after %s", d)
	}
	a.rule("/q", "quota=1KiB")
	sameRoot(t, a, b) // what is there is merged, although it is over the quota
	if _, err := a.read("/q/two"); err != nil {
		t.Error(err)
	}
	if err := a.putAt("/q/more", noiseOf(8, 2<<10)); err == nil || !strings.Contains(err.Error(), "/q is 1024 bytes") || !strings.Contains(err.Error(), "wh policy set") {
		t.Errorf("the error is %v", err)
	}
}

// A write of what two pods did apart passes a quota that each of them kept, and all of it is there.
func TestQuotaApart(t *testing.T) {
	pods := metPods(t, 2)
	a, b := pods[0], pods[1]
	a.folder("/q")
	a.rule("/q", "quota=100KiB")
	sameRoot(t, a, b)
	net, end := b.end().net, b.end()
	net.cut(end)
	for i, p := range pods {
		if err := p.putAt(fmt.Sprintf("/q/%d", i), noiseOf(byte(i), 80<<10)); err != nil {
			t.Fatal(err)
		}
		p.settle()
	}
	net.join(end)
	sameRoot(t, a, b)
	for i, p := range []*testPod{b, a} {
		if got, err := p.read(fmt.Sprintf("/q/%d", i)); err != nil || got != string(noiseOf(byte(i), 80<<10)) {
			t.Errorf("%d: %d bytes, %v", i, len(got), err)
		}
		eventually(t, "both are counted", func() error {
			if err := p.putAt("/q/more", noiseOf(9, 30<<10)); !errors.Is(err, vfs.ErrQuota) {
				return fmt.Errorf("%w", errors.Join(errors.New("no error of the quota"), err))
			}
			return nil
		})
	}
}

// Without compression bytes are stored as they are, by add and by a mount, in plain and in encrypted networks, and are the same when they are read.
func TestCompressionRule(t *testing.T) {
	for _, encrypt := range []bool{false, true} {
		t.Run(fmt.Sprintf("encrypt=%v", encrypt), func(t *testing.T) {
			dir := t.TempDir() + "/pod"
			if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "one", Encrypt: encrypt}); err != nil {
				t.Fatal(err)
			}
			a := openPodOffline(t, dir)
			for _, name := range []string{"/raw", "/zstd"} {
				a.folder(name)
			}
			a.rule("/raw", "compression=off")
			took := func(do func()) int64 {
				before := a.usage().Live
				do()
				a.settle()
				return a.usage().Live - before
			}
			const size = 3 << 20
			text := func(i int) string { return strings.Repeat(fmt.Sprintf("line %d of a text\n", i), size/17+1)[:size] }
			for i, c := range []struct {
				folder string
				raw    bool
			}{{"/raw", true}, {"/zstd", false}} {
				put := took(func() {
					if err := a.putAt(c.folder+"/put", []byte(text(2*i))); err != nil {
						t.Fatal(err)
					}
				})
				written := took(func() { a.write(c.folder+"/written", text(2*i+1)) })
				small := took(func() {
					out, err := a.PutFiles(quickly(t), []SmallFile{{Parent: a.at(c.folder), Name: "small", Data: []byte(text(i)[:100<<10])}})
					if err != nil || out[0].Err != nil {
						t.Fatal(err, out)
					}
				})
				for what, n := range map[string]int64{"put": put, "written": written, "small": small * size / (100 << 10)} {
					if (n >= size) != c.raw {
						t.Errorf("%s in %s takes %d bytes", what, c.folder, n)
					}
				}
				for name, want := range map[string]string{"put": text(2 * i), "written": text(2*i + 1), "small": text(i)[:100<<10]} {
					a.forget()
					if got, err := a.read(c.folder + "/" + name); err != nil || got != want {
						t.Errorf("%s: %d bytes, %v", name, len(got), err)
					}
				}
			}
			a.clean()
		})
	}
}

// Files are cut as the rule of their path says, by add and by a mount, their bodies name the parameters, and pods read them without a rule.
func TestChunkingRule(t *testing.T) {
	pods := metPods(t, 2)
	a, b := pods[0], pods[1]
	const size = 5<<20 + 12345
	data := noiseOf(1, size)
	for name, params := range chunkings {
		folder := "/" + strings.ReplaceAll(name, ":", "-")
		a.folder(folder)
		a.rule(folder, "chunking="+name)
		if err := a.putAt(folder+"/put", data); err != nil {
			t.Fatal(err)
		}
		a.write(folder+"/written", string(data))
		a.settle()
		for _, file := range []string{"/put", "/written"} {
			row, err := a.db.Get(a.at(folder + file))
			if err != nil {
				t.Fatal(err)
			}
			body, err := decodeBody(row.Body)
			if err != nil {
				t.Fatal(err)
			}
			want := params.Append(nil)
			if params == chunker.DefaultParams() {
				want = nil
			}
			if !bytes.Equal(body.Params, want) {
				t.Errorf("%s%s: parameters %x, not %x", folder, file, body.Params, want)
			}
			sizes := a.chunkSizes(t, row)
			for i, n := range sizes {
				last := i == len(sizes)-1
				if n > int64(params.Max) || !last && n < int64(params.Min) {
					t.Errorf("%s%s: a chunk of %d bytes", folder, file, n)
				}
			}
			if most := 2 * size / int(params.Avg) * 2; len(sizes) < size/int(params.Max) || len(sizes) > most+2 {
				t.Errorf("%s%s: %d chunks", folder, file, len(sizes))
			}
		}
		sameRoot(t, a, b)
		for _, file := range []string{"/put", "/written"} {
			if got, err := b.read(folder + file); err != nil || got != string(data) {
				t.Errorf("%s%s: %d bytes, %v", folder, file, len(got), err)
			}
		}
	}
	// What is edited here and there stays cut, also where its windows are folded.
	f, err := a.fs.Open(quickly(t), a.at("/fixed-64KiB/written"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		off := i * 7001 % (1 << 20)
		copy(data[off:], noiseOf(byte(i), 100))
		if _, err := f.WriteAt(quickly(t), data[off:off+100], int64(off)); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if err := f.Flush(quickly(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Close(quickly(t)); err != nil {
		t.Fatal(err)
	}
	a.settle()
	row, err := a.db.Get(a.at("/fixed-64KiB/written"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range a.chunkSizes(t, row) {
		if n > 64<<10 {
			t.Errorf("a chunk of %d bytes after edits", n)
		}
	}
	if got, err := a.read("/fixed-64KiB/written"); err != nil || got != string(data) {
		t.Errorf("edited: %d bytes, %v", len(got), err)
	}
	a.clean()
}

// chunkSizes are the lengths of the chunks that a file's body names.
func (p *testPod) chunkSizes(t *testing.T, row state.Node) (out []int64) {
	t.Helper()
	err := p.contentBlocks(quickly(t), row, func(w wanted) error {
		if w.id.Codec() == block.Raw {
			plain, err := p.getBlock(quickly(t), w.id)
			out = append(out, int64(len(plain)))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Of what was replaced or removed, history gives up what is older than its path's rule says, and nothing else; what somebody named keeps all it has.
func TestRetentionRule(t *testing.T) {
	c := &turnedClock{}
	a := historyPod(t, Options{Clock: c})
	for _, name := range []string{"/tmp", "/tmp/keep", "/home"} {
		a.folder(name)
	}
	a.rule("/tmp", "retention=1h")
	a.rule("/tmp/keep", "retention=all")
	files := []string{"/tmp/f", "/tmp/gone", "/tmp/keep/f", "/home/f"}
	old := func(path string) string { return strings.Repeat("old "+path+"\n", 1000) }
	for _, path := range files {
		a.write(path, old(path))
	}
	before := func() string { return time.Now().UTC().Add(c.ahead).Format(time.RFC3339Nano) }
	root := func() { t.Helper(); _, err := a.Root(quickly(t)); fatal(t, err) }
	root()
	c.turn(2 * time.Second)
	at := before()
	c.turn(2 * time.Second)
	for _, path := range files {
		a.write(path, strings.Repeat("new "+path+"\n", 1000))
	}
	fatal(t, a.fs.Remove(quickly(t), a.at("/tmp"), "gone", false))
	root()
	collect := func() {
		t.Helper()
		_, err := a.Collect(quickly(t), CollectOptions{atOnce: true})
		fatal(t, err)
		a.forget()
	}
	collect()
	for _, path := range files {
		a.wantAt(at, path, old(path)) // an hour has not passed
	}
	named := a.snapshot("named")
	for _, path := range files[2:] {
		a.write(path, "newer")
	}
	a.write("/tmp/f", "newer")
	root()
	c.turn(3 * time.Hour)
	collect()
	for _, path := range files[2:] {
		a.wantAt(at, path, old(path))
	}
	for _, path := range files[:2] {
		if got, err := a.readAt(at, path); err == nil || !strings.Contains(err.Error(), "retention") {
			t.Errorf("%s: %q, %v", path, shorten(got), err)
		}
	}
	a.wantAt(named.Name, "/tmp/f", strings.Repeat("new /tmp/f\n", 1000))
	a.reads("/tmp/f", "newer")
	a.clean()
}

// Snapshots that were made by rule go as a whole when the rules of retention keep nothing of them.
func TestRetentionOfSnapshots(t *testing.T) {
	c := &turnedClock{}
	a := historyPod(t, Options{Clock: c})
	auto := func() (n int) {
		all, err := a.Snapshots(quickly(t))
		fatal(t, err)
		for _, s := range all {
			if s.Auto {
				n++
			}
		}
		return n
	}
	make1 := func(i int) {
		a.write("/f", strings.Repeat(fmt.Sprint(i), 3000))
		fatal(t, a.applySnapshotRule(quickly(t)))
	}
	for i := range 3 {
		make1(i)
		c.turn(20 * time.Minute)
	}
	if auto() != 3 {
		t.Fatalf("%d snapshots", auto())
	}
	a.rule("/", "retention=30m")
	a.folder("/all")
	a.rule("/all", "retention=all")
	make1(4)
	if auto() < 3 {
		t.Errorf("%d snapshots, although a path keeps all", auto())
	}
	a.rule("/all", "retention=10m")
	fatal(t, a.applySnapshotRule(quickly(t)))
	if n := auto(); n > 3 || n == 0 {
		t.Errorf("%d snapshots", n)
	}
	c.turn(20 * time.Minute)
	make1(5)
	c.turn(2 * time.Hour)
	make1(6)
	fatal(t, a.placeSnapshots(context.Background(), nil))
	if n := auto(); n > 2 || n == 0 {
		t.Errorf("%d snapshots after hours", n)
	}
}

// Of two rules about a pod that is cut off, the path's own counts before the network's.
func TestMinorityOfAPath(t *testing.T) {
	pods := metPods(t, 3)
	a := pods[0]
	for _, name := range []string{"/bank", "/bank/scratch", "/notes"} {
		a.folder(name)
	}
	a.rule("/bank", "minority=read-only")
	a.rule("/bank/scratch", "minority=write")
	ruled(t, map[string]string{"policy": "replica:2", "suspect": "5ms", "down": "10ms"}, pods...)
	cutOff(t, a, pods[1:]...)
	try := func(path string, refused bool) {
		t.Helper()
		if err := writeFS(quickly(t), a.fs, path, "x"); errors.Is(err, vfs.ErrReadOnly) != refused || err != nil && !refused {
			t.Errorf("%s: %v", path, err)
		}
	}
	try("/bank/f", true)
	try("/bank/scratch/f", false)
	try("/notes/f", false)
	ruled(t, map[string]string{"minority": "read-only"}, a)
	try("/bank/scratch/g", false)
	try("/notes/g", true)
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
