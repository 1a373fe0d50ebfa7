package p2p

import (
	"context"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/event"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
)

// kadStreamsMax is how many streams of the DHT a peer may have open to us: each may make us hold a message of 4 MiB, which is
// InFlightMax together. It needs one.
const kadStreamsMax = 8

// members is the libp2p host as Kademlia sees it: only pods that both sides admitted are there. It hears of a peer after the hello,
// its streams are served after it, and its dials say hello.
type members struct {
	libp2phost.Host
	k   *kademlia
	bus event.Bus

	found, gone event.Emitter
}

func newMembers(k *kademlia) (*members, error) {
	m := &members{Host: k.h.net, k: k, bus: eventbus.NewBus()}
	var err error
	if m.found, err = m.bus.Emitter(new(event.EvtPeerIdentificationCompleted)); err != nil {
		return nil, fmt.Errorf("p2p: dht: %w", err)
	}
	if m.gone, err = m.bus.Emitter(new(event.EvtPeerConnectednessChanged)); err != nil {
		return nil, fmt.Errorf("p2p: dht: %w", err)
	}
	return m, nil
}

// EventBus has only what Kademlia is to hear.
func (m *members) EventBus() event.Bus { return m.bus }

// Network knows only members.
func (m *members) Network() network.Network { return memberNetwork{m.Host.Network(), m.k.h} }

// Connect dials and says hello.
func (m *members) Connect(ctx context.Context, info peer.AddrInfo) error {
	_, err := m.link(ctx, info)
	return err
}

// link is the link to a peer, dialled at need at the addresses that are known of it here and in libp2p.
func (m *members) link(ctx context.Context, info peer.AddrInfo) (*link, error) {
	pod, err := podOf(info.ID)
	if err != nil {
		return nil, err
	}
	if l, err := m.k.h.link(pod); err == nil {
		return l, nil
	}
	var addrs []string
	for _, a := range slices.Concat(info.Addrs, m.Peerstore().Addrs(info.ID)) {
		addrs = append(addrs, a.String())
	}
	if err := m.k.h.Connect(ctx, pod, addrs[:min(len(addrs), 2*PeerAddrsMax)]); err != nil {
		return nil, err
	}
	return m.k.h.link(pod)
}

// NewStream opens a stream on the link to a peer.
func (m *members) NewStream(ctx context.Context, id peer.ID, protos ...protocol.ID) (network.Stream, error) {
	l, err := m.link(ctx, peer.AddrInfo{ID: id})
	if err != nil {
		return nil, err
	}
	m.k.asked.Add(1)
	return openStream(ctx, l.conn.net, protos[0])
}

// SetStreamHandler has streams of members served, and others reset.
func (m *members) SetStreamHandler(proto protocol.ID, serve network.StreamHandler) {
	h := m.k.h
	m.Host.SetStreamHandler(proto, func(s network.Stream) {
		reset := func() { _ = s.Reset() }
		h.start(func() { m.serve(s, serve) }, reset)
	})
}

func (m *members) serve(s network.Stream, serve network.StreamHandler) {
	c := m.k.h.conn(s.Conn())
	ctx, cancel := context.WithTimeout(m.k.h.ctx, helloTimeout)
	l, err := c.wait(ctx) // the hello may still be under way on its own stream
	cancel()
	if err != nil || l == nil {
		_ = s.Reset()
		return
	}
	if l.kadStreams.Add(1) > kadStreamsMax {
		l.kadStreams.Add(-1)
		_ = s.Reset()
		return
	}
	defer l.kadStreams.Add(-1)
	serve(s)
}

// admitted tells Kademlia of a new link, once libp2p knows what the peer speaks.
func (m *members) admitted(l *link) {
	service, ok := m.Host.(interface{ IDService() identify.IDService })
	if !ok {
		return
	}
	select {
	case <-service.IDService().IdentifyWait(l.conn.net):
	case <-l.ctx.Done():
		return
	}
	_ = m.found.Emit(event.EvtPeerIdentificationCompleted{Peer: l.conn.net.RemotePeer(), Conn: l.conn.net}) // fails only when closed
	kick(m.k.kicked)
}

// lost tells Kademlia that the last link to a peer ended. It leaves the routing table at once, so that no lookup waits for it; its addresses are
// told for some time.
func (m *members) lost(l *link) {
	id := l.conn.net.RemotePeer()
	m.k.dht.RoutingTable().RemovePeer(id)
	_ = m.gone.Emit(event.EvtPeerConnectednessChanged{Peer: id, Connectedness: network.NotConnected}) // fails only when closed
}

// memberNetwork is libp2p's network, of which only members are told.
type memberNetwork struct {
	network.Network
	h *Host
}

// Peers are connected members.
func (n memberNetwork) Peers() []peer.ID {
	var out []peer.ID
	for _, p := range n.h.Peers() {
		if id, err := peerID(p.Pod); err == nil {
			out = append(out, id)
		}
	}
	return out
}

// Connectedness is that of a member.
func (n memberNetwork) Connectedness(id peer.ID) network.Connectedness {
	if pod, err := podOf(id); err == nil && n.h.Connected(pod) {
		return network.Connected
	}
	return network.NotConnected
}
