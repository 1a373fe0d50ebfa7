package pod

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// askTo are the options of a stranger that asks a pod.
func askTo(at *testPod, name string) AskOptions {
	return AskOptions{Network: "test", At: []p2p.Found{{Pod: at.id, Addrs: at.net.Addrs()}}, PodName: name}
}

func (p *testPod) setAccess(access string) {
	p.t.Helper()
	if err := p.SetRule(quickly(p.t), "access", access); err != nil {
		p.t.Fatal(err)
	}
}

// joinTicket makes and runs the pod of a ticket.
func joinTicket(t *testing.T, ticket Ticket) *testPod {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Join(quickly(t), dir, JoinOptions{Ticket: &ticket}); err != nil {
		t.Fatal(err)
	}
	return openPod(t, dir)
}

// events are the kinds of all that happened to a pod.
func (p *testPod) kinds() []string {
	p.t.Helper()
	var out []string
	if err := p.Events(quickly(p.t), time.Time{}, false, func(e Event) error { out = append(out, e.Kind); return nil }); err != nil {
		p.t.Fatal(err)
	}
	return out
}

// With access ask a stranger waits until an admin has accepted it, and gets the role that the admin says; the admin sees its name and id before.
func TestAccessAsk(t *testing.T) {
	first := firstPod(t)
	first.write("/f", "x")
	first.setAccess(AccessAsk)
	second := joinPod(t, first, "second")
	waits := make(chan ident.Pod, 1)
	o := askTo(first, "guest")
	o.At = append(o.At, p2p.Found{Pod: second.id, Addrs: second.net.Addrs()}) // no admin's: it sends strangers away
	o.Waiting = func(_ ident.Network, _, _ string, id ident.Pod) { waits <- id }
	type result struct {
		t   Ticket
		err error
	}
	done := make(chan result, 1)
	go func() {
		ticket, err := AskToJoin(quickly(t), o)
		done <- result{ticket, err}
	}()
	eventually(t, "guest waits", func() error {
		if len(first.Pending()) != 1 {
			return errors.New("nobody waits")
		}
		return nil
	})
	w := first.Pending()[0]
	if w.Name != "guest" {
		t.Errorf("waits: %+v", w)
	}
	for name, row := range map[string]struct {
		err, want error
	}{
		"nobody":        {first.Accept(quickly(t), "nobody", "writer"), ErrNoSuchPod},
		"a role of no":  {first.Accept(quickly(t), "guest", "king"), member.ErrBadName},
		"by no admin":   {second.Accept(quickly(t), "guest", "writer"), member.ErrDenied},
		"deny by none":  {second.Deny(quickly(t), "guest"), member.ErrDenied},
		"denied nobody": {first.Deny(quickly(t), "nobody"), ErrNoSuchPod},
	} {
		if !errors.Is(row.err, row.want) {
			t.Errorf("%s: got %v, want %v", name, row.err, row.want)
		}
	}
	if err := first.Accept(quickly(t), w.Pod.String(), "writer"); err != nil {
		t.Fatal(err)
	}
	got := <-done
	if got.err != nil {
		t.Fatal(got.err)
	}
	guest := joinTicket(t, got.t)
	if guest.id != w.Pod || len(first.Pending()) != 0 {
		t.Errorf("another pod was let in, or still waits: %s, %v", guest.id, first.Pending())
	}
	guest.write("/g", "of the guest")
	first.reads("/g", "of the guest")
	guest.reads("/f", "x")
	if kinds := first.kinds(); !slices.Contains(kinds, EventAsks) || !slices.Contains(kinds, EventJoined) {
		t.Errorf("events %v", kinds)
	}
}

// Who is denied is told so, and stays denied for a while.
func TestAccessDenied(t *testing.T) {
	first := firstPod(t)
	first.setAccess(AccessAsk)
	pod := ident.PodOf(public(userKey(5)))
	ask := member.EnrolRequest{Step: member.StepAsk, NetworkName: "test", PodName: "guest"}.Encode()
	done := make(chan error, 1)
	go func() { _, err := first.enrolPod(quickly(t), pod, ask); done <- err }()
	eventually(t, "guest waits", func() error { return first.Deny(quickly(t), "guest") })
	if err := <-done; !errors.Is(err, member.ErrDenied) {
		t.Errorf("denied: %v", err)
	}
	if _, err := first.enrolPod(quickly(t), pod, ask); !errors.Is(err, member.ErrDenied) {
		t.Errorf("asks again: %v", err)
	}
	if first.reg.chains[pod] != nil {
		t.Error("it is a member")
	}
}

// A stranger that does not hear in time is told to ask again, and strangers take no more memory than is meant for them.
func TestAskersBounded(t *testing.T) {
	a := newAskers()
	now := time.Unix(1700000000, 0)
	pod := func(i int) (p ident.Pod) { p[0], p[1] = byte(i), byte(i>>8); return p }
	for i := range askersMax {
		if _, fresh, err := a.ask(pod(i), fmt.Sprint("p", i), now); err != nil || !fresh {
			t.Fatalf("%d: %v, %v", i, fresh, err)
		}
	}
	if _, _, err := a.ask(pod(askersMax), "p", now); !errors.Is(err, member.ErrPending) {
		t.Errorf("one too many: %v", err)
	}
	if _, fresh, err := a.ask(pod(0), "p0", now); err != nil || fresh {
		t.Errorf("asks again: %v, %v", fresh, err)
	}
	now = now.Add(askForgot + time.Second)
	if _, fresh, err := a.ask(pod(askersMax), "p", now); err != nil || !fresh || len(a.list) != 1 {
		t.Errorf("after the others have gone: %v, %v, %d", fresh, err, len(a.list))
	}
	for i := range 2 * deniedMax {
		a.ask(pod(i), "x", now)
		if _, err := a.decide(pod(i).String(), 0, now); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.denied) > deniedMax {
		t.Errorf("%d are denied", len(a.denied))
	}
	for i := range 2 {
		a.ask(pod(5000+i), "same", now)
	}
	if _, err := a.decide("same", member.RoleReader, now); !errors.Is(err, vfs.ErrExist) {
		t.Errorf("two of one name: %v", err)
	}
}

// With access open strangers become readers until the network is full; an invitation still works then.
func TestAccessOpen(t *testing.T) {
	first := firstPod(t)
	first.write("/f", "x")
	first.setAccess(AccessOpen)
	if err := first.SetRule(quickly(t), "members_max", "2"); err != nil {
		t.Fatal(err)
	}
	ticket, err := AskToJoin(quickly(t), askTo(first, "guest"))
	if err != nil {
		t.Fatal(err)
	}
	guest := joinTicket(t, ticket)
	guest.reads("/f", "x")
	if err := writeFS(quickly(t), guest.fs, "/g", "y"); !errors.Is(err, vfs.ErrReadOnly) {
		t.Errorf("a guest writes: %v", err)
	}
	if _, err := AskToJoin(quickly(t), askTo(first, "other")); !errors.Is(err, member.ErrDenied) {
		t.Errorf("a full network: %v", err)
	}
	joinPod(t, first, "invited")
	if err := first.Revoke(quickly(t), "guest"); err != nil {
		t.Fatal(err)
	}
	if err := tryTicket(t, ticket); !errors.Is(err, member.ErrDenied) {
		t.Errorf("who was revoked comes back: %v", err)
	}
}

// A network that takes in nobody without an invitation does not even tell strangers that it is there.
func TestAccessInvite(t *testing.T) {
	first := firstPod(t)
	if _, err := AskToJoin(quickly(t), askTo(first, "guest")); !errors.Is(err, p2p.ErrUnreachable) {
		t.Errorf("by its name: %v", err)
	}
	ask := member.EnrolRequest{Step: member.StepAsk, PodName: "guest"}.Encode()
	if _, err := first.enrolPod(quickly(t), ident.PodOf(public(userKey(5))), ask); !errors.Is(err, member.ErrElsewhere) {
		t.Errorf("asks all the same: %v", err)
	}
}

// An encrypted network is never open: who joins gets its key.
func TestEncryptedIsNotOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "first", Encrypt: true, Access: AccessOpen}); !errors.Is(err, config.ErrBad) {
		t.Errorf("made open: %v", err)
	}
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "first", Encrypt: true, Access: AccessAsk}); err != nil {
		t.Fatal(err)
	}
	first := openPod(t, dir)
	if first.access() != AccessAsk {
		t.Errorf("access %s", first.access())
	}
	if err := first.SetRule(quickly(t), "access", AccessOpen); !errors.Is(err, config.ErrBad) {
		t.Errorf("set to open: %v", err)
	}
}

// What a hostile pod answers to who looks for a network is not believed.
func TestLookIsProved(t *testing.T) {
	first, other := firstPod(t), firstPod(t)
	at := p2p.Found{Pod: first.id}
	good := member.EnrolReply{Chain: first.own.chain, NetworkName: "test"}
	for name, row := range map[string]struct {
		a    answered
		want error
	}{
		"good":         {answered{at: at, reply: good}, nil},
		"another's":    {answered{at: at, reply: member.EnrolReply{Chain: other.own.chain, NetworkName: "test"}}, member.ErrBadCert},
		"no chain":     {answered{at: at}, member.ErrBadMessage},
		"cut":          {answered{at: at, reply: member.EnrolReply{Chain: first.own.chain[1:], NetworkName: "test"}}, member.ErrBadCert},
		"another name": {answered{at: at, reply: member.EnrolReply{Chain: first.own.chain, NetworkName: "work"}}, member.ErrElsewhere},
	} {
		if err := row.a.check("test", first.reg.network.Short(), checkLook); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", name, err, row.want)
		}
	}
}
