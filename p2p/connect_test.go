package p2p

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// A pod that either side does not admit is not connected, and is told why.
func TestRefused(t *testing.T) {
	no := func(c *Config, _ *fake) {
		c.Admit = func(ident.Pod, []byte) error { return errors.New("certificate expired") }
	}
	other := func(c *Config, _ *fake) { c.Network = ident.Network{9} }
	long := func(c *Config, _ *fake) {
		c.Admit = func(ident.Pod, []byte) error { panic(strings.Repeat("ö", 4000)) }
	}
	for name, tt := range map[string]struct {
		a, b func(*Config, *fake)
		want string
	}{
		"by the one that was dialled": {nil, no, "certificate expired"},
		"by the dialler":              {no, nil, "certificate expired"},
		"another network":             {nil, other, "network"},
		"admit panics":                {nil, long, "internal fault"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := start(t, 1, tt.a), start(t, 2, tt.b)
			err := a.Connect(within(t, 10*time.Second), b.id, b.Addrs())
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
			if a.Connected(b.id) || b.Connected(a.id) {
				t.Error("connected")
			}
			if _, err := a.Ask(within(t, time.Second), b.id, 1, nil); !errors.Is(err, ErrUnreachable) {
				t.Errorf("ask: %v", err)
			}
			a.stop()
			b.stop()
			if len(a.events)+len(b.events) != 0 {
				t.Errorf("events %v, %v", a.events, b.events)
			}
		})
	}
}

// The other side may be the first to know that it is refused: both get the reason.
func TestRefusedHello(t *testing.T) {
	a, b := start(t, 1, nil), start(t, 2, func(c *Config, _ *fake) {
		c.Admit = func(_ ident.Pod, hello []byte) error {
			if string(hello) != "let me in" {
				return errors.New("wrong word")
			}
			return nil
		}
	})
	if err := a.Connect(within(t, 5*time.Second), b.id, b.Addrs()); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
	c := start(t, 3, func(c *Config, _ *fake) { c.Hello = func() []byte { return []byte("let me in") } })
	join(t, c, b)
	d := start(t, 4, func(c *Config, _ *fake) { c.Hello = func() []byte { return make([]byte, HelloMax+1) } })
	if err := d.Connect(within(t, 5*time.Second), b.id, b.Addrs()); !errors.Is(err, ErrTooLarge) {
		t.Errorf("hello over the limit: got %v", err)
	}
}

// Dials from both sides at once leave the pods connected, once.
func TestSimultaneousDials(t *testing.T) {
	for round := range 5 {
		a, b := start(t, 1, nil), start(t, 2, nil)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { join(t, a, b) })
			wg.Go(func() { join(t, b, a) })
		}
		wg.Wait()
		for from, to := range map[*pod]*pod{a: b, b: a} {
			from.until("connected", func() bool { return from.up[to.id] })
			if n := len(from.Peers()); n != 1 {
				t.Errorf("round %d: %d peers", round, n)
			}
			if _, err := from.Ask(within(t, 5*time.Second), to.id, KindHas, nil); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		a.stop()
		b.until("disconnected", func() bool { return !b.up[a.id] })
		b.stop()
		for _, p := range []*pod{a, b} {
			if got := strings.Join(p.events, ""); strings.Count(got, "+") != strings.Count(got, "-") {
				t.Errorf("round %d: events %s", round, got)
			}
		}
	}
}

// Three pods that know each other connect by themselves; one that comes back on another port is found by
// the addresses that it was told of, and dials those that it knows.
func TestReconnect(t *testing.T) {
	a, b, c := start(t, 1, nil), start(t, 2, nil), start(t, 3, nil)
	pods := []*pod{a, b, c}
	for _, p := range pods {
		for _, q := range pods {
			p.Know(q.id, q.Addrs())
		}
	}
	for _, p := range pods {
		p.until("two peers", func() bool { return len(p.Peers()) == 2 })
	}
	b.stop()
	a.until("b is gone", func() bool { return !a.up[b.id] })
	if a.Connected(b.id) {
		t.Error("b is still connected")
	}
	b2 := start(t, 2, nil) // a new port, and it knows nobody
	a.Know(b2.id, b2.Addrs())
	a.until("b is back", func() bool { return a.up[b2.id] })
	b2.until("a is seen", func() bool { return b2.up[a.id] })
	if _, err := b2.Ask(within(t, 5*time.Second), a.id, KindHas, nil); err != nil {
		t.Error(err)
	}
}

// A peer that was started anew is connected anew, though the old connection was not seen to end.
func TestInstances(t *testing.T) {
	a := start(t, 1, nil)
	b := start(t, 2, nil)
	join(t, b, a)
	a.until("connected", func() bool { return a.up[b.id] })
	// The same pod again, as after a cable was pulled and the machine restarted.
	b2 := start(t, 2, nil)
	join(t, b2, a)
	a.until("connected anew", func() bool { return strings.Join(a.events, "") == "+-+" })
	b2.until("a is seen", func() bool { return b2.up[a.id] })
	if _, err := a.Ask(within(t, 5*time.Second), b.id, KindHas, nil); err != nil {
		t.Error(err)
	}
	b.until("the old one is let go", func() bool { return !b.up[a.id] })
}

// Connect fails at once where nobody listens, or somebody else does, and when its context ends.
func TestConnectUnreachable(t *testing.T) {
	a, b := start(t, 1, nil), start(t, 2, nil)
	nobody := podNumber(t, 77)
	if err := a.Connect(within(t, 10*time.Second), nobody, []string{"127.0.0.1:1"}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("closed port: got %v", err)
	}
	if err := a.Connect(within(t, 10*time.Second), nobody, b.Addrs()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("another pod's port: got %v", err)
	}
	if err := a.Connect(within(t, 10*time.Second), nobody, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("no address: got %v", err)
	}
	b.stop()
	if err := b.Connect(within(t, 10*time.Second), a.id, a.Addrs()); !errors.Is(err, ErrClosed) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("closed host: got %v", err)
	}
}

// Listening on a taken port fails, and on all addresses both families share the port.
func TestListen(t *testing.T) {
	a := start(t, 1, nil)
	c := Config{Key: keyOf(2), Hello: a.cfg.Hello, Admit: a.cfg.Admit, Handler: a.fake, Listen: []string{a.Addrs()[0]}}
	if h, err := New(c); err == nil {
		t.Error("listens on a taken port")
		_ = h.Close()
	}
	c.Listen = []string{":0"}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if h.ListenPort() == 0 || len(h.Addrs()) == 0 {
		t.Errorf("port %d, addresses %v", h.ListenPort(), h.Addrs())
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := h.Run(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("run of a closed host: %v", err)
	}
}

// What a pod announces beside where it listens is told to others, also when it changes while they are connected.
func TestAnnounce(t *testing.T) {
	a := start(t, 1, func(c *Config, _ *fake) { c.Announce = []string{"192.0.2.7:4001", "no address"} })
	b := start(t, 2, nil)
	if err := b.Connect(within(t, 10*time.Second), a.id, a.Addrs()); err != nil {
		t.Fatal(err)
	}
	told := func(want, gone string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			var addrs []string
			for _, p := range b.Peers() {
				addrs = append(addrs, p.Addrs...)
			}
			text := strings.Join(addrs, " ")
			if strings.Contains(text, want) && !strings.Contains(text, gone) && strings.Contains(text, "/ip4/127.0.0.1/tcp/") {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%q is told, not %s", addrs, want)
			}
		}
	}
	told("/ip4/192.0.2.7/tcp/4001/", "none")
	a.Announce([]string{"home.example.org:4002"})
	told("/dns/home.example.org/tcp/4002/", "192.0.2.7")
}
