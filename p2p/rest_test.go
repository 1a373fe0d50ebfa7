package p2p

import (
	"bytes"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Of two pods one asks each second; the other one asks when it is not asked, and now and then.
func TestPings(t *testing.T) {
	for _, x := range []struct {
		name   string
		first  bool
		id     uint64
		silent time.Duration
		want   bool
	}{
		{"the lesser id asks", true, 5, time.Second, true},
		{"the other is asked", false, 5, time.Second, false},
		{"the other is not asked any more", false, 5, 1600 * time.Millisecond, true},
		{"its first one", false, 1, 0, true},
		{"for the time there and back", false, 21, time.Second, true},
	} {
		if got := pings(x.first, x.id, x.silent); got != x.want {
			t.Errorf("%s: %v", x.name, got)
		}
	}
}

// A connection at rest has few messages, is kept by both, and both know how long the way is.
func TestRestingLink(t *testing.T) {
	a, b := start(t, 1, hurried), start(t, 2, hurried)
	join(t, a, b)
	until(t, "both know each other", func() bool { return len(a.Peers()) == 1 && len(b.Peers()) == 1 })
	begin := [2]int64{a.Peers()[0].Sent.Bytes, b.Peers()[0].Sent.Bytes}
	from := time.Now()
	time.Sleep(60 * time.Second / speed)
	frame := int64(len(appendFrame(nil, frameHeader{typ: framePing, id: 1}, nil)))
	seconds := int64(time.Since(from)*speed/time.Second) + 1
	for i, n := range []*pod{a, b} {
		p := n.Peers()
		if len(p) != 1 || p[0].RTT <= 0 {
			t.Fatalf("%+v", p)
		}
		// With pings of both sides it were two frames a second; the rest is room for a machine that is slow.
		if sent := (p[0].Sent.Bytes - begin[i]) / frame; sent < seconds/2 || sent > seconds*3/2 {
			t.Errorf("%d sent %d frames in %d s", i, sent, seconds)
		}
	}
	if len(a.events) != 1 || len(b.events) != 1 {
		t.Errorf("events %v, %v", a.events, b.events)
	}
}

// A stream of blocks that nobody uses ends after a while, on both sides; the next request makes another.
func TestIdleStreamsEnd(t *testing.T) {
	a, b := start(t, 1, hurried), start(t, 2, hurried)
	join(t, a, b)
	until(t, "both know each other", func() bool { return len(a.links()) == 1 && len(b.links()) == 1 })
	id, wire := wireOf(random(t), 1000)
	b.fake.mu.Lock()
	b.blocks[id] = wire
	b.fake.mu.Unlock()
	here := func() int {
		p := a.links()[0].gets
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.idle)
	}
	there := func() int {
		l := b.links()[0]
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.streams
	}
	for range 2 {
		got := 0
		err := a.Get(within(t, 5*time.Second), b.id, []block.ID{id}, func(_ block.ID, w []byte, err error) error {
			if err == nil && bytes.Equal(w, wire) {
				got++
			}
			return err
		})
		if err != nil || got != 1 || here() != 1 || there() != 1 {
			t.Fatalf("got %d, %v; streams here %d, there %d", got, err, here(), there())
		}
		until(t, "the stream ends on both sides", func() bool { return here() == 0 && there() == 0 })
	}
	if len(a.events) != 1 {
		t.Errorf("events %v", a.events)
	}
}

// until waits until ok holds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for from := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(from) > 15*time.Second {
			t.Fatalf("timeout: %s", what)
		}
	}
}
