package pod

import (
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// PeerInfo is another pod of the network, and the connection to it.
type PeerInfo struct {
	Pod            ident.Pod
	Name           string
	Connected      bool
	Addr           string        // of the connection: a multiaddr
	Transport      string        // tcp or quic
	Direct         bool          // not by way of a relay
	RTT            time.Duration // 0: not known yet
	Since          time.Time     // connected since; else, when it was tried last; zero: never
	Sent, Received p2p.Traffic
	Addrs          []string // at which it is, or was, to be found
	Why            string   // it is not connected, for people
}

// Peers are all pods of the network but this one, by name.
func (p *Pod) Peers() []PeerInfo {
	connected := map[ident.Pod]p2p.Peer{}
	for _, peer := range p.net.Peers() {
		connected[peer.Pod] = peer
	}
	absent := map[ident.Pod]p2p.Absent{}
	for _, a := range p.net.Absent() {
		absent[a.Pod] = a
	}
	var out []PeerInfo
	for _, cert := range p.reg.pods() {
		pod := cert.Pod()
		if pod == p.id {
			continue
		}
		if peer, ok := connected[pod]; ok {
			out = append(out, connectedPeer(cert.Name, peer))
			continue
		}
		a := absent[pod]
		out = append(out, PeerInfo{Pod: pod, Name: cert.Name, Addrs: a.Addrs, Since: a.Tried, Why: p.whyAbsent(a)})
	}
	return out
}

// DHT tells what the DHT does; ok is false where there is none.
func (p *Pod) DHT() (s p2p.DHTStats, ok bool) {
	d := p.dht()
	if d == nil {
		return s, false
	}
	return d.Stats(), true
}

func connectedPeer(name string, peer p2p.Peer) PeerInfo {
	transport := "tcp"
	if strings.Contains(peer.Addr, "/quic") {
		transport = "quic"
	}
	return PeerInfo{
		Pod: peer.Pod, Name: name, Connected: true, Addr: peer.Addr, Transport: transport, Direct: !strings.Contains(peer.Addr, "/p2p-circuit"),
		RTT: peer.RTT, Since: peer.Since, Sent: peer.Sent, Received: peer.Received, Addrs: peer.Addrs,
	}
}

func (p *Pod) whyAbsent(a p2p.Absent) string {
	switch {
	case p.o.Offline:
		return "this machine was started with --offline"
	case len(a.Addrs) == 0:
		return "none of its addresses is known: it was never met, and no connected pod knows it"
	case a.Failed != nil:
		return a.Failed.Error()
	case a.Tried.IsZero():
		return "it was not tried yet"
	}
	return "the connection ended"
}
