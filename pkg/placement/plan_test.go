package placement

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

func policyOf(t testing.TB, s string) Policy {
	t.Helper()
	p, err := ParsePolicy(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// upPods is n pods in one zone each, all up.
func upPods(n int) ([]ident.Pod, *Network) {
	entries := make([]Entry, n)
	up := make(map[ident.Pod]Condition)
	for i := range entries {
		entries[i] = Entry{Pod: ident.Pod{byte(i + 1)}, Weight: WeightDefault}
		up[entries[i].Pod] = Up
	}
	l := NewLayout(entries)
	return l.Walk(7), NewNetwork(l, up)
}

const large = 1 << 20

// TestWant breaks if a chunk that files of several policies name is kept as the weakest of them wants it, or differently
// on two pods.
func TestWant(t *testing.T) {
	r := randomly(t)
	for _, c := range []struct {
		in   []string
		want string
	}{
		{nil, ""},
		{[]string{"none", "raid0"}, "raid0"},
		{[]string{"replica:2", "none"}, "replica:2"},
		{[]string{"replica:3", "rs:4+2", "rs:10+1"}, "rs:4+2"},
		{[]string{"rs:4+2", "rs:10+2"}, "rs:10+2"},
		{[]string{"rs:1+1", "replica:2"}, "replica:2"},
		{[]string{"rs:2+1", "rs:4+2", "replica:2", "rs:4+1"}, "rs:4+2"},
		{[]string{"replica:1", "none"}, "replica:1"},
	} {
		for range 10 {
			var in []Policy
			for _, s := range c.in {
				in = append(in, policyOf(t, s))
			}
			in = append(in, Policy{})
			r.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
			if got := Want(in...).String(); got != c.want {
				t.Errorf("%v: %s, want %s", c.in, got, c.want)
			}
		}
	}
}

// TestPlan shows what is planned in cases by hand, each with the rule that it stands for.
func TestPlan(t *testing.T) {
	pods, n := upPods(7)
	a, b, c := pods[0], pods[1], pods[2]
	s := Stripe{Form: FormDigest{1}, K: 2, M: 1}
	other := Stripe{Form: FormDigest{2}, K: 2, M: 1}
	whole := func(p ident.Pod) Holder { return Holder{Pod: p, Whole: true, Form: FormDigest{1}} }
	frag := func(p ident.Pod, s Stripe, i ...uint8) Holder {
		h := Holder{Pod: p}
		for _, i := range i {
			h.Fragments = append(h.Fragments, Fragment{s, i})
		}
		return h
	}
	drained := func(p ident.Pod) *Network {
		entries := n.Layout().Entries()
		for i := range entries {
			entries[i].Drain = entries[i].Pod == p
		}
		return NewNetwork(NewLayout(entries), n.pods)
	}
	down := func(condition Condition, gone ...ident.Pod) *Network {
		m := make(map[ident.Pod]Condition)
		for p, c := range n.pods {
			if m[p] = c; slices.Contains(gone, p) {
				m[p] = condition
			}
		}
		return NewNetwork(n.Layout(), m)
	}
	for _, row := range []struct {
		name    string
		n       *Network
		c       Chunk
		policy  string
		safety  string
		actions []Action
	}{
		{
			"a new file", n,
			Chunk{Holders: []Holder{whole(pods[6])}, Self: pods[6]},
			"replica:2", "local",
			[]Action{{Kind: CopyWhole, From: pods[6], To: a}, {Kind: CopyWhole, From: pods[6], To: b}},
		},
		{
			"its author's copy is surplus", n,
			Chunk{Holders: []Holder{whole(pods[6]), whole(a), whole(b)}},
			"replica:2", "safe",
			[]Action{{Kind: Release, To: pods[6]}},
		},
		{"but stays where it has a pin", n, Chunk{Holders: []Holder{whole(pods[6]), whole(a), whole(b)}, Keep: []ident.Pod{pods[6]}}, "replica:2", "safe", nil},
		{
			"a pin is not counted", n,
			Chunk{Holders: []Holder{whole(pods[6]), whole(a)}, Keep: []ident.Pod{pods[6]}},
			"replica:2", "spreading 1/2",
			[]Action{{Kind: CopyWhole, From: a, To: b}},
		},
		{
			"a cached copy counts for nothing", n,
			Chunk{Holders: []Holder{whole(a), {Pod: b, Cached: true}}},
			"replica:2", "spreading 1/2",
			[]Action{{Kind: CopyWhole, From: b, To: b}},
		},
		{
			"one of two down", down(Down, b),
			Chunk{Holders: []Holder{whole(a)}},
			"replica:2", "spreading 1/2",
			[]Action{{Kind: CopyWhole, From: a, To: c}},
		},
		{"one of three down", down(Down, b), Chunk{Holders: []Holder{whole(a), whole(c)}}, "replica:3", "degraded 2/3", nil},
		{
			"for long", down(DownLong, b),
			Chunk{Holders: []Holder{whole(a), whole(c)}},
			"replica:3", "spreading 2/3",
			[]Action{{Kind: CopyWhole, From: a, To: pods[3]}},
		},
		{"seen by a minority", down(Down, pods[1:5]...), Chunk{Holders: []Holder{whole(a)}}, "replica:2", "degraded 1/2", nil},
		{
			"nothing is released while one is down", down(Down, b),
			Chunk{Holders: []Holder{whole(pods[6]), whole(a)}},
			"replica:2", "safe",
			[]Action{},
		},
		{"cut", n, Chunk{Holders: []Holder{whole(pods[6])}}, "rs:2+1", "spreading 1/2", []Action{
			{Kind: Encode, From: pods[6], Stripe: s, Targets: []Target{{a, 0}, {b, 1}, {c, 2}}},
		}},
		{
			"small is not cut", n,
			Chunk{FormBytes: block.FragmentedMin - 1, Holders: []Holder{whole(a)}},
			"rs:2+1", "spreading 1/2",
			[]Action{{Kind: CopyWhole, From: a, To: b}},
		},
		{
			"the whole copy goes when all fragments are there", n,
			Chunk{Holders: []Holder{whole(pods[6]), frag(a, s, 0), frag(b, s, 1), frag(c, s, 2)}},
			"rs:2+1", "safe",
			[]Action{{Kind: Release, To: pods[6]}},
		},
		{
			"two on one pod count once", n,
			Chunk{Holders: []Holder{frag(a, s, 0, 1), frag(b, s, 2)}},
			"rs:2+1", "spreading 2/3",
			[]Action{{Kind: CopyFragment, From: a, To: c, Stripe: s, Index: 1}},
		},
		{
			"one on two pods counts once", n,
			Chunk{Holders: []Holder{frag(a, s, 0), frag(b, s, 0), frag(c, s, 2)}},
			"rs:2+1", "spreading 2/3",
			[]Action{{Kind: Rebuild, To: a, Stripe: s, Index: 1}},
		},
		{"positions are hints", n, Chunk{Holders: []Holder{frag(a, s, 2), frag(b, s, 0), frag(c, s, 1)}}, "rs:2+1", "safe", nil},
		{
			"forms don't count together", n,
			Chunk{Holders: []Holder{frag(a, s, 0), frag(b, other, 1), frag(c, s, 2)}},
			"rs:2+1", "spreading 2/3",
			[]Action{{Kind: Rebuild, To: b, Stripe: s, Index: 1}},
		},
		{"a pod that is down keeps its fragment", down(Down, c), Chunk{Holders: []Holder{
			frag(a, Stripe{K: 1, M: 2, Form: s.Form}, 0),
			frag(b, Stripe{K: 1, M: 2, Form: s.Form}, 1),
		}}, "rs:1+2", "degraded 2/3", nil},
		{
			"unless nothing is to spare", down(Down, c),
			Chunk{Holders: []Holder{frag(a, s, 0), frag(b, s, 1)}},
			"rs:2+1", "spreading 2/3",
			[]Action{{Kind: Rebuild, To: pods[3], Stripe: s, Index: 2}},
		},
		{
			"fragments stay fragments however few pods are up", down(Down, pods[2:]...),
			Chunk{Holders: []Holder{frag(a, s, 0), frag(b, s, 1)}},
			"rs:2+1",
			"degraded 2/3", nil,
		},
		{"too few are there", down(Down, b, c), Chunk{Holders: []Holder{frag(a, s, 0)}}, "rs:2+1", "unavailable", nil},
		{
			"to copies", n,
			Chunk{Holders: []Holder{frag(a, s, 0), frag(b, s, 1), frag(c, s, 2)}},
			"replica:2", "safe",
			[]Action{{Kind: JoinWhole, To: a, Stripe: s}, {Kind: JoinWhole, To: b, Stripe: s}},
		},
		{
			"the old form goes last", n,
			Chunk{Holders: []Holder{frag(a, s, 0), whole(b), frag(c, s, 2)}},
			"replica:2", "spreading 1/2",
			[]Action{{Kind: CopyWhole, From: b, To: a}},
		},
		{
			"a drain moves", drained(b),
			Chunk{Holders: []Holder{whole(a), whole(b)}},
			"replica:2", "safe",
			[]Action{{Kind: CopyWhole, From: a, To: c}},
		},
		{"and then lets go", drained(b), Chunk{Holders: []Holder{whole(a), whole(b), whole(c)}}, "replica:2", "safe", []Action{{Kind: Release, To: b}}},
		{"one copy stays at its author", n, Chunk{Author: pods[5], Holders: []Holder{whole(pods[5])}}, "none", "safe", nil},
		{
			"until a drain", drained(pods[5]),
			Chunk{Author: pods[5], Holders: []Holder{whole(pods[5])}},
			"none", "safe",
			[]Action{{Kind: CopyWhole, From: pods[5], To: a}},
		},
		{
			"an incomplete form goes after the complete one", n,
			Chunk{Holders: []Holder{frag(a, s, 0), {Pod: b, Fragments: []Fragment{{s, 1}, {other, 0}}}, frag(c, s, 2)}},
			"rs:2+1", "safe",
			[]Action{{Kind: Release, To: b, Stripe: other}},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.c.Group, row.c.Want, row.c.Lower = 7, policyOf(t, row.policy), true
			if row.c.FormBytes == 0 {
				row.c.FormBytes = large
			}
			rand.Shuffle(len(row.c.Holders), func(i, j int) { row.c.Holders[i], row.c.Holders[j] = row.c.Holders[j], row.c.Holders[i] })
			got := row.n.Plan(row.c)
			if got.Safety.String() != row.safety {
				t.Errorf("%s, want %s", got.Safety, row.safety)
			}
			if len(got.Actions)+len(row.actions) > 0 && !cmp.Equal(got.Actions, row.actions) {
				t.Error(cmp.Diff(row.actions, got.Actions))
			}
		})
	}
}

// TestOneSource breaks if pods that have the same each plan to send it, unless they say that they mean to.
func TestOneSource(t *testing.T) {
	pods, n := upPods(4)
	c := Chunk{Group: 7, Want: policyOf(t, "replica:3"), FormBytes: large, Holders: []Holder{{Pod: pods[0], Whole: true}, {Pod: pods[1], Whole: true}}}
	for i, self := range pods[:2] {
		c.Self, c.Sends = self, false
		if got := n.Plan(c).Actions[0].From; got != pods[0] {
			t.Errorf("as planned by %d, %s sends", i, got)
		}
		c.Sends = true
		if got := n.Plan(c).Actions[0].From; got != self {
			t.Errorf("%d does not send what it means to", i)
		}
	}
}

// TestCutOffInBetween breaks if a pod that is cut off with one of five makes again what others hold while it has found only the first of them down, and the others are silent, too.
func TestCutOffInBetween(t *testing.T) {
	pods, n := upPods(5)
	c := Chunk{Group: 7, Want: policyOf(t, "replica:2"), FormBytes: large, Holders: []Holder{{Pod: pods[1], Whole: true}}}
	for name, row := range map[string]struct {
		others Condition
		adds   bool
	}{"one is down": {Up, true}, "and the others are silent": {Suspect, false}} {
		seen := map[ident.Pod]Condition{pods[0]: Down, pods[1]: Up, pods[2]: row.others, pods[3]: row.others, pods[4]: Up}
		if got := NewNetwork(n.Layout(), seen).Plan(c).Actions; len(got) > 0 != row.adds {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestLowerWaits breaks if what a higher policy asked for goes at once when it is lowered.
func TestLowerWaits(t *testing.T) {
	pods, n := upPods(4)
	c := Chunk{Group: 7, FormBytes: large, Want: policyOf(t, "replica:1")}
	for _, p := range pods {
		c.Holders = append(c.Holders, Holder{Pod: p, Whole: true})
	}
	if got := n.Plan(c); len(got.Actions) != 0 || got.Safety.State != StateSafe {
		t.Errorf("%+v", got)
	}
	c.Lower = true
	if got := n.Plan(c); len(got.Actions) != len(pods)-1 {
		t.Errorf("%+v", got)
	}
}

// TestBackHolds breaks if what was made in place of a pod that comes and goes is given up each time that it comes, or if that keeps a pod from being emptied.
func TestBackHolds(t *testing.T) {
	for _, policy := range []string{"replica:2", "rs:2+1"} {
		want := policyOf(t, policy)
		pods, up := upPods(5)
		c := Chunk{Group: 7, FormBytes: large, Want: want, Lower: true}
		s := Stripe{Form: FormDigest{1}, K: 2, M: 1}
		for i, p := range pods[:want.pods()] { // its set
			if h := (Holder{Pod: p, Whole: true}); want.Kind != PolicyRS {
				c.Holders = append(c.Holders, h)
			} else {
				c.Holders = append(c.Holders, Holder{Pod: p, Fragments: []Fragment{{s, uint8(i)}}})
			}
		}
		stand := c.Holders[0] // what was made in place of the first
		stand.Pod = pods[want.pods()]
		c.Holders = append(c.Holders, stand)
		seen := func(pod ident.Pod, condition Condition, drained ident.Pod) *Network {
			conditions := maps.Clone(up.pods)
			conditions[pod] = condition
			entries := up.Layout().Entries()
			for i := range entries {
				entries[i].Drain = entries[i].Pod == drained
			}
			return NewNetwork(NewLayout(entries), conditions)
		}
		for _, row := range []struct {
			name string
			n    *Network
			want int
		}{
			{"the first is back", seen(pods[0], Back, ident.Pod{}), 0},
			{"it is as the others", seen(pods[0], Up, ident.Pod{}), 1},
			{"one that has no part in it is back", seen(pods[4], Back, ident.Pod{}), 1},
			{"who has it is emptied", seen(pods[0], Back, stand.Pod), 1},
		} {
			if got := row.n.Plan(c); len(got.Actions) != row.want || got.Safety.State != StateSafe || !row.n.Up(pods[0]) {
				t.Errorf("%s: %s: %+v", policy, row.name, got)
			}
		}
	}
}

// TestWhatFits breaks if too few pods for a stripe keep a file from being placed at all, or it is not completed when there
// are more (I8).
func TestWhatFits(t *testing.T) {
	for _, c := range []struct {
		pods, layout int // up, and all
		kind         ActionKind
		targets      int
		safety       string
	}{
		{6, 6, Encode, 6, "spreading 1/3"},
		{5, 5, Encode, 5, "spreading 1/3"},
		{5, 6, Encode, 5, "spreading 1/3"},
		{4, 4, CopyWhole, 2, "spreading 1/3"},
		{4, 6, CopyWhole, 2, "spreading 1/3"},
		{2, 2, CopyWhole, 1, "spreading 1/3"},
		{1, 1, 0, 0, "degraded 1/3"},
	} {
		pods, n := upPods(c.layout)
		up := make(map[ident.Pod]Condition)
		for _, p := range pods[:c.pods] {
			up[p] = Up
		}
		n = NewNetwork(n.Layout(), up)
		got := n.Plan(Chunk{Group: 7, FormBytes: large, Want: policyOf(t, "rs:4+2"), New: true, Lower: true, Holders: []Holder{{Pod: pods[0], Whole: true}}})
		targets := 0
		for _, a := range got.Actions {
			if a.Kind != c.kind {
				t.Errorf("%+v: %+v", c, a)
			}
			targets += max(1, len(a.Targets))
		}
		if targets != c.targets || got.Safety.String() != c.safety {
			t.Errorf("%+v: %d targets, %s", c, targets, got.Safety)
		}
	}
}

// TestMovement breaks if a pod that comes or goes moves more than 1.05 of what must move: its share of all fragments.
func TestMovement(t *testing.T) {
	seeds := 100
	if testing.Short() {
		seeds = 20
	}
	r := randomly(t)
	var moved, needed int
	for range seeds {
		entries := randomEntries(r, 7+r.IntN(10), r.IntN(4))
		with, without := NewLayout(entries), NewLayout(entries[1:])
		const n = 6
		for g := Group(0); g < Groups; g += 32 {
			large, small := with.Set(g, n), without.Set(g, n)
			if slices.Contains(large, entries[0].Pod) {
				needed += 2 // once when it comes, once when it goes
			}
			moved += lacking(small, large) + lacking(large, small)
		}
	}
	if got := float64(moved) / float64(needed); got > 1.05 || got < 1 {
		t.Errorf("%.3f of what is necessary is moved", got)
	}
}

// lacking is how many of b are not in a.
func lacking(a, b []ident.Pod) (n int) {
	for _, p := range b {
		if !slices.Contains(a, p) {
			n++
		}
	}
	return n
}

// TestBalance breaks if a pod holds more than 15 % more or less than its weight says, in networks where no pod is entitled to
// more than one of each chunk.
func TestBalance(t *testing.T) {
	r := randomly(t)
	for round := range 10 {
		entries := randomEntries(r, 6, 0)
		for i := range entries {
			entries[i].Weight = []uint32{100, 100, 120, 80, 100, 100}[i]
		}
		l := NewLayout(entries)
		held := make(map[ident.Pod]int)
		for g := range Group(Groups) {
			held[l.Set(g, 1)[0]]++
		}
		for _, e := range entries {
			want := float64(Groups) * float64(e.Weight) / 600
			if got := float64(held[e.Pod]); got < 0.85*want || got > 1.15*want {
				t.Errorf("round %d: weight %d holds %.0f groups, want %.0f", round, e.Weight, got, want)
			}
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	pods, n := upPods(7)
	for _, p := range []string{"replica:2", "rs:4+2"} {
		c := Chunk{Group: 7, FormBytes: large, Want: policyOf(b, p), Lower: true}
		for i, pod := range pods[:6] {
			h := Holder{Pod: pod, Whole: p == "replica:2" && i < 2}
			if p != "replica:2" {
				h.Fragments = []Fragment{{Stripe{FormDigest{1}, 4, 2}, uint8(i)}}
			}
			c.Holders = append(c.Holders, h)
		}
		b.Run(fmt.Sprint("policy=", p), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := n.Plan(c); !got.Done() {
					b.Fatalf("%+v", got)
				}
			}
		})
	}
}
