package pod

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// logLines is a log that a test reads.
type logLines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write is io.Writer's.
func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logLines) has(words ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}

// withLog is a pod whose log a test reads, two seconds later.
func withLog(t *testing.T, dir string) (*testPod, *logLines) {
	t.Helper()
	l := &logLines{}
	p, err := Open(quickly(t), Options{Dir: dir, Listen: []string{"127.0.0.1:0"}, NoHistory: true, Clock: &turnedClock{ahead: 2 * time.Second}, Log: slog.New(slog.NewTextHandler(l, nil))})
	if err != nil {
		t.Fatal(err)
	}
	tp := started(t, p, dir)
	t.Cleanup(tp.stop)
	return tp, l
}

// Whoever has no right to it gets neither a connection nor a certificate; each is told why, stands in the log, and is an event that users see.
func TestRefused(t *testing.T) {
	first := firstPod(t)
	second, revoked := joinPod(t, first, "second"), joinPod(t, first, "revoked")
	elsewhere := firstPod(t)
	if err := errors.Join(first.Revoke(quickly(t), "revoked"), first.AddUser(quickly(t), public(userKey(9)), "ann", "writer")); err != nil {
		t.Fatal(err)
	}
	laptop := joinAsUser(t, userKey(9), first, "laptop")
	by, err := first.authority()
	if err != nil {
		t.Fatal(err)
	}
	dated := func(key ed25519.PrivateKey, notBefore, notAfter time.Duration) []byte {
		t.Helper()
		now := first.clock.Now()
		cert := member.Cert{Subject: public(key), Kind: member.KindPod, Name: "dated", Role: member.RoleWriter, Member: 5000, NotBefore: now.Add(notBefore).Unix(), NotAfter: now.Add(notAfter).Unix()}
		c, err := member.Issue(by.key, by.chain, cert)
		if err != nil {
			t.Fatal(err)
		}
		return c.Encode()
	}
	invited := func(uses int, ttl time.Duration) member.Token {
		t.Helper()
		s, err := first.Invite(quickly(t), "writer", ttl, uses)
		if err != nil {
			t.Fatal(err)
		}
		token, err := member.ParseToken(s)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	asked := func(secret [16]byte) []byte { return member.EnrolRequest{Secret: secret, PodName: "x"}.Encode() }
	stolen, taken, old := invited(1, time.Hour), invited(1, time.Hour), invited(1, time.Second)
	all, err := first.Invites()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if hash := member.HashSecret(taken.Secret); strings.HasPrefix(inviteKey(hash), keyInvite+i.ID) {
			if err := first.RemoveInvite(quickly(t), i.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := first.enrolPod(quickly(t), ident.PodOf(public(userKey(40))), asked(stolen.Secret)); err != nil {
		t.Fatalf("the one who was invited: %v", err)
	}
	userCert := laptop.own.chain.Leaf()
	first.stop()
	first, lines := withLog(t, first.dir)
	for name, row := range map[string]struct {
		key  byte // whose connection it is
		gate []byte
		door []byte
		want error
		text string
	}{
		"stranger":                  {1, []byte("hello"), nil, member.ErrBadCert, ""},
		"stranger with no word":     {2, nil, nil, member.ErrBadCert, ""},
		"wrong network":             {3, elsewhere.own.chain.Encode(), nil, member.ErrBadCert, "is of the network"},
		"another's certificate":     {4, second.own.chain.Encode(), nil, member.ErrDenied, "not of the key that connects"},
		"a part of a chain":         {5, second.own.chain[1:].Encode(), nil, member.ErrBadCert, ""},
		"a user, no pod":            {6, laptop.own.chain[:2].Encode(), nil, member.ErrDenied, ""},
		"expired":                   {7, dated(userKey(7), -2*time.Hour, -time.Hour), nil, member.ErrExpired, "it ended at"},
		"not begun":                 {8, dated(userKey(8), time.Hour, 2*time.Hour), nil, member.ErrExpired, "here it is"},
		"wrong token":               {11, nil, asked([16]byte{1}), member.ErrDenied, "no invitation with this secret"},
		"stolen invitation":         {12, nil, asked(stolen.Secret), member.ErrUsed, ""},
		"expired invitation":        {13, nil, asked(old.Secret), member.ErrExpired, ""},
		"invitation that was taken": {14, nil, asked(taken.Secret), member.ErrDenied, ""},
		"replayed certificate":      {15, nil, member.EnrolRequest{Step: member.StepUser, NetworkName: "test", PodName: "laptop", Cert: &userCert}.Encode(), member.ErrDenied, "not of the key that connects"},
		"a user nobody added":       {16, nil, member.EnrolRequest{Step: member.StepOffer, PodName: "x", User: public(userKey(50))}.Encode(), member.ErrDenied, "no member has this key"},
		"no request":                {17, nil, []byte("let me in"), member.ErrBadMessage, ""},
	} {
		pod := ident.PodOf(public(userKey(row.key)))
		members := len(first.Members())
		var err error
		if row.door == nil {
			err = first.admit(pod, row.gate)
		} else {
			var answer []byte
			if answer, err = first.enrol(quickly(t), pod, row.door); err == nil {
				reply, derr := member.DecodeEnrolReply(answer)
				if derr != nil {
					t.Fatalf("%s: %v", name, derr)
				}
				err = reply.Err()
			}
		}
		if !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: got %v, want %v with %q", name, err, row.want, row.text)
		}
		if got := len(first.Members()); got != members {
			t.Errorf("%s: %d members, there were %d", name, got, members)
		}
		if !lines.has("level=WARN", pod.String()) {
			t.Errorf("%s is not in the log", name)
		}
		if !first.refusedEvent(pod.String(), row.text) {
			t.Errorf("%s is no event", name)
		}
	}
	if err := first.admit(revoked.id, revoked.own.chain.Encode()); !errors.Is(err, member.ErrDenied) || !strings.Contains(err.Error(), "was revoked") {
		t.Errorf("revoked: %v", err)
	}
	if !lines.has("level=WARN", revoked.id.String()) || !first.refusedEvent("revoked", "was revoked") {
		t.Error("revoked is not in the log, or no event")
	}
}

// refusedEvent says whether an event tells that a pod was refused, for a reason.
func (p *testPod) refusedEvent(pod, text string) (found bool) {
	p.t.Helper()
	if err := p.Events(quickly(p.t), time.Time{}, false, func(e Event) error {
		found = found || e.Kind == EventRefused && e.Pod == pod && strings.Contains(e.Text, text)
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return found
}

// An enrolment that is sent again by the same key is answered again, since the answer may have been lost, and makes no second member; recorded and sent by another key it is nothing.
func TestReplayedEnrolment(t *testing.T) {
	first := firstPod(t)
	token := tokenOf(t, first)
	request := member.EnrolRequest{Secret: token.Secret, PodName: "guest"}.Encode()
	send := func(key byte) (member.EnrolReply, error) {
		t.Helper()
		return askToEnrol(quickly(t), userKey(key), p2p.Found{Pod: first.id, Addrs: token.Addrs}, request)
	}
	once, err := send(3)
	if err != nil {
		t.Fatal(err)
	}
	members := len(first.Members())
	again, err := send(3)
	if err != nil || !bytes.Equal(again.Chain.Encode(), once.Chain.Encode()) || len(first.Members()) != members {
		t.Errorf("sent again: %v, %d members, there were %d", err, len(first.Members()), members)
	}
	if _, err := send(4); !errors.Is(err, member.ErrUsed) {
		t.Errorf("sent by another key: %v", err)
	}
	if len(first.Members()) != members {
		t.Error("it is a member")
	}
	thief := ident.PodOf(public(userKey(4)))
	if !first.refusedEvent(thief.String(), "used already") {
		t.Error("no event says so")
	}
	if err := first.admit(thief, once.Chain.Encode()); !errors.Is(err, member.ErrDenied) {
		t.Errorf("with the certificate of the answer: %v", err)
	}
}

// Who tries tokens is answered three times a minute, whatever it asks for.
func TestWrongTokensAreSlow(t *testing.T) {
	first := firstPod(t)
	at := p2p.Found{Pod: first.id, Addrs: first.net.Addrs()}
	for i := range 2 * p2p.EnrolPerMinute {
		want := member.ErrDenied
		if i >= p2p.EnrolPerMinute {
			want = p2p.ErrBusy
		}
		if _, err := askToEnrol(quickly(t), userKey(5), at, member.EnrolRequest{Secret: [16]byte{byte(i)}, PodName: "x"}.Encode()); !errors.Is(err, want) {
			t.Errorf("token %d: got %v, want %v", i+1, err, want)
		}
	}
}

// A copied identity is found out when both copies have done something: both go on as two, nothing is lost, and people hear of it.
func TestCopiedIdentityIsAnEvent(t *testing.T) {
	pods := newCopyable(t, "second")
	net := newMemNet()
	a, c := pods.start(net, 0, pods.disk[0]), pods.start(net, 1, pods.disk[1])
	a.write("/before", "x")
	c.reads("/before", "x")
	a.stop()
	other := pods.image(0)
	a = pods.start(net, 0, pods.disk[0])
	a.write("/of a", "a")
	c.reads("/of a", "a")
	a.stop()
	b := pods.start(newMemNet(), 0, other)
	b.write("/of b", "b")
	b.settle()
	b.stop()
	pods.start(net, 0, other)
	c.reads("/of b", "b")
	c.reads("/of a", "a")
	eventually(t, "the copy is an event", func() error {
		var found bool
		if err := c.Events(quickly(t), time.Time{}, false, func(e Event) error {
			found = found || e.Kind == EventForked && e.Pod == "first"
			return nil
		}); err != nil || !found {
			return errors.Join(errors.New("there is none"), err)
		}
		return nil
	})
}
