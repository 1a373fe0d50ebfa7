package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// anyService is the name under which pods of all networks announce themselves, for strangers who want to join one and don't know its id. It
// tells no name of a network.
const anyService = "_wormhole._udp"

// nearbyMax is how many pods one search finds at most.
const nearbyMax = 256

// Found is a pod and where it says that it listens.
type Found struct {
	Pod   ident.Pod
	Addrs []string
}

// announceToAll announces this pod to strangers on the local links, whatever network they want to join. Where no interface can, nothing is
// announced. The caller closes what it returns.
func (h *Host) announceToAll(ctx context.Context) mdns.Service {
	s := mdns.NewMdnsService(fresh{h.net, h}, anyService, deaf{})
	if err := s.Start(); err != nil {
		h.log.DebugContext(ctx, "mdns for strangers did not start", "err", err) // tried again with the other
	}
	return s
}

// deaf is told of others, and does nothing.
type deaf struct{}

// HandlePeerFound is called for each announcement heard.
func (deaf) HandlePeerFound(peer.AddrInfo) {}

// Nearby finds pods on the local links, of whatever network, until ctx ends, and calls f with each once, from several goroutines. Error: there
// is no interface to ask on. It listens meanwhile, since mDNS has nobody ask who can't be found.
func Nearby(ctx context.Context, f func(Found)) error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("p2p: key: %w", err)
	}
	n, _, err := newLibp2p(key, "")
	if err != nil {
		return err
	}
	defer func() { _ = n.Close() }() // nothing of it is kept
	listen, err := listenAddrs("0.0.0.0:0")
	if err != nil {
		return err
	}
	if err := n.Network().Listen(listen...); err != nil {
		return fmt.Errorf("p2p: search on the local links: %w", err)
	}
	s := mdns.NewMdnsService(n, anyService, &seeker{f: f, seen: make(map[ident.Pod]bool)})
	if err := s.Start(); err != nil {
		return fmt.Errorf("p2p: search on the local links: %w: %w", ErrUnreachable, err)
	}
	<-ctx.Done()
	_ = s.Close() // always nil
	return nil
}

// seeker takes what a search finds.
type seeker struct {
	f    func(Found)
	mu   sync.Mutex // guards seen
	seen map[ident.Pod]bool
}

// HandlePeerFound is called for each announcement heard.
func (s *seeker) HandlePeerFound(info peer.AddrInfo) {
	pod, err := podOf(info.ID)
	addrs := parseMultiaddrs(info.Addrs)
	if err != nil || len(addrs) == 0 {
		return
	}
	s.mu.Lock()
	known := s.seen[pod] || len(s.seen) >= nearbyMax
	s.seen[pod] = true
	s.mu.Unlock()
	if !known {
		s.f(Found{Pod: pod, Addrs: addrText(addrs, pod)})
	}
}

// WhoIs is the pod that answers at an address: HOST:PORT, or a multiaddr, of which /p2p/ID is believed without a question. That it is a pod of a certain
// network is not proved by this. Errors: ErrUnreachable; ErrProtocol for what is no address.
func WhoIs(ctx context.Context, addr string) (ident.Pod, error) {
	if info, err := peer.AddrInfoFromString(addr); err == nil {
		return podOf(info.ID)
	}
	at, err := parseAddr(addr)
	if err != nil {
		return ident.Pod{}, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	var keys [2]ed25519.PrivateKey
	for i := range keys {
		if _, keys[i], err = ed25519.GenerateKey(nil); err != nil {
			return ident.Pod{}, fmt.Errorf("p2p: key: %w", err)
		}
	}
	n, _, err := newLibp2p(keys[0], "")
	if err != nil {
		return ident.Pod{}, err
	}
	defer func() { _ = n.Close() }()                                         // nothing of it is kept
	nobody, err := peerID(ident.PodOf(keys[1].Public().(ed25519.PublicKey))) //nolint:errcheck,forcetypeassert // an ed25519.PrivateKey's
	if err != nil {
		return ident.Pod{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	// libp2p dials nobody whose name it doesn't know; who answers to a name that nobody has is told by the error.
	n.Peerstore().AddAddr(nobody, at, peerstore.TempAddrTTL)
	_, err = n.Network().DialPeer(ctx, nobody)
	if other, ok := errors.AsType[sec.ErrPeerIDMismatch](err); ok {
		return podOf(other.Actual)
	}
	return ident.Pod{}, fmt.Errorf("p2p: %s: %w: %w", addr, ErrUnreachable, err)
}
