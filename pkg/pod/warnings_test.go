package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// warningTests are, for each code, the test in which what it warns of is brought about in pods that run, and ends: one of TestWarnings', or another of this package, or
// of another (PACKAGE TEST). package health tests that each is shown, told and over by what holds.
var warningTests = map[health.Code]string{
	health.CodePodDown: "pod_down", health.CodePodSuspect: "pod_suspect", health.CodePodFlaps: "pod_flaps", health.CodePodDiverged: "pod_diverged", health.CodeChangesAway: "changes_elsewhere",
	health.CodeUnsafe: "bytes_unsafe", health.CodeUnavailable: "bytes_unavailable", health.CodeDegraded: "bytes_degraded", health.CodeSpreading: "spreading_long",
	health.CodeDamaged: "blocks_damaged", health.CodeFewPods: "few_pods", health.CodeNetworkFull: "network_full", health.CodeNoRoomToRepair: "no_room_to_repair",
	health.CodeDiskFull: "disk_full", health.CodeDiskLow: "disk_low", health.CodeFuture: "changes_from_future", health.CodeConflicts: "conflicts", health.CodeGCStopped: "gc_stopped",
	health.CodeMinority: "minority", health.CodeOtherVersion: "other_version", health.CodeNoKey: "no_key", health.CodeShutOut: "shut_out",

	health.CodeMembershipEnds: "membership_ends", health.CodeOneReader: "one_reader", health.CodeOneWriter: "one_writer",

	health.CodeClock: "TestWrongClock", health.CodeKeyAwaited: "TestRekeyAwaited", health.CodeMayNotWrite: "TestRoleTakenAndGiven", health.CodeUncounted: "TestRevokedInAnyOrder",
	health.CodeUnknownRules: "TestRuleOfALaterVersion", health.CodeMembershipEnded: "TestExpiredIsRefused", health.CodePodExpired: "TestExpiredIsRefused",
	health.CodeMountMissing: "../daemon TestMountTakenAway",
}

// warningCauses bring a code about: each makes pods, and returns the one that is to warn, what begins it and what ends it.
var warningCauses = map[health.Code]func(t *testing.T) (p *testPod, begin, end func()){
	health.CodePodDown: func(t *testing.T) (*testPod, func(), func()) {
		pods := quickPods(t, 3)
		return pods[0], func() { gone(pods[1]) }, func() { pods[1] = again(t, pods[1]) }
	},
	health.CodePodSuspect: func(t *testing.T) (*testPod, func(), func()) {
		pods := metPods(t, 2)
		ruled(t, map[string]string{"suspect": "5ms", "down": "1h"}, pods...)
		return pods[0], func() { gone(pods[1]) }, func() { pods[1] = again(t, pods[1]) }
	},
	health.CodePodFlaps:       flapsCause,
	health.CodePodDiverged:    divergedCause,
	health.CodeChangesAway:    changesAwayCause,
	health.CodeUnsafe:         fullOtherCause,
	health.CodeUnavailable:    unavailableCause,
	health.CodeSpreading:      fullOtherCause, // the copies wait for room there
	health.CodeDamaged:        damagedCause,
	health.CodeNetworkFull:    fullNetworkCause,
	health.CodeNoRoomToRepair: noRoomCause,
	health.CodeDiskFull:       func(t *testing.T) (*testPod, func(), func()) { return fullDiskCause(t, 40<<20) },
	health.CodeDiskLow:        func(t *testing.T) (*testPod, func(), func()) { return fullDiskCause(t, 20<<20) },
	health.CodeFuture:         futureCause,
	health.CodeConflicts:      conflictCause,
	health.CodeGCStopped:      gcStoppedCause,
	health.CodeOtherVersion:   otherVersionCause,
	health.CodeNoKey:          noKeyCause,
	health.CodeShutOut:        shutOutCause,
	health.CodeMembershipEnds: endingCause,
	health.CodeOneReader: func(t *testing.T) (*testPod, func(), func()) {
		a := openPod(t, createEncrypted(t))
		return a, func() { joinAs(t, a, "rented", "storage") }, func() { joinAs(t, a, "c", "reader") }
	},
	health.CodeOneWriter: func(t *testing.T) (*testPod, func(), func()) {
		a := openPod(t, createEncrypted(t))
		joinAs(t, a, "c", "reader")
		return a, func() { joinAs(t, a, "rented", "storage") }, func() { fatal(t, a.SetRole(quickly(t), "c", "writer")) }
	},
	health.CodeDegraded: func(t *testing.T) (*testPod, func(), func()) {
		pods := quickPods(t, 3)
		ruled(t, map[string]string{"policy": "replica:3"}, pods...)
		pods[0].write("/f", randomText(1, 100<<10))
		settled(t, "/f", 3, pods...)
		return pods[0], func() { gone(pods[1]) }, func() { pods[1] = again(t, pods[1]) }
	},
	health.CodeFewPods: func(t *testing.T) (*testPod, func(), func()) {
		a := firstPod(t)
		return a, func() {}, func() { joinPod(t, a, "b") }
	},
	health.CodeMinority: func(t *testing.T) (*testPod, func(), func()) {
		pods := quickPods(t, 3)
		return pods[0], func() { gone(pods[1]); gone(pods[2]) }, func() { pods[1] = again(t, pods[1]) }
	},
}

// quickPods are pods that lose each other soon.
func quickPods(t *testing.T, n int) []*testPod {
	t.Helper()
	pods := metPods(t, n)
	ruled(t, map[string]string{"suspect": "5ms", "down": "10ms"}, pods...)
	return pods
}

// flapsCause is a pod that comes and goes, until that counts no more.
func flapsCause(t *testing.T) (*testPod, func(), func()) {
	pods := quickPods(t, 4)
	a, flapper := pods[0], pods[3]
	begin := func() {
		for range 2 {
			for _, want := range []string{"down", "up"} {
				if end := flapper.end(); want == "down" {
					end.net.cut(end)
				} else {
					end.net.join(end)
				}
				eventually(t, want, func() error {
					if s := stateOf(t, a, flapper.id).State; s != want {
						return errors.New(s)
					}
					return nil
				})
			}
		}
	}
	return a, begin, func() { ruled(t, map[string]string{"lower": "1ms"}, pods...) }
}

// found is what a pod warns of under a code, now and whatever its delay; "": nothing.
func (p *testPod) found(code health.Code) string {
	p.t.Helper()
	pods, err := p.Pods(quickly(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	unsafe, states := p.spread.counted()
	facts, err := p.facts(quickly(p.t), pods, unsafe, states)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, w := range health.Find(facts) {
		if w.Code == code {
			return w.Text
		}
	}
	return ""
}

// TestWarnings breaks if a pod does not warn of what is so, or still does when it is over.
func TestWarnings(t *testing.T) {
	for code, cause := range warningCauses {
		t.Run(string(code), func(t *testing.T) {
			p, begin, end := cause(t)
			waits := func(what string, want bool) {
				t.Helper()
				eventually(t, what, func() error {
					p.spread.poke()
					if text := p.found(code); (text != "") != want {
						return fmt.Errorf("it is said: %q", text)
					}
					return nil
				})
			}
			if code != health.CodeFewPods { // which is so at first
				waits("nothing yet", false)
			}
			begin()
			waits("the warning", true)
			if end == nil {
				return
			}
			end()
			waits("its end", false)
		})
	}
}

// TestWarningsAreTested breaks if there is a code that no test brings about in pods that run.
func TestWarningsAreTested(t *testing.T) {
	for _, d := range health.Definitions() {
		name, ok := warningTests[d.Code]
		if !ok {
			t.Errorf("no test brings about %s", d.Code)
			continue
		}
		if warningCauses[health.Code(name)] != nil {
			continue
		}
		dir := "."
		if before, after, ok := strings.Cut(name, " "); ok {
			dir, name = before, after
		}
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		fatal(t, err)
		if !slices.ContainsFunc(files, func(file string) bool {
			b, err := os.ReadFile(file)
			return err == nil && regexp.MustCompile(`(?m)^func `+name+`\(`).Match(b)
		}) {
			t.Errorf("%s: there is no test %s", d.Code, name)
		}
	}
}

// divergedCause: a pod shows another state of the same history, as a faulty one does.
func divergedCause(t *testing.T) (*testPod, func(), func()) {
	pods := metPods(t, 2)
	a, b := pods[0], pods[1]
	a.write("/f", "x")
	sameRoot(t, a, b)
	root := func() {
		for _, p := range pods {
			if _, err := p.Root(quickly(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return a, func() {
			root()
			mine, err := a.store.Get(quickly(t), a.db.LastCheckpoint().State)
			fatal(t, err)
			r, err := state.DecodeRoot(mine)
			fatal(t, err)
			tries := 0
			eventually(t, "the other state is seen", func() error { // a head that the other pod sent itself may come after it, and says that all is well
				tries++
				rows := block.Sum(block.DagCBOR, fmt.Appendf(nil, "other rows %d", tries)) // what was compared once isn't again
				other := bytes.Replace(mine, r.Rows.Bytes(), rows.Bytes(), 1)
				id := block.Sum(block.DagCBOR, other)
				fatal(t, b.store.Put(quickly(t), id, other))
				a.pulls.compare(b.id, &state.Head{Checkpoint: id, VV: r.VV})
				for range 100 {
					if a.found(health.CodePodDiverged) != "" {
						return nil
					}
					time.Sleep(10 * time.Millisecond)
				}
				return errors.New("nothing is said")
			})
		}, func() {
			a.write("/f", "y")
			sameRoot(t, a, b)
			eventually(t, "their newest states are compared", func() error {
				root()
				mine, other := a.db.LastCheckpoint(), b.db.LastCheckpoint()
				if mine.State != other.State {
					return errors.New("not the same yet")
				}
				a.pulls.compare(b.id, &state.Head{Checkpoint: other.State, VV: other.VV})
				return nil
			})
		}
}

// changesAwayCause: a pod told another of changes, and is gone before they came here.
func changesAwayCause(t *testing.T) (*testPod, func(), func()) {
	pods := metPods(t, 3)
	a, c := pods[0], pods[2]
	net, end := c.end().net, c.end()
	return a, func() {
			net.cut(end)
			c.write("/f", "x")
			c.settle()
			b, err := c.db.Head(quickly(t))
			fatal(t, err)
			head, err := state.DecodeHead(b)
			fatal(t, err)
			a.foundHead(c.id, head)
		}, func() {
			net.join(end)
			a.reads("/f", "x")
		}
}

// fullOtherCause: the pod that is to have the second copy has no room for it.
func fullOtherCause(t *testing.T) (*testPod, func(), func()) {
	a, b := smallPods(t, 0)
	return a, func() {
			fatal(t, b.SetPolicy(quickly(t), vfs.RootID, "none", ""))
			b.putAll("/mine", 16<<20)
			fatal(t, a.SetPolicy(quickly(t), vfs.RootID, "replica:2", ""))
			a.write("/f", randomText(1, 3<<20))
			a.settle()
		}, func() {
			fatal(t, a.fs.Remove(quickly(t), vfs.RootID, "f", false))
			a.settle()
			for i := range 16 {
				if err := a.fs.Remove(quickly(t), vfs.RootID, fmt.Sprint("mine", i), false); err != nil && !errors.Is(err, vfs.ErrNotExist) {
					t.Fatal(err)
				}
			}
		}
}

// putAll puts files of a MiB until there are so many bytes, or no room is left.
func (p *testPod) putAll(path string, n int) {
	p.t.Helper()
	for i := range n >> 20 {
		err := p.putAt(fmt.Sprint(path, i), noiseOf(byte(i+len(path)), 1<<20))
		if errors.Is(err, vfs.ErrNoSpace) {
			break
		}
		fatal(p.t, err)
	}
	p.settle()
}

// smallPods are two pods, of which the second, and if so many bytes are given also the first, has little room.
func smallPods(t *testing.T, first int64) (a, b *testPod) {
	t.Helper()
	a = firstPod(t)
	b = joinPod(t, a, "b")
	sameRoot(t, a, b)
	a.stop()
	b.stop()
	a = runPod(t, Options{Dir: a.dir, Listen: []string{"127.0.0.1:0"}, CapacityBytes: first})
	b = runPod(t, Options{Dir: b.dir, Listen: []string{"127.0.0.1:0"}, CapacityBytes: reserveBytes + 8<<20, Tuning: Tuning{Entries: []string{fmt.Sprintf("127.0.0.1:%d", a.ListenPort())}}})
	meet(t, a, b)
	return a, b
}

// unavailableCause: the only pod that has a file is gone.
func unavailableCause(t *testing.T) (*testPod, func(), func()) {
	pods := quickPods(t, 2)
	a, b := pods[0], pods[1]
	ruled(t, map[string]string{"policy": "none"}, pods...)
	b.write("/f", randomText(1, 100<<10))
	b.settle()
	sameRoot(t, a, b)
	return a, func() { gone(b) }, func() { again(t, b) }
}

// damagedCause: bits of a stored block flip while no other pod is there, which has a good copy when it is back.
func damagedCause(t *testing.T) (*testPod, func(), func()) {
	a, b, _ := twoCopies(t)
	b.stop()
	a.stop()
	rot(t, a.dir)
	a = openPod(t, a.dir)
	return a, func() { fatal(t, a.Fsck(quickly(t), true, func(Problem) {})) }, func() {
		b = openPod(t, b.dir)
		a.Tune(quickly(t), Tuning{Entries: []string{fmt.Sprintf("127.0.0.1:%d", b.ListenPort())}})
		eventually(t, "connected", func() error { return a.reachable(b) })
		fatal(t, a.Fsck(quickly(t), true, func(Problem) {}))
	}
}

// fullNetworkCause: two small pods are nearly full together.
func fullNetworkCause(t *testing.T) (*testPod, func(), func()) {
	a, b := smallPods(t, reserveBytes+8<<20)
	fatal(t, a.SetPolicy(quickly(t), vfs.RootID, "none", ""))
	sameRoot(t, a, b)
	return a, func() {
			for _, p := range []*testPod{a, b} {
				p.putAll("/"+p.reg.name(p.id), 16<<20)
				p.tellAll(p2p.KindUsage, p.usageMessage(context.Background()))
			}
			sameRoot(t, a, b)
		}, func() {
			for _, p := range []*testPod{a, b} {
				p.removeAll("/" + p.reg.name(p.id))
			}
		}
}

// removeAll takes away what putAll put, for good.
func (p *testPod) removeAll(path string) {
	p.t.Helper()
	for i := range 40 {
		if err := p.fs.Remove(quickly(p.t), vfs.RootID, fmt.Sprint(path[1:], i), false); err != nil && !errors.Is(err, vfs.ErrNotExist) {
			p.t.Fatal(err)
		}
	}
	p.settle()
	_, err := p.Collect(quickly(p.t), CollectOptions{Now: true, atOnce: true})
	fatal(p.t, err)
	p.tellAll(p2p.KindUsage, p.usageMessage(context.Background()))
}

// noRoomCause: with three pods and two copies, what the fullest has would not fit on the others.
func noRoomCause(t *testing.T) (*testPod, func(), func()) {
	a, b := smallPods(t, 0)
	c := joinPod(t, a, "c")
	c.stop()
	c = runPod(t, Options{Dir: c.dir, Listen: []string{"127.0.0.1:0"}, CapacityBytes: reserveBytes + 8<<20, Tuning: Tuning{Entries: []string{fmt.Sprintf("127.0.0.1:%d", a.ListenPort())}}})
	meet(t, a, b, c)
	fatal(t, a.SetPolicy(quickly(t), a.folder("/own"), "none", ""))
	told := func() {
		for _, p := range []*testPod{a, b, c} {
			p.tellAll(p2p.KindUsage, p.usageMessage(context.Background()))
		}
	}
	return a, func() { a.putAll("/own/f", 20<<20); told() }, func() {
		for i := range 20 {
			fatal(t, a.fs.Remove(quickly(t), a.at("/own"), fmt.Sprint("f", i), false))
		}
		a.removeAll("/none")
		told()
	}
}

// fullDiskCause: so many bytes are put into a small pod.
func fullDiskCause(t *testing.T, n int) (*testPod, func(), func()) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pod")
	_, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "small"})
	fatal(t, err)
	p := runPod(t, Options{Dir: dir, Offline: true, CapacityBytes: reserveBytes + 32<<20})
	return p, func() { p.putAll("/f", n) }, func() { p.removeAll("/f") }
}

// futureCause: a pod stamps its changes with a time that is far ahead, until this machine's clock has come there.
func futureCause(t *testing.T) (*testPod, func(), func()) {
	pods := newCopyable(t, "second")
	net, here, ahead := newMemNet(), &turnedClock{}, &turnedClock{ahead: 24 * time.Hour}
	open := func(i int, c *turnedClock) *testPod {
		p, err := Open(quickly(t), Options{Dir: pods.dirs[i], Offline: true, FS: pods.disk[i], NoHistory: true, Log: testLog(t), Clock: c})
		fatal(t, err)
		net.attach(p)
		tp := started(t, p, pods.dirs[i])
		t.Cleanup(tp.stop)
		return tp
	}
	a, b := open(0, here), open(1, ahead)
	return a, func() { b.write("/f", "x"); b.settle() }, func() { here.turn(24 * time.Hour); b.write("/g", "x"); b.settle() }
}

// conflictCause: two pods change a file apart.
func conflictCause(t *testing.T) (*testPod, func(), func()) {
	pods := metPods(t, 2)
	a, b := pods[0], pods[1]
	a.write("/f", "before")
	sameRoot(t, a, b)
	net, end := b.end().net, b.end()
	return a, func() {
		net.cut(end)
		for i, p := range pods {
			p.write("/f", fmt.Sprint("of pod ", i))
			p.settle()
		}
		net.join(end)
		sameRoot(t, a, b)
	}, func() { fatal(t, a.Resolve(quickly(t), "/f", KeepOurs)) }
}

// gcStoppedCause: a file's list of chunks is on a pod that is gone, so that nobody knows what is garbage.
func gcStoppedCause(t *testing.T) (*testPod, func(), func()) {
	pods := metPods(t, 2)
	ruled(t, map[string]string{"policy": "none"}, pods...)
	a, b := pods[0], pods[1]
	b.folder("/d")
	b.rule("/d", "chunking=fixed:64KiB")
	fatal(t, b.putAt("/d/f", noiseOf(1, 8<<20))) // more chunks than a row has room for
	b.settle()
	sameRoot(t, a, b)
	c := &turnedClock{}
	gone(a)
	p, err := Open(quickly(t), Options{Dir: a.dir, FS: a.o.FS, Offline: true, NoHistory: true, Log: testLog(t), Clock: c})
	fatal(t, err)
	a.end().net.attach(p)
	tp := started(t, p, a.dir)
	t.Cleanup(tp.stop)
	turn := func() {
		for range 30 { // what is due waits for its timer, which is set when the one before was due
			c.turn(10 * time.Minute)
			time.Sleep(10 * time.Millisecond)
		}
	}
	return tp, func() { gone(b); turn() }, func() { again(t, b); turn() }
}

// otherVersionCause: another pod runs another program, until that is installed here, too.
func otherVersionCause(t *testing.T) (*testPod, func(), func()) {
	a := firstPod(t)
	b := joinPod(t, a, "b")
	a.stop()
	b.stop()
	open := func(p *testPod, version string, entries ...string) *testPod {
		return runPod(t, Options{Dir: p.dir, Listen: []string{"127.0.0.1:0"}, Version: version, Tuning: Tuning{Entries: entries}})
	}
	a = open(a, "v1")
	at := fmt.Sprintf("127.0.0.1:%d", a.ListenPort())
	return a, func() { b = open(b, "v2", at); meet(t, a, b) }, func() { b.stop(); b = open(b, "v1", at); meet(t, a, b) }
}

// noKeyCause: a pod of an encrypted network lost its key, and gets it again from an admin's.
func noKeyCause(t *testing.T) (*testPod, func(), func()) {
	a := openPod(t, createEncrypted(t))
	b := joinPod(t, a, "b")
	return b, func() { b.seal.Store(newSealing(b.reg, nil)) }, func() { b.findSealing() }
}

// shutOutCause: a pod is shut out. It is so for good: who comes again does so by another pod.
func shutOutCause(t *testing.T) (*testPod, func(), func()) {
	pods := metPods(t, 2)
	return pods[1], func() { fatal(t, pods[0].Revoke(quickly(t), "pod2")) }, nil
}

// endingCause: a pod's certificate ends soon, and no admin's pod was there to renew it.
func endingCause(t *testing.T) (*testPod, func(), func()) {
	first := withLife(t)
	second := joinPod(t, first, "second")
	first.stop()
	second = startLater(t, 0, second)[0]
	return second, func() { second.clock.(*turnedClock).turn(23 * time.Hour) }, func() {
		first = startLater(t, 23*time.Hour, first)[0]
		second.Tune(quickly(t), Tuning{Entries: []string{fmt.Sprintf("127.0.0.1:%d", first.ListenPort())}})
	}
}
