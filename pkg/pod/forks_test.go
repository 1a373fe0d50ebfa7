package pod

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/state"
)

// copyable is pods of one network, each on a disk in memory that can be copied, started where and when a test wants.
type copyable struct {
	t    *testing.T
	dirs []string
	disk []*pebblevfs.MemFS
}

func newCopyable(t *testing.T, names ...string) *copyable {
	t.Helper()
	first := firstPod(t)
	pods := []*testPod{first}
	for _, name := range names {
		pods = append(pods, joinPod(t, first, name))
	}
	sameRoot(t, pods...)
	c := &copyable{t: t}
	for _, p := range pods {
		p.stop()
		c.dirs, c.disk = append(c.dirs, p.dir), append(c.disk, diskOf(t, p.dir))
	}
	return c
}

// image copies a pod's disk.
func (c *copyable) image(i int) *pebblevfs.MemFS {
	return c.disk[i].CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))})
}

// start starts a pod from a disk in a network.
func (c *copyable) start(net *memNet, i int, disk pebblevfs.FS) *testPod {
	c.t.Helper()
	p, err := Open(quickly(c.t), Options{Dir: c.dirs[i], Offline: true, FS: disk, Log: testLog(c.t)})
	if err != nil {
		c.t.Fatal(err)
	}
	net.attach(p)
	tp := started(c.t, p, c.dirs[i])
	c.t.Cleanup(tp.stop)
	return tp
}

// knowsForks fails the test where a pod doesn't know of so many forks.
func (p *testPod) knowsForks(want int) {
	p.t.Helper()
	if list, err := p.db.Forks(); len(list) != want || err != nil {
		p.t.Errorf("%d forks are known, want %d: %v", len(list), want, err)
	}
}

var large = strings.Repeat("bytes that do not stand in the row. ", 10_000)

// TestClone: a pod's directory is copied, and both copies go on, each beside another pod. Nothing that either did is lost, everybody ends with one root, and they go on
// as two. If it fails, a copied virtual machine splits its network for good.
func TestClone(t *testing.T) {
	pods := newCopyable(t, "second", "third")
	net := newMemNet()
	a, c := pods.start(net, 0, pods.disk[0]), pods.start(net, 1, pods.disk[1])
	a.write("/before", "x")
	c.reads("/before", "x")
	a.stop()
	other := pods.image(0)

	a = pods.start(net, 0, pods.disk[0])
	apart := newMemNet()
	b, d := pods.start(apart, 0, other), pods.start(apart, 2, pods.disk[2])
	a.write("/of a", large)
	b.write("/of b", "b")
	b.write("/before", "x changed by b")
	c.reads("/of a", large)
	d.reads("/before", "x changed by b")
	d.reads("/of b", "b")
	c.write("/of a", "changed by c")
	d.write("/of b", "changed by d")
	a.reads("/of a", "changed by c")
	b.reads("/of b", "changed by d")
	for _, p := range []*testPod{c, d, b} {
		p.stop()
	}

	c, d = pods.start(net, 1, pods.disk[1]), pods.start(net, 2, pods.disk[2])
	everything := func(ps ...*testPod) {
		t.Helper()
		sameRoot(t, ps...)
		for _, p := range ps {
			p.reads("/of a", "changed by c")
			p.reads("/of b", "changed by d")
			p.reads("/before", "x changed by b")
		}
	}
	everything(a, c, d)
	a.write("/more of a", "a2")
	a.settle()
	a.stop()
	b = pods.start(net, 0, other)
	everything(b, c, d)
	b.write("/more of b", "b2")
	c.reads("/more of b", "b2")
	if a.db.Actor() == b.db.Actor() {
		t.Errorf("both go on as %s", a.db.Actor())
	}
	b.stop()
	a = pods.start(net, 0, pods.disk[0])
	everything(a, c, d)
	for _, p := range []*testPod{a, c, d} {
		p.knowsForks(1)
		p.reads("/more of a", "a2")
		p.reads("/more of b", "b2")
		p.clean()
	}
}

// TestSetBack: a pod's directory is set back to what it was before its last published changes, and it does more before it meets anybody. It gets back what
// others have, and what it did alone is beside it.
func TestSetBack(t *testing.T) {
	pods := newCopyable(t, "second")
	net := newMemNet()
	a, c := pods.start(net, 0, pods.disk[0]), pods.start(net, 1, pods.disk[1])
	a.write("/one", "1")
	c.reads("/one", "1")
	a.stop()
	backup := pods.image(0)
	a = pods.start(net, 0, pods.disk[0])
	a.write("/two", large)
	a.write("/one", "1, changed")
	c.reads("/two", large)
	c.reads("/one", "1, changed")
	a.stop()

	alone := pods.start(newMemNet(), 0, backup)
	alone.write("/alone", "done before it met anybody")
	alone.settle()
	was := alone.db.Actor()
	alone.stop()
	back := pods.start(net, 0, backup)
	sameRoot(t, back, c)
	for _, p := range []*testPod{back, c} {
		p.reads("/one", "1, changed")
		p.reads("/two", large)
		p.reads("/alone", "done before it met anybody")
	}
	back.knowsForks(1)
	c.knowsForks(1)
	if back.db.Actor() == was {
		t.Errorf("it goes on as %s", was)
	}
	back.write("/new", "n")
	c.reads("/new", "n")
	c.write("/new", "changed by c")
	back.reads("/new", "changed by c")
	sameRoot(t, back, c)
	back.clean()
	c.clean()
}

// TestDiffers: pods with one vector see from their heads whether they mean the same commits by it.
func TestDiffers(t *testing.T) {
	a := firstPod(t)
	a.write("/f", "1")
	a.settle()
	tips, err := a.db.Tips()
	if err != nil || len(tips) != 1 {
		t.Fatalf("tips %v, %v", tips, err)
	}
	vv, sum := a.db.VV(), state.TipsSum(tips)
	if a.differs(vv, sum) {
		t.Error("it differs from itself")
	}
	tips[0].Digest[0]++
	if !a.differs(vv, state.TipsSum(tips)) {
		t.Error("another commit of one number is not seen")
	}
	vv[tips[0].Actor]++
	if a.differs(vv, state.TipsSum(tips)) {
		t.Error("what is further on is not compared")
	}
}

// TestMovedDirectory: a directory that was copied, as a backup is brought back, is known at its start.
func TestMovedDirectory(t *testing.T) {
	a := firstPod(t)
	a.write("/f", "1")
	a.settle()
	first := a.db.Actor()
	a.stop()
	a = openPodOffline(t, a.dir)
	if a.db.Actor() != first {
		t.Errorf("after a restart it goes on as %s", a.db.Actor())
	}
	a.stop()
	moved := filepath.Join(t.TempDir(), "pod")
	if err := os.CopyFS(moved, os.DirFS(a.dir)); err != nil {
		t.Fatal(err)
	}
	b := openPodOffline(t, moved)
	if b.db.Actor() == first {
		t.Errorf("the copy goes on as %s", first)
	}
	b.write("/g", "2")
	b.reads("/f", "1")
	b.settle()
	b.clean()
}
