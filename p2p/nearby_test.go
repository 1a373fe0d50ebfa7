package p2p

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

// Who has an address alone learns which pod is there, however the address is written.
func TestWhoIs(t *testing.T) {
	a := start(t, 1, nil)
	ctx := within(t, 20*time.Second)
	full := a.Addrs()[0]
	short, _, _ := strings.Cut(full, "/p2p/")
	parts := strings.Split(short, "/") // "", ip4, HOST, tcp, PORT
	for _, addr := range []string{full, short, parts[2] + ":" + parts[4]} {
		if got, err := WhoIs(ctx, addr); err != nil || got != a.id {
			t.Errorf("%s: got %s, %v", addr, got, err)
		}
	}
	a.stop()
	if _, err := WhoIs(ctx, short); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
	for _, bad := range []string{"", "home", "/ip4/1.2.3.4", "a:b:c"} {
		if _, err := WhoIs(ctx, bad); !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Strangers on the link find pods that may let them in, and no others.
func TestNearby(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	if !multicast() {
		testneed.Missing(t, "no interface for multicast")
	}
	a := start(t, 1, func(c *Config, _ *fake) {
		c.Discover, c.Listen = true, []string{":0"}
		c.Enrol = func(context.Context, ident.Pod, []byte) ([]byte, error) { return nil, nil }
	})
	closed := start(t, 2, func(c *Config, _ *fake) { c.Discover, c.Listen = true, []string{":0"} })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var got Found
	if err := Nearby(ctx, func(f Found) {
		switch f.Pod {
		case a.id:
			got = f
			cancel()
		case closed.id:
			t.Error("a pod that lets nobody in is found")
		}
	}); err != nil {
		t.Fatal(err)
	}
	if len(got.Addrs) == 0 {
		t.Error("not found")
	}
}
