package pod

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// withLife is a network's first pod, that gives certificates for a day.
func withLife(t *testing.T) *testPod {
	t.Helper()
	first := firstPod(t)
	if err := first.SetRule(quickly(t), "certificate_life", day.String()); err != nil {
		t.Fatal(err)
	}
	return first
}

// startLater stops pods, and starts them with a clock that is ahead.
func startLater(t *testing.T, ahead time.Duration, pods ...*testPod) []*testPod {
	t.Helper()
	var out []*testPod
	for _, p := range pods {
		p.stop()
	}
	for _, p := range pods {
		out = append(out, runPod(t, Options{Dir: p.dir, Listen: []string{"127.0.0.1:0"}, Clock: &turnedClock{ahead: ahead}}))
	}
	introduce(out...)
	return out
}

// introduce tells pods where the others are.
func introduce(pods ...*testPod) {
	for _, p := range pods {
		for _, other := range pods {
			if p != other {
				p.net.Know(other.id, other.net.Addrs())
			}
		}
	}
}

// left is how long a pod's certificate holds on, as another knows it.
func left(by *testPod, key ident.Pod) time.Duration {
	return endTime(by.reg.chainOf(key)).Sub(by.clock.Now())
}

func (p *testPod) warning(code health.Code) string {
	p.t.Helper()
	st, err := p.Status(quickly(p.t))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, w := range st.Warnings {
		if w.Code == code {
			return w.Text
		}
	}
	return ""
}

// refusals are the texts of the events about who was refused.
func (p *testPod) refusedTexts() (out []string) {
	p.t.Helper()
	if err := p.Events(quickly(p.t), time.Time{}, false, func(e Event) error {
		if e.Kind == EventRefused {
			out = append(out, e.Text)
		}
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return out
}

func connected(a, b *testPod) func() error {
	return func() error {
		if !a.net.Connected(b.id) || !b.net.Connected(a.id) {
			return errors.New("they are not connected")
		}
		return nil
	}
}

// Certificates that end are renewed before, while their pods are connected, with no break: of a pod, of a user with all pods of theirs, and of what another
// admin's pod admitted. What was replaced is not kept.
func TestRenewedWithoutBreak(t *testing.T) {
	first := withLife(t)
	second := joinPod(t, first, "second")
	key := userKey(9)
	if err := first.AddUser(quickly(t), public(key), "ann", "writer"); err != nil {
		t.Fatal(err)
	}
	laptop := joinAsUser(t, key, first, "laptop")
	for name, key := range map[string]ident.Pod{"second": second.id, "ann": ident.PodOf(public(key)), "laptop": laptop.id} {
		if l := left(first, key); l <= day-time.Hour || l > day {
			t.Errorf("%s holds for %s", name, l)
		}
	}
	if len(laptop.ownChain()) != 3 || laptop.own.chain.Leaf().NotAfter != 0 {
		t.Errorf("a user's pod has an end of its own: %+v", laptop.own.chain.Leaf())
	}
	for _, now := range []time.Duration{17 * time.Hour, 34 * time.Hour, 51 * time.Hour} {
		pods := startLater(t, now, first, second, laptop)
		first, second, laptop = pods[0], pods[1], pods[2]
		for _, p := range pods {
			for _, other := range []*testPod{second, laptop} {
				eventually(t, fmt.Sprintf("%s knows the new certificate of %s", p.Info().Name, other.Info().Name), func() error {
					if l := left(p, other.id); l <= day-time.Hour {
						return fmt.Errorf("it holds for %s", l)
					}
					return nil
				})
			}
			if len(p.refusedTexts()) > 0 {
				t.Errorf("somebody was refused: %v", p.refusedTexts())
			}
			if w := p.warning(health.CodeMembershipEnds) + p.warning(health.CodeMembershipEnded) + p.warning(health.CodePodExpired); w != "" {
				t.Errorf("%s warns: %s", p.Info().Name, w)
			}
		}
		if got := usersIn(laptop.ownChain()); len(got) != 1 || got[0] != ident.PodOf(public(key)) {
			t.Errorf("the user went from the chain of the pod: %v", got)
		}
	}
	laptop.write("/f", "x")
	second.reads("/f", "x")
	for _, p := range []*testPod{first, second, laptop} {
		p.stop()
		p = runPod(t, Options{Dir: p.dir, Listen: []string{"127.0.0.1:0"}, Clock: &turnedClock{ahead: 51 * time.Hour}})
		chains := 0
		all, err := p.db.Statements()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if kind, _, _ := member.DecodeStatement(s); kind == member.KindChain {
				chains++
			}
		}
		if chains > 5 { // of three pods and a user, and one that can't be replaced: the pod's with the user's first certificate
			t.Errorf("%s keeps %d certificates", p.Info().Name, chains)
		}
	}
}

// What a user's certificate gained, the pods of the user gained, in whatever order it is heard; a chain that lacks the user, has another role or is older takes nobody's place.
func TestRenewalInAnyOrder(t *testing.T) {
	first := withLife(t)
	key := userKey(9)
	if err := first.AddUser(quickly(t), public(key), "ann", "writer"); err != nil {
		t.Fatal(err)
	}
	laptop := joinAsUser(t, key, first, "laptop")
	by, err := first.authority()
	if err != nil {
		t.Fatal(err)
	}
	issue := func(change func(*member.Cert), of member.Chain) member.Chain {
		t.Helper()
		cert := of.Leaf()
		cert.SSH = false
		change(&cert)
		c, err := member.Issue(by.key, by.chain, cert)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	user, old := first.reg.chainOf(ident.PodOf(public(key))), laptop.own.chain
	end := user.Leaf().NotAfter
	longer := issue(func(c *member.Cert) { c.NotAfter = end + 1000 }, user)
	longest := issue(func(c *member.Cert) { c.NotAfter = end + 2000 }, user)
	statements := []member.Chain{user, old, longer, longest}
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 1, 0, 3}} {
		r := newRegistry(first.reg.network)
		for _, i := range order {
			if _, err := r.addChain(statements[i].Encode()); err != nil {
				t.Fatal(err)
			}
			r.lengthen()
		}
		if got := chainEnd(r.chain(laptop.id)); got != end+2000 {
			t.Errorf("%v: the pod's chain ends at %d, want %d", order, got, end+2000)
		}
	}
	second := joinPod(t, first, "second")
	known := first.reg.chain(second.id)
	for name, c := range map[string]member.Chain{
		"without the user": issue(func(c *member.Cert) { c.NotAfter = 0 }, old),
		"another role":     issue(func(c *member.Cert) { c.NotAfter, c.Role = 0, member.RoleReader }, known),
		"another name":     issue(func(c *member.Cert) { c.NotAfter, c.Name = 0, "boss" }, known),
		"an earlier end":   issue(func(c *member.Cert) { c.NotAfter-- }, known),
	} {
		before := first.reg.chain(c.Leaf().Pod())
		if _, err := first.reg.addChain(c.Encode()); err != nil {
			t.Fatal(err)
		}
		if chainEnd(first.reg.chain(c.Leaf().Pod())) != chainEnd(before) || first.reg.chain(c.Leaf().Pod()).Leaf().Name != before.Leaf().Name {
			t.Errorf("%s: it took the place of the other", name)
		}
	}
	if got := first.reg.longest(second.id, issue(func(c *member.Cert) { c.NotAfter = 1000 }, known)); chainEnd(got) != chainEnd(known) {
		t.Error("an old chain that is shown counts more than the one that is known")
	}
}

// A pod whose certificate has ended is refused with the reason, at both ends people see it, and an admin lets it in again; who was revoked is not renewed.
func TestExpiredIsRefused(t *testing.T) {
	first := withLife(t)
	second := joinPod(t, first, "second")
	third := joinPod(t, first, "third")
	if err := first.Revoke(quickly(t), "third"); err != nil {
		t.Fatal(err)
	}
	third.stop()
	other := joinAs(t, first, "other", "admin")
	eventually(t, "they know each other", func() error { _, err := other.podNamed("second"); return err })
	other.stop()
	other = runPod(t, Options{Dir: other.dir, Offline: true, Clock: &turnedClock{ahead: time.Hour}})
	pods := startLater(t, 25*time.Hour, first, second)
	first, second = pods[0], pods[1]
	eventually(t, "second is refused", func() error {
		for _, text := range first.refusedTexts() {
			if strings.Contains(text, "expired") && strings.Contains(text, "and here it is") {
				return nil
			}
		}
		return errors.New("no event says so")
	})
	if first.net.Connected(second.id) {
		t.Error("it is connected")
	}
	if w := first.warning(health.CodePodExpired); !strings.Contains(w, "second") {
		t.Errorf("the pod that refuses says %q", w)
	}
	if w := second.warning(health.CodeMembershipEnded); w == "" {
		t.Error("the pod that is refused does not say so")
	}
	if err := second.Renew(quickly(t), "second"); !errors.Is(err, member.ErrDenied) {
		t.Errorf("it renews itself: %v", err)
	}
	if err := first.Renew(quickly(t), "third"); !errors.Is(err, member.ErrDenied) {
		t.Errorf("a revoked pod is renewed: %v", err)
	}
	if err := first.Renew(quickly(t), "nobody"); !errors.Is(err, ErrNoSuchPod) {
		t.Errorf("nobody is renewed: %v", err)
	}
	if err := other.Renew(quickly(t), "second"); !errors.Is(err, member.ErrDenied) {
		t.Errorf("another admin's pod, that does not give this number, renews it: %v", err)
	}
	if err := first.Renew(quickly(t), "second"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "second is let in again", connected(first, second))
	eventually(t, "second has its new certificate", func() error {
		if second.warning(health.CodeMembershipEnded) != "" {
			return errors.New("it warns")
		}
		return nil
	})
	if w := first.warning(health.CodePodExpired); w != "" {
		t.Errorf("still: %s", w)
	}
	if err := first.SetRule(quickly(t), "certificate_life", "never"); err != nil {
		t.Fatal(err)
	}
	if err := first.renewAll(quickly(t)); err != nil {
		t.Fatal(err)
	}
	if end := endTime(first.reg.chain(second.id)); !end.IsZero() {
		t.Errorf("with certificates that never end it ends at %s", end)
	}
}

// Pods that are connected when their certificates end, with no admin's pod there, are disconnected.
func TestExpiredWhileConnected(t *testing.T) {
	first := withLife(t)
	second, third := joinPod(t, first, "second"), joinPod(t, first, "third")
	first.stop()
	pods := startLater(t, 23*time.Hour, second, third)
	second, third = pods[0], pods[1]
	eventually(t, "they meet", connected(second, third))
	if w := second.warning(health.CodeMembershipEnds); w == "" {
		t.Error("nothing warns of the end that is near")
	}
	for _, p := range pods { // of one alone that runs ahead it would know by the other, as soon as they compare, and shut nobody out
		p.clock.(*turnedClock).turn(2 * time.Hour)
	}
	eventually(t, "third is shut out", func() error {
		second.lookAtRenewals() // it looked when the clock was turned, unless it was just about to wait
		if second.net.Connected(third.id) || len(second.refusedTexts()) == 0 {
			return errors.New("it is not")
		}
		return nil
	})
}

// A connection outlives nobody's certificate: one that has ended is closed at the next look, and no other.
func TestPartExpired(t *testing.T) {
	first := firstPod(t)
	second, third := joinPod(t, first, "second"), joinPod(t, first, "third")
	for _, p := range []*testPod{second, third} {
		eventually(t, "they meet", connected(first, p))
	}
	by, err := first.authority()
	if err != nil {
		t.Fatal(err)
	}
	ended := second.own.chain.Leaf()
	ended.NotAfter = first.clock.Now().Add(-time.Second).Unix()
	chain, err := member.Issue(by.key, by.chain, ended)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is shut out", func() error { // on a loaded machine it may be between two connections just now
		first.reg.mu.Lock()
		first.reg.chains[second.id] = chain
		first.reg.mu.Unlock()
		first.partExpired(quickly(t))
		if len(first.refusedTexts()) == 0 {
			return errors.New("nobody is refused")
		}
		return nil
	})
	if got := first.refusedTexts(); len(got) != 1 || !strings.Contains(got[0], "a pod was disconnected") || !strings.Contains(got[0], "second") {
		t.Errorf("refused: %q", got)
	}
	eventually(t, "it is let in by the certificate that it shows", connected(first, second))
	if !first.net.Connected(third.id) {
		t.Error("another was disconnected, too")
	}
}

// A pod whose clock alone is far ahead refuses the others, and says so: nobody is shut out in silence. One that meets a pod whose certificate has no end learns the time
// from it, and refuses nobody. With the clock set right all is as before, and the others never refused each other.
func TestOneWrongClockShutsNobodyOutInSilence(t *testing.T) {
	first := withLife(t)
	second, third, wrong := joinPod(t, first, "second"), joinPod(t, first, "third"), joinPod(t, first, "wrong")
	by, err := first.authority()
	if err != nil {
		t.Fatal(err)
	}
	first.stop()
	wrong.stop()
	wrong = runPod(t, Options{Dir: wrong.dir, Listen: []string{"127.0.0.1:0"}, Clock: &turnedClock{ahead: 300 * 24 * time.Hour}})
	introduce(second, third, wrong)
	eventually(t, "the pod whose clock is wrong says that it refuses others", func() error {
		if w := wrong.warning(health.CodePodExpired); !strings.Contains(w, wrong.clock.Now().UTC().Format("2006-01")) {
			return fmt.Errorf("it says %q", w)
		}
		return nil
	})
	if w := wrong.warning(health.CodeMembershipEnded); w == "" {
		t.Error("it does not say that its own has ended by its clock")
	}
	eventually(t, "the others are connected", connected(second, third))
	if w := second.warning(health.CodePodExpired); w != "" {
		t.Errorf("one whose clock is right says %s", w)
	}
	first = openPod(t, first.dir)
	introduce(first, second, third, wrong)
	eventually(t, "it learns the time from the first pod, and lets the others in", connected(wrong, second))
	wrong.stop()
	wrong = openPod(t, wrong.dir)
	introduce(first, second, third, wrong)
	eventually(t, "it is back", connected(wrong, second))
	if w := wrong.warning(health.CodePodExpired) + wrong.warning(health.CodeMembershipEnded); w != "" {
		t.Errorf("it still says %s", w)
	}
	// One that others tell that its clock is an hour ahead refuses nobody for what ended by it in this hour.
	ended := first.reg.chain(second.id).Leaf()
	ended.NotAfter = first.clock.Now().Add(-10 * time.Minute).Unix()
	chain, err := member.Issue(by.key, by.chain, ended)
	if err != nil {
		t.Fatal(err)
	}
	for off, want := range map[time.Duration]error{0: member.ErrExpired, time.Hour: member.ErrExpired, -time.Hour: nil} {
		wrong.clocks.mu.Lock()
		wrong.clocks.off = off
		wrong.clocks.mu.Unlock()
		if err := wrong.inDate(chain); !errors.Is(err, want) {
			t.Errorf("others ahead by %s: got %v, want %v", off, err, want)
		}
	}
}
