package pod

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
)

// findTime is how long pods on the local links have to answer who wants to join: two networks of one name must both be seen.
const findTime = 3 * time.Second

// Find finds the pods to ask by who wants to join: the one at an address (HOST:PORT, or a multiaddr), else all on the local links, which takes three
// seconds. Errors: p2p.ErrUnreachable; p2p.ErrProtocol for what is neither a name nor an address.
func Find(ctx context.Context, where string) ([]p2p.Found, error) {
	if strings.ContainsAny(where, ":/") {
		pod, err := p2p.WhoIs(ctx, where)
		return []p2p.Found{{Pod: pod, Addrs: []string{where}}}, err
	}
	search, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	var mu sync.Mutex
	var out []p2p.Found
	err := p2p.Nearby(search, func(f p2p.Found) {
		mu.Lock()
		defer mu.Unlock()
		out = append(out, f)
	})
	mu.Lock()
	defer mu.Unlock()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out, err
}
