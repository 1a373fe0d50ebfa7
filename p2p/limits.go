package p2p

import (
	"fmt"
	"io"
	"math"

	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/x/rate"
)

// Limits of libp2p's resource manager, the same on every machine: its own grow with the memory and refuse
// the ninth connection from one IPv4 address. Many pods behind one address are normal here, strangers are
// cut off after helloTimeout, and what a member may hold is bounded by the streams below.
const (
	connsMax        = 1024      // connections in all
	connsInMax      = 768       // of these from outside
	handshakesMax   = 256       // connections that are being secured
	peerConnsMax    = 8         // connections with one peer; simultaneous dials and stale ones make more than one
	peerStreamsMax  = 128       // streams with one peer: ours, and identify's
	systemMemoryMax = 1 << 30   // bytes of stream windows in all
	peerMemoryMax   = 128 << 20 // bytes of stream windows of one peer
	handshakeMemory = 64 << 20  // bytes of stream windows before a peer or protocol is known

	// streamWindowMax is how many bytes of one stream may wait unread: enough for 1 Gbit/s at 30 ms. With
	// getStreamsMax streams it is InFlightMax.
	streamWindowMax = 4 << 20
)

func newResourceManager() (network.ResourceManager, error) {
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: connsMax, ConnsInbound: connsInMax, ConnsOutbound: connsMax, FD: connsMax,
			Streams: connsMax * 64, StreamsInbound: connsMax * 32, StreamsOutbound: connsMax * 32, Memory: systemMemoryMax,
		},
		Transient: rcmgr.ResourceLimits{
			Conns: handshakesMax, ConnsInbound: handshakesMax, ConnsOutbound: handshakesMax, FD: handshakesMax,
			Streams: 2 * handshakesMax, StreamsInbound: handshakesMax, StreamsOutbound: handshakesMax, Memory: handshakeMemory,
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: peerConnsMax, ConnsInbound: peerConnsMax, ConnsOutbound: peerConnsMax, FD: peerConnsMax,
			Streams: peerStreamsMax, StreamsInbound: peerStreamsMax, StreamsOutbound: peerStreamsMax, Memory: peerMemoryMax,
		},
	}
	every := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 0, ConnCount: connsMax}}
	rm, err := rcmgr.NewResourceManager(
		rcmgr.NewFixedLimiter(limits.Build(rcmgr.InfiniteLimits)),
		rcmgr.WithLimitPerSubnet(every, every),
		rcmgr.WithConnRateLimiters(&rate.Limiter{}), // the zero limiter lets everything pass
		rcmgr.WithMetricsDisabled(),
	)
	if err != nil {
		return nil, fmt.Errorf("p2p: resource manager: %w", err)
	}
	return rm, nil
}

// newMuxer is yamux with windows of streamWindowMax.
func newMuxer() *yamux.Transport {
	c := *yamux.DefaultTransport.Config()
	c.MaxStreamWindowSize = streamWindowMax
	c.LogOutput = io.Discard
	c.MaxIncomingStreams = math.MaxUint32 // the resource manager counts them
	return (*yamux.Transport)(&c)
}
