package pod

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestJudgeClocks: a clock is wrong if the others' median is a minute away, and put right only by a majority of all.
func TestJudgeClocks(t *testing.T) {
	const h, s = time.Hour, time.Second
	for _, tt := range []struct {
		others     []time.Duration
		off, ahead time.Duration
	}{
		{nil, 0, 0},
		{[]time.Duration{0}, 0, 0},
		{[]time.Duration{60 * s}, 0, 0},
		{[]time.Duration{61 * s}, 61 * s, 0}, // one against one
		{[]time.Duration{-h}, -h, 0},
		{[]time.Duration{h, h}, h, h},
		{[]time.Duration{h, 0}, 0, 0},
		{[]time.Duration{h, h + s, 2 * h}, h + s, h},
		{[]time.Duration{h, h, 0}, h, 0}, // two against two
		{[]time.Duration{h, h, h, 0}, h, h},
		{[]time.Duration{-h, h}, -h, 0}, // no two agree
		{[]time.Duration{0, 0, h}, 0, 0},
		{[]time.Duration{-2 * h, -2 * h, h, -2 * h}, -2 * h, -2 * h},
	} {
		off, ahead := judgeClocks(tt.others)
		if off.Abs() != tt.off.Abs() || ahead != tt.ahead {
			t.Errorf("%v: got off %v, ahead %v, want %v, %v", tt.others, off, ahead, tt.off, tt.ahead)
		}
	}
}

// TestWrongClock: a pod whose clock is far from those of two others warns, and stamps with their time, so that they take its changes at once; when its clock is
// set, the warning goes. The two others have nothing to say.
func TestWrongClock(t *testing.T) {
	for _, wrong := range []time.Duration{20 * time.Minute, -20 * time.Minute} {
		t.Run(wrong.String(), func(t *testing.T) {
			pods := newCopyable(t, "second", "third")
			net, turned := newMemNet(), &turnedClock{ahead: wrong}
			a, b := pods.start(net, 0, pods.disk[0]), pods.start(net, 1, pods.disk[1])
			p, err := Open(quickly(t), Options{Dir: pods.dirs[2], Offline: true, FS: pods.disk[2], Log: testLog(t), Clock: turned})
			if err != nil {
				t.Fatal(err)
			}
			net.attach(p)
			c := started(t, p, pods.dirs[2])
			t.Cleanup(c.stop)
			warns := func(p *testPod) bool {
				t.Helper()
				st, err := p.Status(quickly(t))
				if err != nil {
					t.Fatal(err)
				}
				return hasWarning(st, "clock", "")
			}
			eventually(t, "corrected", func() error {
				if ahead := time.Duration(c.stamps.ahead.Load()); (ahead + wrong).Abs() > 10*time.Second {
					return fmt.Errorf("put right by %v", ahead)
				}
				return nil
			})
			if !warns(c) {
				t.Error("no warning")
			}
			c.write("/f", "x")
			a.reads("/f", "x") // a stamp 20 minutes ahead would have it wait for 15
			b.reads("/f", "x")
			at, err := vfs.Resolve(quickly(t), a.fs, "/f")
			if err != nil {
				t.Fatal(err)
			}
			if off := time.Since(time.Unix(0, at.Ctime)).Abs(); off > time.Minute {
				t.Errorf("its stamp is off by %v", off)
			}
			eventually(t, "the two with the right clock have asked each other", func() error { // one that has asked the third alone can't know who is wrong
				if warns(a) || warns(b) {
					return errors.New("one of them warns")
				}
				return nil
			})
			for _, step := range []struct{ set, want time.Duration }{{-wrong, 0}, {wrong, -wrong}} { // and back, before anybody is asked again
				c.clocks.wasSet(step.set)
				c.judgeClock(quickly(t))
				if ahead := time.Duration(c.stamps.ahead.Load()); (ahead - step.want).Abs() > 10*time.Second {
					t.Errorf("set by %v it is put right by %v, want %v", step.set, ahead, step.want)
				}
			}
			turned.turn(-wrong)
			c.write("/g", "x") // until the pod sees that its clock was set, its stamps are as wrong as the clock was
			eventually(t, "right again", func() error {
				if c.stamps.ahead.Load() != 0 {
					return errors.New("still corrected")
				}
				return nil
			})
			if warns(c) {
				t.Error("it warns with the right clock")
			}
			a.reads("/g", "x")
		})
	}
}
