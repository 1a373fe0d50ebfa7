package p2p

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

// speed is how much faster than the machine's a fast clock runs.
const speed = 10

// fast is a clock that runs faster, for what takes seconds.
type fast struct{ from time.Time }

func (f fast) Now() time.Time                       { return f.from.Add(time.Since(f.from) * speed) }
func (f fast) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d / speed) }

func hurried(c *Config, _ *fake) { c.Clock = fast{time.Now()} }

// cable is a TCP proxy that can be pulled out: then nothing passes, and nobody is told.
type cable struct {
	addr   string
	mu     sync.Mutex
	pulled bool
	plug   *sync.Cond
	conns  []net.Conn
	wg     sync.WaitGroup
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{addr: l.Addr().String()}
	c.plug = sync.NewCond(&c.mu)
	c.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, in, out)
			c.mu.Unlock()
			c.wg.Go(func() { c.carry(in, out) })
			c.wg.Go(func() { c.carry(out, in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		c.pull(false)
		c.mu.Lock()
		for _, n := range c.conns {
			_ = n.Close()
		}
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

func (c *cable) pull(out bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = out
	c.plug.Broadcast()
}

func (c *cable) carry(to io.WriteCloser, from io.Reader) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		c.mu.Lock()
		for c.pulled {
			c.plug.Wait()
		}
		c.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

// A peer that falls silent without an end of the connection is disconnected after 10 s, with a question to
// it under way, and connected again when the cable is back.
func TestPulledCable(t *testing.T) {
	a, b := start(t, 1, hurried), start(t, 2, hurried)
	c := newCable(t, strings.NewReplacer("/ip4/", "", "/tcp/", ":").Replace(b.listening()[0].String()))
	if err := a.Connect(within(t, 10*time.Second), b.id, []string{c.addr}); err != nil {
		t.Fatal(err)
	}
	b.until("b sees a", func() bool { return b.up[a.id] })
	if _, err := a.Ask(within(t, 5*time.Second), b.id, KindHas, nil); err != nil {
		t.Fatal(err)
	}
	// An idle connection lives on: pings keep it.
	time.Sleep(2 * silenceMax / speed)
	if len(a.events) != 1 {
		t.Fatalf("idle: events %v", a.events)
	}
	c.pull(true)
	from := time.Now()
	asked := make(chan error, 1)
	go func() {
		_, err := a.Ask(within(t, 10*time.Second), b.id, KindHas, nil)
		asked <- err
	}()
	a.until("a gives up", func() bool { return slices.Contains(a.events, "-") })
	if d := time.Since(from) * speed; d < silenceMax-2*pingInterval || d > 3*silenceMax {
		t.Errorf("given up after %v", d)
	}
	if err := <-asked; err == nil {
		t.Error("a question was answered")
	}
	b.until("b gives up", func() bool { return slices.Contains(b.events, "-") }) // a may be back a moment later, at an address of b's that it was told
	c.pull(false)
	a.Know(b.id, []string{c.addr})
	a.until("connected again", func() bool { return a.up[b.id] })
	b.until("b too", func() bool { return b.up[a.id] })
}

// A known pod that is down is dialled with growing waits, and found when it comes up at its address.
func TestBackoff(t *testing.T) {
	a := start(t, 1, hurried)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	a.Know(podNumber(t, 2), []string{addr})
	time.Sleep(300 * time.Millisecond) // 3 s of the clock: several dials fail
	a.Host.mu.Lock()
	backoff := a.Host.known[podNumber(t, 2)].backoff
	a.Host.mu.Unlock()
	if backoff <= 2*backoffMin || backoff > backoffMax {
		t.Errorf("backoff %v", backoff)
	}
	b := start(t, 2, func(c *Config, _ *fake) { c.Listen = []string{addr} })
	a.until("connected", func() bool { return a.up[b.id] })
}

// New addresses of the machine are announced to peers and dialled from.
func TestAddrsChange(t *testing.T) {
	a := start(t, 1, func(c *Config, f *fake) { hurried(c, f); c.Listen = []string{":0"} })
	b := start(t, 2, nil)
	join(t, b, a)
	b.until("b sees a", func() bool { return b.up[a.id] })
	a.Host.mu.Lock()
	a.local = addrsOfText("10.1.2.3") // what the poll finds is another set
	a.Host.mu.Unlock()
	deadline := time.Now().Add(10 * time.Second)
	for {
		if p := b.Peers(); len(p) == 1 && len(p[0].Addrs) > 0 && strings.Join(p[0].Addrs, " ") == strings.Join(a.Addrs(), " ") {
			if !strings.Contains(p[0].Addrs[0], "10.1.2.3") {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("b knows %v, a has %v", b.Peers(), a.Addrs())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Pods on one link find each other with no address given; those of another network don't.
func TestDiscover(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	found := func(c *Config, _ *fake) { c.Discover, c.Listen = true, []string{":0"} }
	a, b := start(t, 1, found), start(t, 2, found)
	if !multicast() {
		testneed.Missing(t, "no interface for multicast")
	}
	a.until("found", func() bool { return a.up[b.id] })
	b.until("found", func() bool { return b.up[a.id] })
	b.stop()
	a.until("gone", func() bool { return !a.up[b.id] })
	b2 := start(t, 2, found)
	a.until("found on its new port", func() bool { return a.up[b2.id] })
}

func multicast() bool {
	list, _ := net.Interfaces()
	for _, i := range list {
		if i.Flags&(net.FlagUp|net.FlagMulticast) == net.FlagUp|net.FlagMulticast && i.Flags&net.FlagLoopback == 0 {
			return true
		}
	}
	return false
}
