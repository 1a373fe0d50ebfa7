package pod

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/health"
)

// What people should know of is an event when it begins, and one when it is over; it is told meanwhile.
func TestWarningEvents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "first"}); err != nil {
		t.Fatal(err)
	}
	c := &turnedClock{}
	p, err := Open(quickly(t), Options{
		Dir: dir, Offline: true, Clock: c, Log: testLog(t),
		Unmounted: func() []health.Mount { return []health.Mount{{Dir: "/mnt", Why: "gone"}} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	st, err := p.Status(quickly(t))
	if err != nil || !st.Healthy || hasWarning(st, "mount_missing", "") {
		t.Fatalf("%+v, %v", st, err)
	}
	for range 3 {
		c.turn(time.Minute)
		if st, err = p.Status(quickly(t)); err != nil || !hasWarning(st, "mount_missing", "/mnt") {
			t.Fatalf("%+v, %v", st, err)
		}
	}
	told := func() (n int) {
		for _, w := range p.Told() {
			if w.Code == health.CodeMountMissing {
				n++
			}
		}
		return n
	}
	if told() != 1 {
		t.Errorf("told %+v", p.Told())
	}
	p.o.Unmounted = nil
	for range 3 {
		c.turn(time.Minute)
		if st, err = p.Status(quickly(t)); err != nil || hasWarning(st, "mount_missing", "") {
			t.Fatalf("%+v, %v", st, err)
		}
	}
	if told() != 0 {
		t.Errorf("told %+v", p.Told())
	}
	var kinds []string
	if err := p.Events(quickly(t), time.Time{}, false, func(ev Event) error {
		if ev.Code == health.CodeMountMissing {
			kinds = append(kinds, ev.Kind)
			if ev.Severity != health.Serious {
				t.Errorf("%+v", ev)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(kinds) != 2 || kinds[0] != EventWarning || kinds[1] != EventWarningOver {
		t.Errorf("events %q", kinds)
	}
}

// A pod can be stopped while others can give all that the policy promises, and not before.
func TestCanStop(t *testing.T) {
	a := firstPod(t)
	can := func(p *testPod) StopAnswer {
		t.Helper()
		got, err := p.CanStop(quickly(t))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := can(a); len(got.Reasons) != 0 || len(got.Notes) != 1 {
		t.Errorf("alone: %+v", got)
	}
	if err := a.SetPolicy(quickly(t), 1, "replica:2", ""); err != nil {
		t.Fatal(err)
	}
	b := joinPod(t, a, "second")
	a.write("/f", strings.Repeat("bytes", 1000)) // longer than what rows hold
	sameRoot(t, a, b)
	if err := a.SyncWait(quickly(t), 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is there", func() error {
		if got := can(a); len(got.Reasons) != 0 || len(got.Notes) != 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if err := a.SetPolicy(quickly(t), 1, "none", ""); err != nil {
		t.Fatal(err)
	}
	a.write("/g", strings.Repeat("here only", 1000))
	eventually(t, "a note", func() error {
		if got := can(a); len(got.Reasons) != 0 || len(got.Notes) != 1 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if err := a.SetPolicy(quickly(t), 1, "replica:2", ""); err != nil {
		t.Fatal(err)
	}
	b.stop()
	if got := can(a); len(got.Reasons) != 2 {
		t.Errorf("without the other: %+v", got)
	}
}
