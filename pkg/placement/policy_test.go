package placement

import (
	"errors"
	"testing"
)

func TestPolicy(t *testing.T) {
	for s, row := range map[string]struct {
		resolved string // with 6 pods
		copies   int
	}{
		"none": {"none", 1}, "raid0": {"raid0", 1}, "raid1": {"replica:2", 2}, "raid5": {"rs:2+1", 2}, "raid6": {"rs:4+2", 3},
		"replica:1": {"replica:1", 1}, "replica:64": {"replica:64", 64}, "rs:10+4": {"rs:10+4", 5}, "rs:1+1": {"rs:1+1", 2},
	} {
		p, err := ParsePolicy(s)
		if err != nil || p.String() != s || p.Resolve(6).String() != row.resolved || p.Copies() != row.copies ||
			p.Resolve(6).Copies() != row.copies {
			t.Errorf("%s: %+v, %s, %d copies, %v", s, p, p.Resolve(6), p.Copies(), err)
		}
	}
	if got := (Policy{Kind: PolicyRaid5}).Resolve(7).String(); got != "rs:4+1" {
		t.Errorf("raid5 with 7 pods: %s", got)
	}
	if p := (Policy{}); p.String() != "" || p.Copies() != 0 || p.Resolve(3) != p {
		t.Errorf("zero policy: %q", p)
	}
}

// Only one spelling each: equal policies must be equal texts in rows and statements.
func TestBadPolicy(t *testing.T) {
	for _, s := range []string{
		"", "None", "raid2", "replica", "replica:", "replica:0", "replica:65", "replica:02", "replica:+2", "replica:-1", "replica:2 ",
		"replica:99999999999999999999", "rs:", "rs:2", "rs:2+", "rs:+1", "rs:0+1", "rs:1+0", "rs:60+5", "rs:2+1+1", "rs:02+1", "replica:2\n",
	} {
		if p, err := ParsePolicy(s); !errors.Is(err, ErrBadPolicy) || p != (Policy{}) {
			t.Errorf("%q: %+v, %v", s, p, err)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	for _, s := range []string{"replica:2", "rs:4+2", "raid5", "none"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePolicy(s)
		if err == nil && p.String() != s {
			t.Errorf("%q is read as %q", s, p)
		}
	})
}
