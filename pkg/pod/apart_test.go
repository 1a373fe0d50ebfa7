package pod

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// apart are two pods, alike at first, that work without each other and meet again.
type apart struct {
	t     *testing.T
	net   *memNet
	clock *turnedClock
	pods  [2]*sidePod
	base  string // the name of the pod that wrote the base
}

// sidePod is one of two pods, as a user sees it.
type sidePod struct {
	*testPod

	a    *apart
	end  *memPeer
	lazy bool // all is committed only when the pods meet
}

// theseTwo are pods at rest, to make apart pods of, again and again: disks in memory.
type theseTwo struct {
	pair
	since time.Duration // how far ahead clocks are
}

// newTheseTwo makes the pods, and has them agree on a tree:
//
//	f.txt "old"  d/x "x"  d/y "y"  e/ (empty)  g.txt and h.txt "linked" (one file)
func newTheseTwo(t *testing.T) theseTwo {
	t.Helper()
	return theseTwoOf(t, newPair(t))
}

func theseTwoOf(t *testing.T, pods pair) theseTwo {
	t.Helper()
	two := theseTwo{pair: pods}
	p := two.open(t)
	first, second := p.pods[0], p.pods[1]
	first.write("/f.txt", "old")
	first.mkdir("/d")
	first.write("/d/x", "x")
	first.write("/d/y", "y")
	first.mkdir("/e")
	first.write("/g.txt", "linked")
	first.link("/g.txt", "/h.txt")
	p.meet()
	for _, s := range p.pods {
		if err := s.SyncWait(quickly(t), vfs.RootID); err != nil {
			t.Fatal(err)
		}
	}
	first.stop()
	second.stop()
	return theseTwo{pair: pair{two.dirA, two.dirB, first.disk(), second.disk()}, since: time.Hour}
}

// disk is a copy of the pod's disk; it doesn't run.
func (s *sidePod) disk() *pebblevfs.MemFS {
	return s.o.FS.(*pebblevfs.MemFS).CrashClone(pebblevfs.CrashCloneCfg{})
}

// open starts the two pods, cut from each other.
func (two theseTwo) open(t *testing.T) *apart {
	t.Helper()
	p := &apart{t: t, net: newMemNet(), clock: &turnedClock{}}
	p.clock.turn(two.since) // after all that is stamped in the base
	for i, d := range []struct {
		dir  string
		disk *pebblevfs.MemFS
	}{{two.dirA, two.diskA}, {two.dirB, two.diskB}} {
		p.pods[i] = &sidePod{a: p}
		p.pods[i].start(Options{Dir: d.dir, Offline: true, FS: d.disk.CrashClone(pebblevfs.CrashCloneCfg{}), Clock: p.clock, Log: testLog(t)})
	}
	p.base = p.pods[0].Info().Name
	return p
}

// start starts the pod, cut from the other one.
func (s *sidePod) start(o Options) {
	t := s.a.t
	t.Helper()
	pod, err := Open(quickly(t), o)
	if err != nil {
		t.Fatal(err)
	}
	s.end = s.a.net.attach(pod)
	s.end.unplugged = true
	s.testPod = started(t, pod, o.Dir)
	t.Cleanup(s.stop)
}

// meet connects the pods and waits until they show the same.
func (p *apart) meet() {
	p.t.Helper()
	for _, s := range p.pods {
		s.settle()
		p.net.join(s.end)
	}
	p.same()
}

// same waits until both have applied the same commits, and says if their roots are not the same then.
func (p *apart) same() {
	p.t.Helper()
	a, b := p.pods[0], p.pods[1]
	eventually(p.t, "all changes are everywhere", func() error {
		if diff := cmp.Diff(a.db.VV(), b.db.VV()); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	sameRoot(p.t, a.testPod, b.testPod)
	eventually(p.t, "checkpoints of the same commits", func() error { // one of the two may make a snapshot just now
		_, errA := a.StateRoot(quickly(p.t))
		_, errB := b.StateRoot(quickly(p.t))
		if err := errors.Join(errA, errB); err != nil {
			return err
		}
		at, bt := a.db.LastCheckpoint(), b.db.LastCheckpoint()
		if diff := cmp.Diff(at.VV, bt.VV); diff != "" {
			return errors.New(diff)
		}
		if at.State != bt.State {
			p.t.Errorf("state roots %s and %s at %v", at.State, bt.State, at.VV)
		}
		return nil
	})
}

// part cuts the pods from each other.
func (p *apart) part() {
	for _, s := range p.pods {
		p.net.cut(s.end)
	}
}

// want has the pods meet, and compares what each shows with what is wanted: by path, the text of files, "folder", or "-> target".
// A conflict copy's path is written stem!1.ext or stem!2.ext, after the pod whose change it shows, or stem!0.ext if it
// is of the base; the texts of two whose paths are the same then are joined. Then the pods part, and each must be able to read it all alone.
func (p *apart) want(want map[string]string) {
	p.t.Helper()
	for at, text := range maps.Clone(want) {
		if strings.Contains(at, "!0") {
			delete(want, at)
			want[strings.ReplaceAll(at, "!0", "!"+p.number(p.base))] = text
		}
	}
	p.meet()
	p.compare(want)
	published := p.pods[0].db.VV()
	for _, s := range p.pods {
		if err := s.SyncWait(quickly(p.t), vfs.RootID); err != nil {
			p.t.Errorf("%s: sync: %v", s.Info().Name, err)
		}
	}
	p.part()
	for _, s := range p.pods {
		s.forget()
		// What pods do by themselves, merging, placing, reading, is no news (I6).
		if diff := cmp.Diff(s.db.VV(), published); diff != "" {
			p.t.Errorf("%s: commits of nobody: got - want +\n%s", s.Info().Name, diff)
		}
	}
	p.compare(want)
	for _, s := range p.pods {
		s.clean()
	}
}

func (p *apart) compare(want map[string]string) {
	p.t.Helper()
	var nodes [2]map[string]vfs.NodeID
	for i, s := range p.pods {
		var got map[string]string
		got, nodes[i] = s.tree()
		if diff := cmp.Diff(got, want); diff != "" {
			p.t.Errorf("%s: got - want +\n%s", s.Info().Name, diff)
		}
	}
	if diff := cmp.Diff(nodes[0], nodes[1]); diff != "" {
		p.t.Errorf("numbers of nodes: first - second +\n%s", diff)
	}
}

// tree is what the pod shows, and the numbers of the nodes by their whole paths.
func (s *sidePod) tree() (texts map[string]string, nodes map[string]vfs.NodeID) {
	s.t.Helper()
	texts, nodes = map[string]string{}, map[string]vfs.NodeID{}
	ctx := quickly(s.t)
	add := func(p, text string) {
		p = "/" + s.a.short(p)
		if other, two := texts[p]; two {
			text = min(text, other) + " & " + max(text, other)
		}
		texts[p] = text
	}
	found, err := dump(ctx, s.fs, func(p string, data []byte) { add(p, worded(data)) })
	if err != nil {
		s.t.Fatalf("%s: %v", s.Info().Name, err)
	}
	for p, d := range found {
		nodes["/"+p] = d.id
		switch d.kind {
		case vfs.KindFolder:
			add(p, "folder")
		case vfs.KindSymlink:
			add(p, "-> "+d.target)
		}
		if base := path.Base(p); len(base) > vfs.NameMax {
			s.t.Errorf("name of %d bytes: %q", len(base), base)
		}
		if a, err := vfs.Resolve(ctx, s.fs, "/"+p); err != nil || a.ID != d.id {
			s.t.Errorf("%s: listed as node %d, found as %d, %v", p, d.id, a.ID, err)
		}
	}
	return texts, nodes
}

// short writes a conflict copy's name as stem!1.ext.
func (p *apart) short(name string) string {
	for {
		i := strings.Index(name, ".conflict-")
		if i < 0 {
			return name
		}
		pod, rest, _ := strings.Cut(name[i+len(".conflict-"):], "-")
		end := strings.IndexAny(rest, "+./")
		if end < 0 {
			end = len(rest)
		}
		name = name[:i] + "!" + p.number(pod) + rest[end:]
	}
}

// number is the number of a pod in shortened names.
func (p *apart) number(pod string) string {
	for i, s := range p.pods {
		if s.Info().Name == pod {
			return fmt.Sprint(i + 1)
		}
	}
	return "?"
}

// copies are the names in a folder that conflict copies have.
func (s *sidePod) copies(folder string) (names []string) {
	s.t.Helper()
	entries, err := s.fs.ReadDir(quickly(s.t), s.at(folder).ID, "", 0)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name, ".conflict-") {
			names = append(names, e.Name)
		}
	}
	return names
}

// bytesOf are the bytes of a file that a text stands for: more than a body has place for, so that they are a chunk.
func bytesOf(text string) string { return strings.Repeat(text+"\n", 1+2048/(len(text)+1)) }

// worded is the text that stands for a file's bytes.
func worded(data []byte) string {
	text, _, _ := strings.Cut(string(data), "\n")
	if bytesOf(text) != string(data) {
		return fmt.Sprintf("%d bytes that nobody wrote", len(data))
	}
	return text
}

// did ends what a user did, in time.
func (s *sidePod) did(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %s: %v", s.Info().Name, what, err)
	}
	s.named()
	s.a.clock.turn(time.Second)
	if !s.lazy {
		s.settle()
	}
}

// named waits until all contents that were staged have their names, which say when they came.
func (s *sidePod) named() {
	s.t.Helper()
	eventually(s.t, "contents are named", func() error {
		s.nodes.mu.Lock()
		list := slices.Collect(maps.Values(s.nodes.byID))
		s.nodes.mu.Unlock()
		for _, n := range list {
			n.mu.RLock()
			staged := n.staged != nil
			n.mu.RUnlock()
			if staged {
				return fmt.Errorf("file %d is not", n.id)
			}
		}
		return nil
	})
}

func (s *sidePod) at(p string) vfs.Attr {
	s.t.Helper()
	a, err := vfs.Resolve(quickly(s.t), s.fs, p)
	if err != nil {
		s.t.Fatalf("%s: %v", s.Info().Name, err)
	}
	return a
}

func (s *sidePod) place(p string) (vfs.NodeID, string) {
	s.t.Helper()
	parent, name, err := vfs.ResolveParent(quickly(s.t), s.fs, p)
	if err != nil {
		s.t.Fatalf("%s: %v", s.Info().Name, err)
	}
	return parent, name
}

func (s *sidePod) create(p string, n vfs.NewNode) {
	s.t.Helper()
	parent, name := s.place(p)
	_, err := s.fs.Create(quickly(s.t), parent, name, n)
	s.did("create "+p, err)
}

func (s *sidePod) mkdir(p string) {
	s.t.Helper()
	s.create(p, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
}

func (s *sidePod) symlink(p, target string) {
	s.t.Helper()
	s.create(p, vfs.NewNode{Kind: vfs.KindSymlink, Mode: 0o777, Target: target})
}

// write makes or edits a file.
func (s *sidePod) write(p, text string) {
	s.t.Helper()
	s.did("write "+p, writeFS(quickly(s.t), s.fs, p, bytesOf(text)))
}

func (s *sidePod) rm(p string) {
	s.t.Helper()
	parent, name := s.place(p)
	s.did("rm "+p, s.fs.Remove(quickly(s.t), parent, name, false))
}

func (s *sidePod) rmdir(p string) {
	s.t.Helper()
	parent, name := s.place(p)
	s.did("rmdir "+p, s.fs.Remove(quickly(s.t), parent, name, true))
}

// rmAll is rm -r.
func (s *sidePod) rmAll(p string) {
	s.t.Helper()
	entries, err := s.fs.ReadDir(quickly(s.t), s.at(p).ID, "", 0)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Attr.Kind == vfs.KindFolder {
			s.rmAll(p + "/" + e.Name)
		} else {
			s.rm(p + "/" + e.Name)
		}
	}
	s.rmdir(p)
}

func (s *sidePod) mv(from, to string) {
	s.t.Helper()
	parent, name := s.place(from)
	newParent, newName := s.place(to)
	s.did("mv "+from+" "+to, s.fs.Rename(quickly(s.t), parent, name, newParent, newName, 0))
}

// save saves by rename: into a new file, which then replaces the old.
func (s *sidePod) save(p, text string) {
	s.t.Helper()
	s.write(p+"~", text)
	s.mv(p+"~", p)
}

func (s *sidePod) link(p, to string) {
	s.t.Helper()
	parent, name := s.place(to)
	_, err := s.fs.Link(quickly(s.t), s.at(p).ID, parent, name)
	s.did("link "+p+" "+to, err)
}

// links makes links in one commit.
func (s *sidePod) links(p string, to ...string) {
	s.t.Helper()
	for i, name := range to {
		s.lazy = s.lazy || i < len(to)-1
		s.link(p, name)
	}
	s.settle()
}

func (s *sidePod) set(p string, set vfs.SetAttr) {
	s.t.Helper()
	_, err := s.fs.SetAttr(quickly(s.t), s.at(p).ID, set)
	s.did("setattr "+p, err)
}

func (s *sidePod) chmod(p string, mode uint32) { s.t.Helper(); s.set(p, vfs.SetAttr{Mode: &mode}) }

func (s *sidePod) chown(p string, uid uint32) { s.t.Helper(); s.set(p, vfs.SetAttr{UID: &uid}) }

func (s *sidePod) utimes(p string, mtime int64) { s.t.Helper(); s.set(p, vfs.SetAttr{Mtime: &mtime}) }

func (s *sidePod) setXattr(p, name, value string) {
	s.t.Helper()
	s.did("setxattr "+p, s.fs.SetXattr(quickly(s.t), s.at(p).ID, name, []byte(value), 0))
}

func (s *sidePod) xattr(p, name string) string {
	s.t.Helper()
	value, err := s.fs.GetXattr(quickly(s.t), s.at(p).ID, name)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(value)
}

// row is what the state has at a path.
func (s *sidePod) row(p string) state.Node {
	s.t.Helper()
	parent, name := s.place(p)
	n, err := s.db.Lookup(parent, name)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}
