package p2p

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	golog "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// The protocols served.
const (
	protoX     protocol.ID = "/wormhole/x/1"
	protoEnrol protocol.ID = "/wormhole/enrol/1"
)

const (
	helloTimeout = 5 * time.Second // for the hellos of both sides, from the start of a connection
	dialTimeout  = 5 * time.Second // for TCP and TLS to one address
	pollInterval = 2 * time.Second // between looks at the machine's addresses
)

// Host is this pod's end of the network. It is safe for concurrent use.
type Host struct {
	cfg      Config
	clock    clock.Clock
	log      *slog.Logger
	pod      ident.Pod
	instance uint64 // random: where the numbers of sessions begin
	net      libp2phost.Host
	kad      *kademlia // nil: no DHT

	ctx    context.Context //nolint:containedctx // ends when the host closes: its goroutines and the callbacks of libp2p have no other
	cancel context.CancelFunc
	wg     sync.WaitGroup // goroutines of start and stream handlers; none is added once closed is set

	dialKick     chan struct{} // capacity 1: look at the known pods now
	discoverKick chan struct{} // capacity 1: the machine's addresses changed

	enrolments enrolLimits
	port       int // of the first listener; set by New

	mu      sync.Mutex // guards the fields below; never held while the Handler is called or a peer is waited for
	running bool
	closed  bool
	conns   map[network.Conn]*conn
	dials   map[ident.Pod]*dial // calls of Connect under way
	peers   map[ident.Pod]*remote
	known   map[ident.Pod]*known
	local   []netip.Addr   // of the machine, when last looked at
	more    []ma.Multiaddr // Config.Announce
}

// New makes a host with this configuration and listens. Peers are served at once; known ones are dialled,
// and others discovered, by Run. A host that does not Run is ended by Close.
func New(c Config) (*Host, error) {
	switch {
	case c.Hello == nil || c.Admit == nil || c.Handler == nil:
		return nil, errors.New("p2p: Hello, Admit and Handler must be set")
	case len(c.Key) == 0:
		return nil, errors.New("p2p: Key must be set")
	}
	h := &Host{
		cfg:          c,
		clock:        c.Clock,
		log:          c.Log,
		dialKick:     make(chan struct{}, 1),
		discoverKick: make(chan struct{}, 1),
		conns:        make(map[network.Conn]*conn),
		dials:        make(map[ident.Pod]*dial),
		peers:        make(map[ident.Pod]*remote),
		known:        make(map[ident.Pod]*known),
	}
	if h.clock == nil {
		h.clock = clock.Real{}
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	h.instance = binary.BigEndian.Uint64(random[:])

	n, pod, err := newLibp2p(c.Key, c.Agent)
	if err != nil {
		return nil, err
	}
	h.net, h.pod = n, pod
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.more = parseAddrs(c.Announce)
	if h.local, err = localAddrs(); err != nil {
		h.log.Warn("addresses of interfaces are not known", "err", err)
	}
	n.Network().Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { h.opened(c) },
		DisconnectedF: func(_ network.Network, c network.Conn) { h.gone(c) },
	})
	n.SetStreamHandler(protoX, func(s network.Stream) { h.start(func() { h.serveX(s) }, func() { _ = s.Reset() }) })
	n.SetStreamHandler(protoClass, noStream)
	n.SetStreamHandler(protoEnrol, func(s network.Stream) { h.start(func() { h.serveEnrol(s) }, func() { _ = s.Reset() }) })
	if c.DHT != nil {
		if h.kad, err = newKademlia(h, *c.DHT); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	for _, l := range c.Listen {
		if err := h.listen(l); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return h, nil
}

var quiet sync.Once

// newLibp2p makes a libp2p host that speaks TCP with TLS 1.3 alone and listens nowhere yet.
func newLibp2p(key []byte, version string) (libp2phost.Host, ident.Pod, error) {
	quiet.Do(func() { // their logs would go to stderr
		gologshim.SetDefaultHandler(slog.DiscardHandler)
		golog.SetupLogging(golog.Config{Level: golog.LevelFatal})
	})
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, ident.Pod{}, fmt.Errorf("p2p: key: %w", err)
	}
	rm, err := newResourceManager()
	if err != nil {
		return nil, ident.Pod{}, err
	}
	n, err := libp2p.New(
		libp2p.Identity(priv),
		libp2p.NoListenAddrs,
		// Reusing the listener's port for dials would let two pods that dial each other at once meet in one
		// TCP connection with two TLS clients, and let two processes listen on one port unnoticed.
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport(), tcp.WithConnectionTimeout(dialTimeout)),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Muxer("/yamux/1.0.0", newMuxer()),
		libp2p.ResourceManager(rm),
		libp2p.ConnectionManager(connmgr.NullConnMgr{}),                 // no trimming: a pod keeps all its peers
		libp2p.SwarmOpts(swarm.WithDialRanker(swarm.NoDelayDialRanker)), // all addresses of a pod at once
		libp2p.WithDialTimeout(dialTimeout),
		libp2p.DisableRelay(),
		libp2p.Ping(false),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.UserAgent(agentName+version),
	)
	if err != nil {
		return nil, ident.Pod{}, errors.Join(fmt.Errorf("p2p: %w", err), rm.Close())
	}
	pod, err := podOf(n.ID())
	if err != nil {
		return nil, ident.Pod{}, errors.Join(err, n.Close())
	}
	return n, pod, nil
}

// listen listens on one entry of Config.Listen. On all addresses IPv6 takes the port that IPv4 got, and is
// left out where the machine has none.
func (h *Host) listen(entry string) error {
	addrs, err := listenAddrs(entry)
	if err != nil {
		return err
	}
	for i, a := range addrs {
		if i > 0 && tcpPort(a) == 0 {
			if a, err = parseAddr("[::]:" + strconv.Itoa(h.port)); err != nil {
				return err
			}
		}
		if err := h.net.Network().Listen(a); err != nil {
			if i > 0 {
				h.log.Info("not listening", "addr", a.String(), "err", err)
				break
			}
			return fmt.Errorf("p2p: listen on %s: %w", entry, err)
		}
		if h.port == 0 {
			h.port = tcpPort(h.net.Network().ListenAddresses()[0])
		}
	}
	return nil
}

// Run keeps connections to known pods, discovers others and watches the machine's addresses, until ctx
// ends; then the host is closed, and the error is ctx's. It is called once.
func (h *Host) Run(ctx context.Context) error {
	h.mu.Lock()
	again := h.running || h.closed
	h.running = true
	h.mu.Unlock()
	if again {
		return fmt.Errorf("p2p: run again: %w", ErrClosed)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(h.ctx, stop)() //nolint:contextcheck // both contexts count: Close ends Run too
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.keepConnected(gctx) })
	g.Go(func() error { return h.watchAddrs(gctx) })
	if h.kad != nil {
		g.Go(func() error { return h.kad.seek(gctx) })
	}
	if h.cfg.Discover {
		g.Go(func() error { return h.discover(gctx) })
	}
	err := g.Wait()
	return errors.Join(err, h.Close())
}

// Close ends all connections and waits for what the host started, Handler calls included. It may be called
// again.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	var err error
	if h.kad != nil {
		err = h.kad.close()
	}
	err = errors.Join(err, h.net.Close())
	h.wg.Wait()
	if err != nil {
		return fmt.Errorf("p2p: close: %w", err)
	}
	return nil
}

// start runs f in a goroutine that Close waits for; if the host is closed, it calls otherwise instead.
func (h *Host) start(f, otherwise func()) {
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.wg.Add(1)
	}
	h.mu.Unlock()
	if closed {
		otherwise()
		return
	}
	go func() {
		defer h.wg.Done()
		f()
	}()
}

// Pod is this host's own pod.
func (h *Host) Pod() ident.Pod { return h.pod }

// Addrs are the multiaddrs, with /p2p/ID, at which this host can be reached now: those of the machine's
// interfaces if it listens on all addresses, the loopback last.
func (h *Host) Addrs() []string { return addrText(h.listening(), h.pod) }

func (h *Host) listening() []ma.Multiaddr {
	h.mu.Lock()
	local, more := h.local, h.more
	h.mu.Unlock()
	return mergeAddrs(more, announced(h.net.Network().ListenAddresses(), local))
}

// Announce has others told these addresses beside those where this pod listens, in place of those of before: HOST:PORT or multiaddrs; what can't be read is left out.
func (h *Host) Announce(addrs []string) {
	more := parseAddrs(addrs)
	h.mu.Lock()
	same := slices.EqualFunc(more, h.more, func(a, b ma.Multiaddr) bool { return a.Equal(b) })
	h.more = more
	h.mu.Unlock()
	if same {
		return
	}
	body := encodeAddrs(h.listening())
	for _, l := range h.links() {
		l.out.control(frameHeader{typ: frameAddrs}, body)
	}
}

// ListenPort is the TCP port of the first listener, or 0 without one.
func (h *Host) ListenPort() int { return h.port }

// watchAddrs looks at the machine's addresses. When they change, connections from one that is gone end,
// peers are told the new ones, and known pods are dialled and looked for at once.
func (h *Host) watchAddrs(ctx context.Context) error {
	for {
		if err := clock.Sleep(ctx, h.clock, pollInterval); err != nil {
			return err
		}
		now, err := localAddrs()
		if err != nil {
			h.log.DebugContext(ctx, "addresses of interfaces are not known", "err", err)
			continue
		}
		h.mu.Lock()
		same := slices.Equal(now, h.local)
		h.local = now
		h.mu.Unlock()
		if same {
			continue
		}
		h.log.InfoContext(ctx, "addresses of this machine changed", "addrs", h.Addrs())
		body := encodeAddrs(h.listening())
		for _, l := range h.links() {
			if ip, err := manet.ToIP(l.conn.net.LocalMultiaddr()); err == nil && !hasAddr(now, ip) {
				l.end(fmt.Errorf("p2p: address %s is gone from this machine: %w", ip, ErrUnreachable))
				continue
			}
			l.out.control(frameHeader{typ: frameAddrs}, body)
		}
		h.hurry()
		kick(h.discoverKick)
	}
}

// kick makes the reader of a channel of capacity 1 look again.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
