package pod

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// attack is one who must not get in, or not as who they say they are.
type attack struct {
	at    *testPod     // the pod that keeps them out
	lines *logLines    // its log
	try   func() error // does it over the network, and returns what they hear
	want  error        // which that must be
	hears string       // what they are told
	log   string       // what else is in the line of the log that has pod and hears
	event Event        // of this kind, about this pod
	pod   fmt.Stringer // as in the log
}

// happened says what of the two that people see is there: the line of the log, and the event.
func (a attack) happened() (logged, told bool) {
	a.at.t.Helper()
	logged = a.lines.has("level=WARN", a.pod.String(), a.log)
	fatal(a.at.t, a.at.Events(quickly(a.at.t), time.Time{}, false, func(e Event) error {
		told = told || e.Kind == a.event.Kind && e.Pod == a.event.Pod && strings.Contains(e.Text, a.event.Text)
		return nil
	}))
	return logged, told
}

// TestKeptOut holds the seven ways to get into a network where one has no right to be, each over real connections: it must be refused, be in the log, and be an event. A row fails if one of the three is missing.
func TestKeptOut(t *testing.T) {
	first := firstPod(t)
	second, revoked := joinPod(t, first, "second"), joinPod(t, first, "revoked")
	elsewhere := firstPod(t)
	for _, p := range []*testPod{second, revoked, elsewhere} {
		p.stop() // the revoked one would knock by itself
	}
	fatal(t, first.Revoke(quickly(t), "revoked"))
	by, err := first.authority()
	fatal(t, err)
	now := first.clock.Now()
	expired, err := member.Issue(by.key, by.chain, member.Cert{
		Subject: public(userKey(7)), Kind: member.KindPod, Name: "late", Role: member.RoleWriter, Member: 5000, NotBefore: now.Add(-2 * time.Hour).Unix(), NotAfter: now.Add(-time.Hour).Unix(),
	})
	fatal(t, err)
	stolen := tokenOf(t, first)
	network, own, others := first.reg.network, elsewhere.own, second.own.chain.Encode()
	first.stop()
	first, lines := withLog(t, first.dir)
	gate := func(key ed25519.PrivateKey, network ident.Network, hello []byte, hears string, name string) attack {
		pod := ident.PodOf(public(key))
		if name == "" {
			name = pod.String()
		}
		return attack{
			at: first, lines: lines, pod: pod, want: p2p.ErrRefused, hears: hears, log: hears, event: Event{Kind: EventRefused, Pod: name, Text: hears},
			try: func() error { return dialAs(t, key, network, hello, first) },
		}
	}
	request := member.EnrolRequest{Secret: stolen.Secret, PodName: "guest"}.Encode()
	enrols := func(key byte) error {
		_, err := askToEnrol(quickly(t), userKey(key), p2p.Found{Pod: first.id, Addrs: first.net.Addrs()}, request)
		return err
	}
	fatal(t, enrols(20)) // the one who was invited
	thief := ident.PodOf(public(userKey(21)))

	rows := map[string]attack{
		"stranger":           gate(userKey(1), network, []byte("hello"), "certificate", ""),
		"expired":            gate(userKey(7), network, expired.Encode(), "it ended at", ""),
		"revoked":            gate(revoked.own.key, network, revoked.own.chain.Encode(), "was revoked", "revoked"),
		"wrong network":      gate(own.key, elsewhere.reg.network, own.chain.Encode(), "this is network", ""),
		"replayed handshake": gate(userKey(4), network, others, "not of the key that connects", ""),
		"stolen invitation": {
			at: first, lines: lines, pod: thief, want: member.ErrUsed, hears: "used already", log: "used already", event: Event{Kind: EventRefused, Pod: thief.String(), Text: "used already"},
			try: func() error { return enrols(21) },
		},
		"cloned identity used twice": clonedAttack(t),
	}
	for name, a := range rows {
		t.Run(name, func(t *testing.T) {
			if logged, told := a.happened(); logged || told {
				t.Fatalf("before it is tried: in the log %v, an event %v", logged, told)
			}
			members := len(a.at.Members())
			if err := a.try(); !errors.Is(err, a.want) || !strings.Contains(err.Error(), a.hears) {
				t.Errorf("they hear %v, want %v with %q", err, a.want, a.hears)
			}
			eventually(t, "it is in the log, and an event", func() error {
				if logged, told := a.happened(); !logged || !told {
					return fmt.Errorf("in the log %v, an event %v", logged, told)
				}
				return nil
			})
			if got := len(a.at.Members()); got != members {
				t.Errorf("%d members, there were %d", got, members)
			}
		})
	}
	for _, pod := range first.connected() {
		t.Errorf("%s is connected", pod)
	}
}

// dialAs connects to a pod with a key, a network and a hello of one's own choice, and returns what comes of it.
func dialAs(t *testing.T, key ed25519.PrivateKey, network ident.Network, hello []byte, to *testPod) error {
	t.Helper()
	h, err := p2p.New(p2p.Config{
		Key: key, Network: network, Hello: func() []byte { return hello }, Admit: func(ident.Pod, []byte) error { return nil }, Handler: deafHandler{},
	})
	fatal(t, err)
	defer func() { fatal(t, h.Close()) }()
	return h.Connect(quickly(t), to.id, to.net.Addrs())
}

// deafHandler is that of a pod which is to be refused before it hears anything.
type deafHandler struct{ p2p.Handler }

func (deafHandler) Connected(ident.Pod)    {}
func (deafHandler) Disconnected(ident.Pod) {}

// clonedAttack: the directory of a pod is copied, and both copies write. The later one is not taken for the other: it goes on as another author.
func clonedAttack(t *testing.T) attack {
	pods := newCopyable(t, "second")
	net := newMemNet()
	lines := &logLines{}
	p, err := Open(quickly(t), Options{Dir: pods.dirs[1], Offline: true, FS: pods.disk[1], NoHistory: true, Log: slog.New(slog.NewTextHandler(lines, nil))})
	fatal(t, err)
	net.attach(p)
	c := started(t, p, pods.dirs[1])
	t.Cleanup(c.stop)
	other := pods.image(0)
	a := pods.start(net, 0, pods.disk[0])
	a.write("/of a", "a")
	c.reads("/of a", "a")
	was := a.db.Actor()
	a.stop()
	return attack{
		at: c, lines: lines, pod: attackedName("first"), want: state.ErrFork, hears: "another author", log: "copies of a pod went on apart", event: Event{Kind: EventForked, Pod: "first"},
		try: func() error {
			alone := pods.start(newMemNet(), 0, other)
			alone.write("/of b", "b")
			alone.settle()
			same := alone.db.Actor() == was
			alone.stop()
			b := pods.start(net, 0, other)
			c.reads("/of b", "b")
			c.reads("/of a", "a")
			sameRoot(t, b, c)
			if !same || b.db.Actor() == was {
				return fmt.Errorf("it began as %v, and goes on as it: %v", same, b.db.Actor() == was)
			}
			return fmt.Errorf("the copy is another author: %w", state.ErrFork)
		},
	}
}

// attackedName is the name of a pod in a line of the log.
type attackedName string

func (n attackedName) String() string { return "pod=" + string(n) }
