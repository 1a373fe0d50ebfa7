package p2p

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p-kad-dht/provider"
	"github.com/libp2p/go-libp2p-kad-dht/provider/keystore"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/event"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// kadNet is a network in memory of nodes that run the DHT's own code and nothing else of a host: dials succeed at once while both ends are up, and what is sent takes kadDelay.
type kadNet struct {
	mu    sync.Mutex // guards the maps of all nodes, and the field below
	nodes map[peer.ID]*kadNode

	requests [8]atomic.Int64 // by their type
	bytes    atomic.Int64    // of requests and answers
	dials    atomic.Int64
}

const kadDelay = 5 * time.Millisecond

// kadNode is one of them: the host as the DHT sees it, as members is for a Host.
type kadNode struct {
	libp2phost.Host // what it does not have the DHT does not use

	net   *kadNet
	id    peer.ID
	pod   ident.Pod
	addr  ma.Multiaddr
	peers peerstore.Peerstore
	bus   event.Bus
	found event.Emitter

	store   *datastoreOf
	dht     *dht.IpfsDHT
	sweeper *provider.SweepingProvider
	keys    keystore.Keystore

	serve map[protocol.ID]network.StreamHandler
	links map[peer.ID]bool
	open  map[*kadStream]bool
	off   bool
}

// kadHeads takes all heads.
type kadHeads struct{}

func (kadHeads) Validate(string, []byte) error        { return nil }
func (kadHeads) Select(string, [][]byte) (int, error) { return 0, nil }

// node adds a node, which knows nobody yet.
func (n *kadNet) node(t *testing.T, i int) *kadNode {
	t.Helper()
	seed := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
	public, ok := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no public key")
	}
	pod := ident.PodOf(public)
	id, err := peerID(pod)
	if err != nil {
		t.Fatal(err)
	}
	peers, err := pstoremem.NewPeerstore()
	if err != nil {
		t.Fatal(err)
	}
	k := &kadNode{
		net: n, id: id, pod: pod, peers: peers, bus: eventbus.NewBus(), store: newDatastore(nil),
		addr:  ma.StringCast(fmt.Sprintf("/ip4/10.%d.%d.1/tcp/4001", i>>8, i&255)),
		serve: map[protocol.ID]network.StreamHandler{}, links: map[peer.ID]bool{}, open: map[*kadStream]bool{},
	}
	if k.found, err = k.bus.Emitter(new(event.EvtPeerIdentificationCompleted)); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.nodes[id] = k
	n.mu.Unlock()
	k.dht, err = dht.New(k, kadOptions(testNetwork, k, k.store, kadHeads{}, func(m *pb.Message) { n.requests[m.GetType()].Add(1) })...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// announce has a node found as a holder of keys, as kademlia.Announce does.
func (k *kadNode) announce(t *testing.T, keys []Key) {
	t.Helper()
	var err error
	if k.sweeper, k.keys, err = newSweeper(k, k.dht, k.store, k.Addrs); err != nil {
		t.Fatal(err)
	}
	var want []multihash.Multihash
	for _, key := range append(keys, networkKey(testNetwork)) {
		want = append(want, hashOf(key))
	}
	if err := k.sweeper.StartProviding(false, want...); err != nil {
		t.Fatal(err)
	}
}

// close ends a node without a word to the others.
func (k *kadNode) close() error {
	k.net.mu.Lock()
	k.off = true
	delete(k.net.nodes, k.id)
	var open []*kadStream
	for s := range k.open {
		open = append(open, s)
	}
	var left []*kadNode
	for id := range k.links {
		if o := k.net.nodes[id]; o != nil {
			delete(o.links, k.id)
			left = append(left, o)
		}
	}
	k.net.mu.Unlock()
	for _, s := range open {
		_ = s.Reset()
	}
	for _, o := range left {
		o.dht.RoutingTable().RemovePeer(k.id) // as members.lost does
	}
	var errs []error
	if k.sweeper != nil {
		if err := k.sweeper.Close(); !errors.Is(err, context.Canceled) { // it may be at it
			errs = append(errs, err)
		}
		errs = append(errs, k.keys.Close())
	}
	return errors.Join(append(errs, k.dht.Close(), k.found.Close(), k.peers.Close())...)
}

// link connects two nodes, and tells both DHTs as members.admitted does.
func (k *kadNode) link(id peer.ID) (*kadNode, error) {
	k.net.mu.Lock()
	o := k.net.nodes[id]
	known := k.links[id]
	if o == nil || k.off {
		k.net.mu.Unlock()
		return nil, fmt.Errorf("dial %s: %w", id, ErrUnreachable)
	}
	k.links[id], o.links[k.id] = true, true
	k.net.mu.Unlock()
	if known {
		return o, nil
	}
	k.net.dials.Add(1)
	for _, end := range [][2]*kadNode{{k, o}, {o, k}} {
		me, other := end[0], end[1]
		me.peers.AddAddr(other.id, other.addr, peerstore.PermanentAddrTTL)
		if err := me.peers.AddProtocols(other.id, protocol.ID("/wormhole/"+testNetwork.String()+"/kad/1.0.0")); err != nil {
			return nil, err
		}
		_ = me.found.Emit(event.EvtPeerIdentificationCompleted{Peer: other.id}) // fails only when closed
	}
	return o, nil
}

func (k *kadNode) ID() peer.ID                      { return k.id }
func (k *kadNode) Peerstore() peerstore.Peerstore   { return k.peers }
func (k *kadNode) Addrs() []ma.Multiaddr            { return []ma.Multiaddr{k.addr} }
func (k *kadNode) Network() network.Network         { return kadLinks{k: k} }
func (k *kadNode) ConnManager() connmgr.ConnManager { return connmgr.NullConnMgr{} }
func (k *kadNode) EventBus() event.Bus              { return k.bus }

// Connect is host.Host's.
func (k *kadNode) Connect(_ context.Context, info peer.AddrInfo) error {
	_, err := k.link(info.ID)
	return err
}

// SetStreamHandler is host.Host's.
func (k *kadNode) SetStreamHandler(p protocol.ID, serve network.StreamHandler) {
	k.net.mu.Lock()
	defer k.net.mu.Unlock()
	k.serve[p] = serve
}

// RemoveStreamHandler is host.Host's.
func (k *kadNode) RemoveStreamHandler(p protocol.ID) {
	k.net.mu.Lock()
	defer k.net.mu.Unlock()
	delete(k.serve, p)
}

// NewStream is host.Host's.
func (k *kadNode) NewStream(_ context.Context, id peer.ID, protos ...protocol.ID) (network.Stream, error) {
	o, err := k.link(id)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	mine := &kadStream{pipe: near, of: k, to: o, proto: protos[0]}
	theirs := &kadStream{pipe: far, of: o, to: k, proto: protos[0]}
	k.net.mu.Lock()
	serve := o.serve[protos[0]]
	k.open[mine], o.open[theirs] = true, true
	k.net.mu.Unlock()
	if serve == nil {
		_ = mine.Reset()
		return nil, ErrUnreachable
	}
	go serve(theirs)
	return mine, nil
}

// kadLinks is the network of a node: whom it is connected with.
type kadLinks struct {
	network.Network

	k *kadNode
}

// Peers is network.Network's.
func (l kadLinks) Peers() []peer.ID {
	l.k.net.mu.Lock()
	defer l.k.net.mu.Unlock()
	var out []peer.ID
	for id := range l.k.links {
		out = append(out, id)
	}
	return out
}

// Conns is network.Network's.
func (l kadLinks) Conns() []network.Conn { return nil }

// Connectedness is network.Network's.
func (l kadLinks) Connectedness(id peer.ID) network.Connectedness {
	l.k.net.mu.Lock()
	defer l.k.net.mu.Unlock()
	if l.k.links[id] {
		return network.Connected
	}
	return network.NotConnected
}

// kadStream is one end of a stream.
type kadStream struct {
	pipe   net.Conn
	of, to *kadNode
	proto  protocol.ID
}

// Read is io.Reader's.
func (s *kadStream) Read(b []byte) (int, error) { return s.pipe.Read(b) }

// Write is io.Writer's.
func (s *kadStream) Write(b []byte) (int, error) {
	time.Sleep(kadDelay) // of the bubble's time
	s.of.net.bytes.Add(int64(len(b)))
	return s.pipe.Write(b)
}

// Close is network.Stream's.
func (s *kadStream) Close() error {
	s.of.net.mu.Lock()
	delete(s.of.open, s)
	s.of.net.mu.Unlock()
	return s.pipe.Close()
}

func (s *kadStream) CloseWrite() error                            { return nil }
func (s *kadStream) CloseRead() error                             { return nil }
func (s *kadStream) Reset() error                                 { return s.Close() }
func (s *kadStream) ResetWithError(network.StreamErrorCode) error { return s.Close() }
func (s *kadStream) As(any) bool                                  { return false }
func (s *kadStream) ID() string                                   { return "" }
func (s *kadStream) Protocol() protocol.ID                        { return s.proto }
func (s *kadStream) SetProtocol(protocol.ID) error                { return nil }
func (s *kadStream) Stat() network.Stats                          { return network.Stats{} }
func (s *kadStream) Scope() network.StreamScope                   { return &network.NullScope{} }
func (s *kadStream) Conn() network.Conn                           { return kadConn{s: s} }
func (s *kadStream) SetDeadline(at time.Time) error               { return s.pipe.SetDeadline(at) }
func (s *kadStream) SetReadDeadline(at time.Time) error           { return s.pipe.SetReadDeadline(at) }

func (s *kadStream) SetWriteDeadline(at time.Time) error { return s.pipe.SetWriteDeadline(at) }

// kadConn is what a stream tells of its connection.
type kadConn struct {
	network.Conn

	s *kadStream
}

// RemotePeer is network.Conn's.
func (c kadConn) RemotePeer() peer.ID { return c.s.to.id }

// RemoteMultiaddr is network.Conn's.
func (c kadConn) RemoteMultiaddr() ma.Multiaddr { return c.s.to.addr }
