package p2p

import (
	"context"
	"time"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// searchInterval is the time between new searches while a known pod is not connected.
const searchInterval = 10 * time.Second

// mdnsService is the name under which the pods of a network announce themselves; RFC 6763 (section 7.2)
// allows 15 characters after the underscore.
func mdnsService(n ident.Network) string { return "_wh-" + n.Short() + "._udp" }

// discover announces this pod and finds others by mDNS. libp2p's service looks at the interfaces when it
// starts and never again, and asks less and less often, so it is started anew when the machine's addresses
// change and while a pod is missing.
func (h *Host) discover(ctx context.Context) error {
	for {
		s := mdns.NewMdnsService(fresh{h.net, h}, mdnsService(h.cfg.Network), notifee{h, ctx})
		if err := s.Start(); err != nil {
			h.log.DebugContext(ctx, "mdns did not start", "err", err) // no interface that can: tried again
		}
		var open mdns.Service
		if h.cfg.Enrol != nil {
			open = h.announceToAll(ctx)
		}
		err := h.untilSearch(ctx)
		_ = s.Close() // always nil
		if open != nil {
			_ = open.Close() // as above
		}
		if err != nil {
			return err
		}
	}
}

// untilSearch waits until there is a reason to start anew.
func (h *Host) untilSearch(ctx context.Context) error {
	for {
		t := h.clock.NewTimer(searchInterval)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-h.discoverKick:
			t.Stop()
			return nil
		case <-t.C:
			if h.missing() {
				return nil
			}
		}
	}
}

// missing says whether a known pod is not connected, or none is connected at all.
func (h *Host) missing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	connected := 0
	for pod, k := range h.known {
		if p := h.peers[pod]; p != nil && len(p.links) > 0 {
			connected++
		} else if k.keep {
			return true
		}
	}
	return connected == 0
}

// notifee takes what mDNS finds.
type notifee struct {
	h   *Host
	ctx context.Context //nolint:containedctx // of discover: libp2p calls HandlePeerFound without one
}

// HandlePeerFound is called for each announcement heard.
func (n notifee) HandlePeerFound(info peer.AddrInfo) {
	pod, err := podOf(info.ID)
	if err != nil || n.ctx.Err() != nil || n.h.Connected(pod) {
		return
	}
	if addrs := parseMultiaddrs(info.Addrs); len(addrs) > 0 {
		n.h.log.Debug("pod found", "pod", pod.String())
		n.h.foundBy(pod, addrs)
	}
}

// fresh is the host as mDNS sees it: with the addresses of now. libp2p's own are up to a minute old.
type fresh struct {
	libp2phost.Host
	h *Host
}

// Network is the host's, but for its addresses.
func (f fresh) Network() network.Network { return freshNetwork{f.Host.Network(), f.h} }

type freshNetwork struct {
	network.Network
	h *Host
}

// InterfaceListenAddresses are those that the host announces.
func (f freshNetwork) InterfaceListenAddresses() ([]ma.Multiaddr, error) { return f.h.listening(), nil }
