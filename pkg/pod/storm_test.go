package pod

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// stormTime is how long TestStorm writes.
var stormTime = flag.Duration("storm", 3*time.Second, "how long eight pods write at once")

const (
	stormPods = 8
	// stormTogether is how long pods may take to show one root after the last write: 2 s, and room for a machine that does other things too.
	stormTogether = 2 * time.Second
	stormSlack    = 10
)

// manyPods are n pods of a network that run on disks in memory, connected by a memNet.
func manyPods(t *testing.T, n int) []*testPod {
	t.Helper()
	pods := []*testPod{firstPod(t)}
	for i := 1; i < n; i++ {
		pods = append(pods, joinPod(t, pods[0], fmt.Sprintf("pod%d", i+1)))
	}
	sameRoot(t, pods...)
	net := newMemNet()
	for _, p := range pods {
		p.stop()
	}
	for i, old := range pods {
		// One of them would make a snapshot after a minute, which is a commit that nobody asked for.
		p, err := Open(quickly(t), Options{Dir: old.dir, FS: diskOf(t, old.dir), Offline: true, NoHistory: true, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		net.attach(p)
		pods[i] = started(t, p, old.dir)
		t.Cleanup(pods[i].stop)
	}
	return pods
}

// stormy is a pod in the storm: it changes what is at random names of folders in which all others do the same.
type stormy struct {
	*testPod

	rng    *rand.Rand
	number int
	burst  int    // operations between two waits, at most
	ops    uint64 // that changed something
	before uint64 // commits when it began
	what   string // it did last
}

var stormFolders = []string{"s0", "s1", "s2"}

// run works until ctx ends.
func (s *stormy) run(ctx context.Context) error {
	for ctx.Err() == nil {
		for range 1 + s.rng.IntN(s.burst) {
			changed, err := s.step(context.WithoutCancel(ctx))
			if err != nil {
				return fmt.Errorf("pod %d: %w", s.number, err)
			}
			if changed {
				s.ops++
			}
		}
		if err := s.Settle(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("pod %d: settle: %w", s.number, err)
		}
		if made := s.db.VV()[s.actor] - s.before; s.burst == 1 && made != s.ops {
			return fmt.Errorf("pod %d published %d commits for %d operations, the last one was to %s", s.number, made, s.ops, s.what)
		}
	}
	return nil
}

// step tries one operation, which changes something if it succeeds; that another pod is in the way is no error.
func (s *stormy) step(ctx context.Context) (changed bool, err error) {
	folder, err := s.fs.Lookup(ctx, vfs.RootID, stormFolders[s.rng.IntN(len(stormFolders))])
	if err != nil {
		return false, err
	}
	name := fmt.Sprintf("n%d", s.rng.IntN(8))
	entries, err := s.fs.ReadDir(ctx, folder.ID, "", 0)
	if err != nil {
		return false, err
	}
	switch k := s.rng.IntN(10); {
	case k < 4 || len(entries) == 0:
		err = s.write(ctx, folder.ID, name, bytesOf(fmt.Sprintf("pod %d, operation %d", s.number, s.ops)))
	case k == 4:
		s.what = "make a folder"
		_, err = s.fs.Create(ctx, folder.ID, name, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
	default:
		err = s.change(ctx, folder.ID, entries[s.rng.IntN(len(entries))], name)
	}
	for _, other := range []error{vfs.ErrNotExist, vfs.ErrExist, vfs.ErrNotEmpty, vfs.ErrIsDir, vfs.ErrNotDir} {
		if errors.Is(err, other) {
			return false, nil
		}
	}
	return err == nil, err
}

// write makes a file or edits it: one change of the state each time.
func (s *stormy) write(ctx context.Context, folder vfs.NodeID, name, text string) (err error) {
	a, err := s.fs.Lookup(ctx, folder, name)
	if errors.Is(err, vfs.ErrNotExist) {
		s.what = "make a file"
		defer s.leases.release(s.leases.hold())
		body, err := s.putStream(ctx, int64(len(text)), strings.NewReader(text), s.makingAt(1))
		if err == nil {
			_, err = s.makeFile(ctx, folder, name, FileMeta{Mode: 0o644}, &body, nil)
		}
		return err
	}
	if err != nil || a.Kind != vfs.KindFile {
		return errors.Join(err, vfs.ErrIsDir)
	}
	s.what = "edit a file"
	f, err := s.fs.Open(ctx, a.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(ctx)) }()
	if _, err := s.fs.SetAttr(ctx, a.ID, vfs.SetAttr{Size: new(uint64)}); err != nil {
		return err
	}
	_, err = f.WriteAt(ctx, []byte(text), 0)
	return err
}

// change changes an entry that was listed. Conflict copies are removed more often than they come.
func (s *stormy) change(ctx context.Context, folder vfs.NodeID, e vfs.DirEntry, name string) error {
	k := s.rng.IntN(6)
	s.what = fmt.Sprintf("change %q, a %v (%d)", e.Name, e.Attr.Kind, k)
	switch {
	case k < 2 || strings.Contains(e.Name, ".conflict-"):
		return s.fs.Remove(ctx, folder, e.Name, e.Attr.Kind == vfs.KindFolder)
	case k == 2:
		mode := s.rng.Uint32N(0o1000)
		_, err := s.fs.SetAttr(ctx, e.Attr.ID, vfs.SetAttr{Mode: &mode})
		return err
	case k == 3:
		return s.fs.SetXattr(ctx, e.Attr.ID, testXattr, fmt.Append(nil, s.number, s.ops), 0)
	case e.Name == name:
		return vfs.ErrExist // a rename to itself changes nothing
	default:
		return s.fs.Rename(ctx, folder, e.Name, folder, name, 0)
	}
}

// TestStorm breaks if pods that write to the same folders at once publish anything but what their users did, if they don't
// come to one root soon after, or can't read each other's files.
func TestStorm(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	pods := manyPods(t, stormPods)
	for _, name := range stormFolders {
		if _, err := pods[0].fs.Create(quickly(t), vfs.RootID, name, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	pods[0].settle()
	before := sameEverywhere(t, pods)
	users := storm(t, pods, seed)

	begin := time.Now()
	after := sameEverywhere(t, pods)
	took := time.Since(begin)
	wantCommits(t, users, before, after)
	entries := wantSameTree(t, pods)
	// Nobody had anything to say: not after the merges, and not after reading.
	if diff := cmp.Diff(pods[0].db.VV(), after); diff != "" {
		t.Errorf("commits published by merging: got - want +\n%s", diff)
	}
	t.Logf("one root %v after the last write, %d files and folders", took.Round(time.Millisecond), entries)
	limit := stormTogether
	if *stormTime < time.Minute {
		limit *= stormSlack
	}
	if took > limit {
		t.Errorf("one root %v after the last write, not within %v", took, limit)
	}
}

// storm has a user on each pod for stormTime. Those of even pods do many things between two waits, so that several share a commit.
func storm(t *testing.T, pods []*testPod, seed uint64) []*stormy {
	t.Helper()
	ctx, end := context.WithTimeout(context.Background(), *stormTime)
	defer end()
	users, errs := make([]*stormy, len(pods)), make([]error, len(pods))
	var group sync.WaitGroup
	for i, p := range pods {
		users[i] = &stormy{testPod: p, rng: rand.New(rand.NewPCG(seed, uint64(i))), number: i + 1, burst: 1, before: p.db.VV()[p.actor]}
		if i%2 == 1 {
			users[i].burst = 20
		}
		group.Go(func() { errs[i] = users[i].run(ctx) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return users
}

// wantCommits compares what pods published with what their users did. Who waited for each operation made a commit of each; of a burst several
// operations may share one, or leave nothing.
func wantCommits(t *testing.T, users []*stormy, before, after state.VV) {
	t.Helper()
	commits, ops := uint64(0), uint64(0)
	for _, u := range users {
		made := after[u.actor] - before[u.actor]
		commits, ops = commits+made, ops+u.ops
		if made > u.ops || u.burst == 1 && made != u.ops {
			t.Errorf("pod %d published %d commits for %d operations, at most %d at a time", u.number, made, u.ops, u.burst)
		}
	}
	t.Logf("%d operations of %d pods in %v: %d commits", ops, len(users), *stormTime, commits)
}

// wantSameTree reads all that pods show and compares it, and returns how much that is.
func wantSameTree(t *testing.T, pods []*testPod) (entries int) {
	t.Helper()
	var first map[string]dumped
	for i, p := range pods {
		p.clean()
		found, err := dump(quickly(t), p.fs, nil)
		if err != nil {
			t.Fatalf("%s: %v", p.Info().Name, err)
		}
		if i == 0 {
			first = found
		}
		if diff := cmp.Diff(found, first, cmp.AllowUnexported(dumped{})); diff != "" {
			t.Errorf("%s: got - first +\n%s", p.Info().Name, diff)
		}
	}
	return len(first)
}

// sameEverywhere waits until all pods have applied all commits and show one root, and returns how far that is.
func sameEverywhere(t *testing.T, pods []*testPod) state.VV {
	t.Helper()
	vv := pods[0].db.VV()
	eventually(t, "all changes are everywhere", func() error {
		vv = pods[0].db.VV()
		for _, p := range pods[1:] {
			if diff := cmp.Diff(p.db.VV(), vv); diff != "" {
				return fmt.Errorf("%s: got - want +\n%s", p.Info().Name, diff)
			}
		}
		return nil
	})
	sameRoot(t, pods...)
	return vv
}
