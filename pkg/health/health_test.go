package health

import (
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var begin = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

// causes is a way to bring about each warning, from a network of two healthy pods.
var causes = map[Code]func(*Facts){
	CodePodDown:     func(f *Facts) { f.Pods[1].State = "down" },
	CodePodSuspect:  func(f *Facts) { f.Pods[1].State = "suspect" },
	CodePodFlaps:    func(f *Facts) { f.Pods[1].HeldUntil = begin },
	CodePodDiverged: func(f *Facts) { f.Pods[1].Diverged = true },
	CodeChangesAway: func(f *Facts) { f.Pods[1].Untold = 3 },
	CodeUnsafe:      func(f *Facts) { f.UnsafeBytes = 1 },
	CodeUnavailable: func(f *Facts) { f.UnavailableBytes = 7 },
	CodeDegraded:    func(f *Facts) { f.DegradedBytes = 7 },
	CodeSpreading:   func(f *Facts) { f.SpreadingBytes = 7 },
	CodeDamaged:     func(f *Facts) { f.DamagedBlocks = 1 },
	CodeFewPods:     func(f *Facts) { f.Copies = 3 },
	CodeOneReader:   func(f *Facts) { f.Pods[1].Blind = true },
	CodeOneWriter: func(f *Facts) {
		f.Pods = append(f.Pods, Pod{Name: "rented", Stores: true, Blind: true, State: "up"})
		f.Pods[0].Writer, f.Pods[2].Writer = "ann", "ann"
	},
	CodeNetworkFull: func(f *Facts) { f.Pods[0].FreeBytes, f.Pods[1].FreeBytes = 0, 1<<30 },
	CodeNoRoomToRepair: func(f *Facts) {
		f.Pods = append(f.Pods, Pod{Name: "big", Stores: true, State: "up", UsedBytes: 900 << 30, FreeBytes: 100 << 30})
	},
	CodeDiskFull:        func(f *Facts) { f.FreeBytes = 0 },
	CodeDiskLow:         func(f *Facts) { f.FreeBytes = 1 << 30 },
	CodeClock:           func(f *Facts) { f.ClockBehind = -time.Hour },
	CodeFuture:          func(f *Facts) { f.Pods[1].Future = true },
	CodeNoKey:           func(f *Facts) { f.NoKey = true },
	CodeKeyAwaited:      func(f *Facts) { f.KeyAwaited = true },
	CodeShutOut:         func(f *Facts) { f.ShutOut = "one" },
	CodeMayNotWrite:     func(f *Facts) { f.Demoted = "reader" },
	CodeUncounted:       func(f *Facts) { f.Uncounted = "laptop" },
	CodePodExpired:      func(f *Facts) { f.Pods[1].Expired = "2026-01-01, and here it is 2027" },
	CodeMembershipEnds:  func(f *Facts) { f.MembershipEnds = "2026-01-01, and here it is 2025" },
	CodeMembershipEnded: func(f *Facts) { f.MembershipEnded = "2026-01-01, and here it is 2027" },
	CodeMountMissing:    func(f *Facts) { f.Mounts = []Mount{{Dir: "/mnt", Why: "it was taken away"}} },
	CodeConflicts:       func(f *Facts) { f.Conflicts = 1 },
	CodeMinority:        func(f *Facts) { f.Minority = "changes are kept here and merged then" },
	CodeGCStopped:       func(f *Facts) { f.GCStopped = "pod nas is not there" },
	CodeOtherVersion:    func(f *Facts) { f.Pods[1].Version = "v2" },
	CodeUnknownRules:    func(f *Facts) { f.UnknownRules = 2 },
}

func healthy() Facts {
	return Facts{
		Copies: 2, StoredBytes: 100 << 30, FreeBytes: 100 << 30, Version: "v1",
		Pods: []Pod{
			{Name: "box", Self: true, Stores: true, State: "up", UsedBytes: 100 << 30, FreeBytes: 100 << 30, Version: "v1"},
			{Name: "nas", Stores: true, State: "up", UsedBytes: 100 << 30, FreeBytes: 100 << 30, Version: "v1"},
			{Name: "laptop", State: "down"}, // a portal
		},
	}
}

// Each warning can be brought about, alone, is shown after its delay and told after its time, and goes by itself with its cause.
func TestEachWarning(t *testing.T) {
	if got := Find(healthy()); len(got) != 0 {
		t.Fatalf("of a healthy network: %+v", got)
	}
	if got := Find(Facts{}); len(got) != 0 {
		t.Fatalf("of nothing: %+v", got)
	}
	for _, d := range Definitions() {
		t.Run(string(d.Code), func(t *testing.T) {
			cause := causes[d.Code]
			if cause == nil {
				t.Fatal("no test brings it about")
			}
			f := healthy()
			cause(&f)
			found := Find(f)
			if len(found) != 1 || found[0].Code != d.Code || found[0].Text == "" {
				t.Fatalf("found %+v", found)
			}
			d := found[0].Definition
			var tr Tracker
			now := begin
			check := func(at time.Time, found []Warning, shown int, want ...bool) {
				t.Helper()
				s, changes := tr.Update(at, found)
				if len(s) != shown {
					t.Errorf("%v: %d are shown, not %d", at.Sub(begin), len(s), shown)
				}
				var got []bool
				for _, c := range changes {
					got = append(got, c.Over)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%v: told %v, not %v", at.Sub(begin), got, want)
				}
			}
			if d.Delay > 0 {
				check(now, found, 0)
				check(now.Add(d.Delay-1), found, 0)
			}
			if d.Tell > 0 {
				check(now, found, bool2int(d.Delay == 0))
				check(now.Add(d.Tell-1), found, bool2int(d.Tell-1 >= d.Delay))
			}
			now = now.Add(d.Tell)
			check(now, found, 1, false)
			check(now.Add(time.Hour), found, 1)
			now = now.Add(2 * time.Hour)
			check(now, nil, 0)
			check(now.Add(d.Hold-1), nil, 0)
			check(now.Add(d.Hold), nil, 0, true)
			if len(tr.all) != 0 {
				t.Errorf("left: %+v", tr.all)
			}
		})
	}
}

func bool2int(b bool) int {
	if b {
		return 1
	}
	return 0
}

// The table is whole: codes, causes and the sections of the documentation are the same ones, and what a definition names is there.
func TestTableAndPages(t *testing.T) {
	doc, err := os.ReadFile("../../docs/health.md")
	if err != nil {
		t.Fatal(err)
	}
	var pages, codes, tested []string
	for _, m := range regexp.MustCompile(`(?m)^## ([a-z_]+)$`).FindAllStringSubmatch(string(doc), -1) {
		pages = append(pages, m[1])
	}
	for _, d := range Definitions() {
		codes = append(codes, string(d.Code))
		if d.Title == "" || d.Todo == "" || !slices.Contains(severities, d.Severity) || d.Hold == 0 {
			t.Errorf("%s: %+v", d.Code, d)
		}
		if d.Unhealthy && d.Delay > 0 {
			t.Errorf("%s: what makes a pod unhealthy must be shown at once", d.Code)
		}
		for _, c := range d.DependsOn {
			if define(c).Title == "" {
				t.Errorf("%s depends on %s, which is not in the table", d.Code, c)
			}
			if slices.Contains(define(c).DependsOn, d.Code) {
				t.Errorf("%s and %s explain each other", d.Code, c)
			}
		}
		for _, word := range []string{d.Title, d.Todo} {
			if _, section, ok := strings.Cut(string(doc), "\n## "+string(d.Code)+"\n"); ok {
				section, _, _ = strings.Cut(section, "\n## ")
				if !strings.Contains(section, word) {
					t.Errorf("docs/health.md, %s: it lacks %q", d.Code, word)
				}
			}
		}
	}
	for c := range causes {
		tested = append(tested, string(c))
	}
	slices.Sort(tested)
	if d := cmp.Diff(codes, pages); d != "" {
		t.Errorf("sections of docs/health.md: %s", d)
	}
	slices.Sort(codes)
	if d := cmp.Diff(codes, tested); d != "" {
		t.Errorf("codes that tests bring about: %s", d)
	}
}

// A pod that is lost at night, with all that comes of it, is told once; when it is back and all is whole, that is told once.
func TestNight(t *testing.T) {
	var tr Tracker
	var told []string
	at := func(minute float64, f func(*Facts)) {
		facts := healthy()
		f(&facts)
		_, changes := tr.Update(begin.Add(time.Duration(minute*float64(time.Minute))), Find(facts))
		for _, c := range changes {
			word := string(c.Code)
			if c.Over {
				word += " over"
			}
			told = append(told, word)
		}
	}
	well := func(*Facts) {}
	silent := func(f *Facts) { f.Pods[1].State = "suspect" }
	lost := func(f *Facts) {
		f.Pods[1].State, f.Pods[1].Untold = "down", 3
		f.UnsafeBytes, f.UnavailableBytes, f.DegradedBytes, f.SpreadingBytes = 1, 2, 3, 4
	}
	behind := func(f *Facts) { f.UnsafeBytes, f.SpreadingBytes = 1, 4 }
	at(0, well)
	at(1, silent)
	for m := 1.5; m < 300; m += 0.25 {
		at(m, lost)
	}
	// It comes and goes while it starts.
	for m := 300.0; m < 303; m += 0.5 {
		at(m, behind)
		at(m+0.25, lost)
	}
	for m := 303.0; m < 310; m += 0.25 {
		at(m, behind)
	}
	for m := 310.0; m < 400; m++ {
		at(m, well)
	}
	if want := []string{"pod_down", "pod_down over"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// Whatever comes and goes: begins and ends alternate, what is over is forgotten, and what is shown holds.
func TestTrackerRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var tr Tracker
	now, on := begin, map[identity]bool{}
	update := func(f Facts) {
		now = now.Add(time.Duration(rnd.Int64N(int64(3 * time.Minute))))
		found := Find(f)
		shown, changes := tr.Update(now, found)
		for _, w := range shown {
			if !slices.ContainsFunc(found, func(o Warning) bool { return o.Code == w.Code && o.Subject == w.Subject }) {
				t.Fatalf("%s is shown and does not hold", w.Code)
			}
		}
		for _, c := range changes {
			id := identity{c.Code, c.Subject}
			if on[id] == !c.Over {
				t.Fatalf("%s is told twice: over %v", c.Code, c.Over)
			}
			on[id] = !c.Over
		}
	}
	for range 5000 {
		f := healthy()
		for _, cause := range causes {
			if rnd.IntN(3) == 0 {
				cause(&f)
			}
		}
		update(f)
	}
	for range 100 {
		update(healthy())
	}
	for id, yes := range on {
		if yes {
			t.Errorf("%v is not over", id)
		}
	}
	if len(tr.all) != 0 || len(tr.Told()) != 0 {
		t.Errorf("left: %v", tr.all)
	}
}
