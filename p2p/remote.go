package p2p

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// suspectAfter is the silence after which another link to the peer is preferred, if there is one.
const suspectAfter = 2500 * time.Millisecond

// settleTime is how long the end of several links to one peer may take.
const settleTime = 200 * time.Millisecond

// remote is a pod that was admitted at least once.
type remote struct {
	pod ident.Pod
	// calls is held while Connected or Disconnected is called, so that they take turns. It is taken
	// before Host.mu.
	calls sync.Mutex
	links []*link // guarded by Host.mu; the oldest first
	times int     // Connected was called; guarded by Host.mu
	// sessions counts how often the pod was connected after it had no link at all; guarded by Host.mu.
	sessions uint64
	told     toldQueue
}

// link returns the link to use for a pod, or an ErrUnreachable. It is the oldest, so that messages keep
// their order, unless that one is silent and another isn't.
func (h *Host) link(pod ident.Pod) (*link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.peers[pod]
	switch {
	case h.closed:
		return nil, fmt.Errorf("p2p: %s: %w", pod, ErrClosed)
	case p == nil || len(p.links) == 0:
		return nil, fmt.Errorf("p2p: %s is not connected: %w", pod, ErrUnreachable)
	}
	best := p.links[0]
	for _, l := range p.links[1:] {
		if clock.Since(h.clock, best.heardAt()) > suspectAfter && l.heardAt().After(best.heardAt()) {
			best = l
		}
	}
	return best, nil
}

// links are all links.
func (h *Host) links() []*link {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*link
	for _, p := range h.peers {
		out = append(out, p.links...)
	}
	return out
}

// session is the instance to show a pod: it is another one after this pod was started anew, and after all
// links ended as seen from here. The pod may not know that they did.
func (h *Host) session(pod ident.Pod) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.peers[pod]
	switch {
	case p == nil:
		return h.instance + 1
	case len(p.links) == 0:
		return h.instance + p.sessions + 1
	}
	return h.instance + p.sessions
}

// linkUp makes a link of a connection on which both sides were admitted. Links of an earlier session of
// the peer are dead, whatever TCP thinks, and end.
func (h *Host) linkUp(c *conn, s network.Stream, r *bufio.Reader, instance uint64) (*link, error) {
	l := newLink(h, c, s, r, instance)
	h.mu.Lock()
	p := h.peers[c.pod]
	if p == nil {
		p = &remote{pod: c.pod}
		h.peers[c.pod] = p
	}
	h.mu.Unlock()
	l.peer = p

	p.calls.Lock()
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		p.calls.Unlock()
		l.cancel(ErrClosed)
		return nil, ErrClosed
	}
	before := len(p.links)
	var stale []*link
	p.links = slices.DeleteFunc(p.links, func(o *link) bool {
		if o.instance != instance {
			stale = append(stale, o)
			return true
		}
		return false
	})
	p.links = append(p.links, l)
	if before == 0 {
		p.sessions++
	}
	h.mu.Unlock()
	if len(stale) > 0 {
		h.callDisconnected(c.pod)
	}
	if before == len(stale) {
		h.callConnected(p)
	}
	p.calls.Unlock()

	c.decide(l, nil)
	for _, o := range stale {
		o.end(errors.New("the peer began anew"))
	}
	l.out.control(frameHeader{typ: frameAddrs}, encodeAddrs(h.listening()))
	if h.kad != nil {
		h.start(func() { h.kad.view.admitted(l) }, func() {})
	}
	h.log.Info("pod connected", "pod", c.pod.String(), "addr", c.net.RemoteMultiaddr().String(), "direction", c.net.Stat().Direction.String())
	return l, nil
}

// linkDown forgets a link that ended. If another link to the peer lives on, the Handler still sees the peer
// go and come, since messages may have been lost with this one; but not if the other ends within
// settleTime, as they do together when a cable or the peer is gone.
func (h *Host) linkDown(l *link) {
	p := l.peer
	p.calls.Lock()
	defer p.calls.Unlock()
	h.mu.Lock()
	i := slices.Index(p.links, l)
	if i >= 0 {
		p.links = slices.Delete(p.links, i, i+1)
	}
	left, times := len(p.links), p.times
	h.mu.Unlock()
	if i < 0 {
		return
	}
	if left > 0 {
		h.start(func() { h.bounce(p, times) }, func() {})
		return
	}
	if h.kad != nil {
		h.kad.view.lost(l)
	}
	h.callDisconnected(p.pod)
	h.log.Info("pod disconnected", "pod", p.pod.String(), "err", context.Cause(l.ctx))
	h.lost(p.pod)
}

// bounce shows the Handler that a peer went and came, unless it went, or did so already, meanwhile.
func (h *Host) bounce(p *remote, times int) {
	if clock.Sleep(h.ctx, h.clock, settleTime) != nil {
		return
	}
	p.calls.Lock()
	defer p.calls.Unlock()
	h.mu.Lock()
	same := len(p.links) > 0 && p.times == times
	h.mu.Unlock()
	if same {
		h.callDisconnected(p.pod)
		h.callConnected(p)
	}
}

func (h *Host) callConnected(p *remote) {
	h.mu.Lock()
	p.times++
	h.mu.Unlock()
	pod := p.pod
	_ = h.guard("connected", func() error { h.cfg.Handler.Connected(pod); return nil }) // logged there
}

func (h *Host) callDisconnected(pod ident.Pod) {
	_ = h.guard("disconnected", func() error { h.cfg.Handler.Disconnected(pod); return nil }) // logged there
}

// Peers are the connected pods, by id.
func (h *Host) Peers() []Peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Peer
	for _, p := range h.peers {
		if len(p.links) == 0 {
			continue
		}
		since, heard := p.links[0].since, p.links[0].heardAt()
		for _, l := range p.links[1:] {
			if l.heardAt().After(heard) {
				heard = l.heardAt()
			}
		}
		var addrs []ma.Multiaddr
		if k := h.known[p.pod]; k != nil {
			addrs = k.announced
		}
		out = append(out, Peer{
			Pod:       p.pod,
			Addr:      p.links[0].conn.net.RemoteMultiaddr().String(),
			Addrs:     addrText(addrs, p.pod),
			RTT:       time.Duration(p.links[0].rtt.Load()),
			Since:     since,
			LastHeard: heard,
			Agent:     h.agentOf(p.pod),
			Sent:      p.links[0].conn.sent.traffic(),
			Received:  p.links[0].conn.received.traffic(),
		})
	}
	slices.SortFunc(out, func(a, b Peer) int { return cmp.Compare(string(a.Pod[:]), string(b.Pod[:])) })
	return out
}

// Absent are the pods that are dialled and not connected, by id.
func (h *Host) Absent() []Absent {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Absent
	for pod, k := range h.known {
		if p := h.peers[pod]; p != nil && len(p.links) > 0 {
			continue
		}
		out = append(out, Absent{Pod: pod, Addrs: addrText(mergeAddrs(k.found, k.announced, k.remembered), pod), Tried: k.tried, Failed: k.failed})
	}
	slices.SortFunc(out, func(a, b Absent) int { return cmp.Compare(string(a.Pod[:]), string(b.Pod[:])) })
	return out
}

// Connected says whether a pod is connected.
func (h *Host) Connected(pod ident.Pod) bool {
	_, err := h.link(pod)
	return err == nil
}

// Disconnect closes all connections to a pod, soon. To keep it away, Forget it, and refuse it in Admit: it
// may dial us.
func (h *Host) Disconnect(pod ident.Pod) {
	h.mu.Lock()
	var links []*link
	if p := h.peers[pod]; p != nil {
		links = slices.Clone(p.links)
	}
	h.mu.Unlock()
	for _, l := range links {
		// The Handler may call this from Connected, which holds remote.calls.
		h.start(func() { l.end(errors.New("disconnected by this pod")) }, func() {})
	}
}

// toldQueue hands a peer's messages to the Handler one after the other, from whatever link they come.
type toldQueue struct {
	mu    sync.Mutex // guards the fields below
	queue []told
	bytes int
	busy  bool // a goroutine hands out
}

type told struct {
	link *link
	kind Kind
	body []byte
}

// toldMax is how many messages of a peer may wait for the Handler.
const toldMax = 4096

// add queues a message; false: it was dropped, as too many wait. A head replaces one that waits.
func (h *Host) tellHandler(p *remote, m told) bool {
	q := &p.told
	q.mu.Lock()
	defer q.mu.Unlock()
	if m.kind == KindHead {
		q.queue = slices.DeleteFunc(q.queue, func(o told) bool {
			if o.kind == KindHead {
				q.bytes -= len(o.body)
			}
			return o.kind == KindHead
		})
	}
	if len(q.queue) >= toldMax || q.bytes+len(m.body) > InFlightMax {
		return false
	}
	q.queue = append(q.queue, m)
	q.bytes += len(m.body)
	if !q.busy {
		q.busy = true
		h.start(func() { h.handOut(p) }, func() {})
	}
	return true
}

// handOut calls Told for what waits. Messages of a link that ended are dropped with it.
func (h *Host) handOut(p *remote) {
	q := &p.told
	for {
		q.mu.Lock()
		if len(q.queue) == 0 {
			q.queue, q.busy = nil, false
			q.mu.Unlock()
			return
		}
		m := q.queue[0]
		q.queue[0] = told{}
		q.queue = q.queue[1:]
		q.mu.Unlock()
		if m.link.ctx.Err() == nil {
			_ = h.guard("told", func() error { h.cfg.Handler.Told(m.link.ctx, p.pod, m.kind, m.body); return nil }) // logged there
		}
		q.mu.Lock()
		q.bytes -= len(m.body)
		q.mu.Unlock()
	}
}
