package pod

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// A rule that an admin sets on one pod is in force on all, and after a restart.
func TestRules(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "b")
	for key, want := range map[string]string{"policy": "replica:2", "durability": "local", "trash": "48h0m0s", "dormant": "720h0m0s"} {
		if got := b.Rules()[key]; got.Value != want || got.Set {
			t.Errorf("%s is %+v, not the default %s", key, got, want)
		}
	}
	for key, value := range map[string]string{"trash": "90m", "policy": "raid0", "dormant": "1h"} {
		if err := a.SetRule(t.Context(), key, value); err != nil {
			t.Fatalf("%s = %s: %v", key, value, err)
		}
	}
	set := time.Now()
	eventually(t, "rules of another pod", func() error {
		if b.trashAfter() != 90*time.Minute || b.dormantAfter() != time.Hour || b.reg.defaults().Policy != "raid0" {
			return fmt.Errorf("%+v", b.Rules())
		}
		return nil
	})
	if d := time.Since(set); d > time.Second {
		t.Errorf("they were in force after %s", d)
	}
	var told []string
	if err := b.Events(t.Context(), time.Time{}, false, func(ev Event) error {
		if ev.Kind == EventConfig {
			told = append(told, ev.Text)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(told)
	if want := []string{`network: dormant is "1h0m0s", was "720h0m0s"`, `network: policy is "raid0", was "replica:2"`, `network: trash is "1h30m0s", was "48h0m0s"`}; !slices.Equal(told, want) {
		t.Errorf("events %q", told)
	}
	if got := b.Rules()["trash"]; got != (Rule{"1h30m0s", true}) {
		t.Errorf("trash is %+v", got)
	}
	b.stop()
	b = openPod(t, b.dir)
	if got := b.trashAfter(); got != 90*time.Minute {
		t.Errorf("trash after a restart: %s", got)
	}

	for _, c := range []struct {
		key, value string
		want       error
	}{
		{"trahs", "1h", config.ErrNoKey},
		{"trash", "soon", config.ErrBad},
		{"trash", "-1h", config.ErrBad},
		{"trash", "2000000h", config.ErrBad},
		{"policy", "raid9", placement.ErrBadPolicy},
		{"durability", "what", placement.ErrBadPolicy},
	} {
		if err := a.SetRule(t.Context(), c.key, c.value); !errors.Is(err, c.want) {
			t.Errorf("%s = %s: %v", c.key, c.value, err)
		}
	}
	if err := b.SetRule(t.Context(), "trash", "1h"); !errors.Is(err, member.ErrDenied) {
		t.Errorf("a writer's pod sets a rule: %v", err)
	}
}

// A rule that an admin sets is in force on all of six pods within a second, by real connections, and so are those of paths; none restarts, and one that doesn't know a rule
// follows the others and says so.
func TestRulesOnManyPods(t *testing.T) {
	pods := somePods(t, 6, time.Hour)
	a := pods[0]
	dir := a.folder("/d")
	sameRoot(t, pods...)
	best := make(map[string]time.Duration) // of some rounds, since the machine may have other work
	inForce := func(what string, holds func(p *testPod) bool) {
		t.Helper()
		set := time.Now()
		eventually(t, what, func() error {
			for _, p := range pods {
				if !holds(p) {
					return errors.New("not on all")
				}
			}
			return nil
		})
		d := time.Since(set)
		t.Logf("%s: in force on %d pods after %s", what, len(pods), d)
		if old, ok := best[what]; !ok || d < old {
			best[what] = d
		}
	}
	for i, trash := range []time.Duration{time.Hour, 2 * time.Hour, 3 * time.Hour} {
		fatal(t, a.SetRule(t.Context(), "trash", trash.String()))
		inForce("trash", func(p *testPod) bool { return p.trashAfter() == trash })
		quota := fmt.Sprint(i + 1)
		fatal(t, pods[i].SetPathRules(t.Context(), dir, map[string]string{"quota": quota}))
		inForce("quota", func(p *testPod) bool {
			got, err := p.quotasAt(dir)
			return err == nil && len(got) == 1 && fmt.Sprint(got[0].limit) == quota
		})
	}
	for what, d := range best {
		if d > time.Second {
			t.Errorf("%s: in force after %s", what, d)
		}
	}
	by, err := readAuthority(a.dir, a.own)
	fatal(t, err)
	s := a.reg.defaults()
	s.Ext, s.Version = withField(s.Ext, 7777, []byte("later")), s.Version+1<<20
	s, err = s.Sign(by.chain, by.sign)
	fatal(t, err)
	fatal(t, a.learn(t.Context(), member.EncodeStatement(member.KindNetwork, s.Encode()), a.id))
	inForce("a rule that is not known", func(p *testPod) bool { return p.found(health.CodeUnknownRules) != "" })
	fatal(t, a.SetRule(t.Context(), "trash", "4h"))
	inForce("a rule beside it", func(p *testPod) bool { return p.trashAfter() == 4*time.Hour && p.found(health.CodeUnknownRules) != "" })
}

// Fields that can't be read, and those of later versions, change nothing and stay.
func TestRuleFields(t *testing.T) {
	long := []byte{0xff, 0, 0, 0, 0, 0, 0, 0}
	s := member.Settings{Ext: []member.Field{{ID: fieldTrash, Value: []byte("x")}, {ID: fieldDormant, Value: long}, {ID: 77, Value: []byte("later")}}}
	for _, f := range []uint32{fieldTrash, fieldDormant, 3} {
		if d, set := duration(s, f); set {
			t.Errorf("field %d is %s", f, d)
		}
	}
	ext := withField(s.Ext, fieldTrash, []byte("new"))
	ext = withField(ext, 5, []byte("five"))
	if len(ext) != 4 || string(ext[0].Value) != "new" || ext[2].ID != 5 || string(ext[3].Value) != "later" || string(s.Ext[0].Value) != "x" {
		t.Errorf("%+v, of %+v", ext, s.Ext)
	}
}

// A rule of a later version is kept and passed on by a pod that does not know it, which goes on with the others and says so, until the rule is gone.
func TestRuleOfALaterVersion(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "b")
	by, err := readAuthority(a.dir, a.own)
	if err != nil {
		t.Fatal(err)
	}
	set := func(ext []member.Field) {
		t.Helper()
		s := a.reg.defaults()
		s.Ext, s.Version = ext, s.Version+1<<20
		if s, err = s.Sign(by.chain, by.sign); err != nil {
			t.Fatal(err)
		}
		if err = a.learn(t.Context(), member.EncodeStatement(member.KindNetwork, s.Encode()), a.id); err != nil {
			t.Fatal(err)
		}
	}
	says := func(text string, want bool) {
		t.Helper()
		for _, p := range []*testPod{a, b} {
			eventually(t, "it says so, or no more", func() error {
				st, err := p.Status(t.Context())
				if err == nil && hasWarning(st, "unknown_rules", text) != want {
					err = fmt.Errorf("%+v", st.Warnings)
				}
				return err
			})
		}
	}
	const network = "1 rule of the network"
	set(withField(nil, 7777, []byte("later")))
	says(network, true)
	if err := a.SetRule(t.Context(), "trash", "2h"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a rule that is known", func() error {
		if got := b.trashAfter(); got != 2*time.Hour {
			return fmt.Errorf("trash is %s", got)
		}
		return nil
	})
	says(network, true)
	set(withField(nil, fieldTrash, nil))
	says(network, false)
	dir := a.folder("/d")
	sameRoot(t, a, b)
	for _, edit := range []struct{ later, now state.WishEdit }{
		{state.WishEdit{Rules: map[uint64]string{7777: "later"}}, state.WishEdit{Rules: map[uint64]string{7777: ""}}},
		{state.WishEdit{Rules: map[uint64]string{state.WishChunking: "later"}}, state.WishEdit{Rules: map[uint64]string{state.WishChunking: "fixed:1MiB"}}},
		{state.WishEdit{Policy: new("later")}, state.WishEdit{Policy: new("replica:2")}},
		{state.WishEdit{Durability: new("later")}, state.WishEdit{Durability: new("local")}},
	} {
		fatal(t, a.wish(t.Context(), dir, edit.later))
		says("1 rule of a path", true)
		fatal(t, a.wish(t.Context(), dir, edit.now))
		says("1 rule of a path", false)
	}
}

// Each documented rule has a value, each rule is documented, and package config knows where a rule belongs that stands in another file.
func TestRulesAreDocumented(t *testing.T) {
	var names []string
	rules := firstPod(t).Rules()
	for _, k := range RuleKeys().All {
		names = append(names, k.Name)
		if rule, ok := rules[k.Name]; !ok || rule.Set {
			t.Errorf("%s: %+v, %v", k.Name, rule, ok)
		} else if want := k.Default; rule.Value != want && k.Type != config.Duration {
			t.Errorf("%s is %q, its template says %q", k.Name, rule.Value, want)
		}
	}
	if len(rules) != len(names) {
		t.Errorf("%d rules, of which %d are documented", len(rules), len(names))
	}
	if d := cmp.Diff(names, config.NetworkNames()); d != "" {
		t.Error(d)
	}
}
