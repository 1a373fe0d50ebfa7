package p2p

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	backoffMin = 200 * time.Millisecond
	backoffMax = 10 * time.Second
	connectMax = 12 * time.Second // for dials to all addresses of a pod, and the hello
	foundKeep  = 2 * time.Minute  // for which a pod found by mDNS alone is dialled without being found again
	foundMax   = 256              // pods found by mDNS that are neither remembered nor connected
)

// known is a pod that is dialled while it is not connected.
type known struct {
	remembered []ma.Multiaddr // by Know
	announced  []ma.Multiaddr // by the pod itself, on its last connection
	found      []ma.Multiaddr // by mDNS
	foundAt    time.Time
	keep       bool // by Know, or admitted: else it is forgotten some time after it was found

	dialling bool
	next     time.Time     // of the next dial; zero: now
	backoff  time.Duration // before the dial after that
	tried    time.Time     // when the last dial ended
	failed   error         // how; nil: it worked
}

// knownLocked is what is known of a pod, from now on at least.
func (h *Host) knownLocked(pod ident.Pod) *known {
	k := h.known[pod]
	if k == nil {
		k = &known{}
		h.known[pod] = k
	}
	return k
}

// Know remembers addresses of a pod, added to those that it has: multiaddrs with or without /p2p/ID, or
// HOST:PORT; what can't be read is left out. While the pod is not connected, Run dials all its addresses,
// after 0.2 s, then twice as long each time up to 10 s, and at once after each Know, when mDNS finds it, and
// when this machine's addresses change.
func (h *Host) Know(pod ident.Pod, addrs []string) {
	if pod == h.pod || pod == (ident.Pod{}) {
		return
	}
	h.mu.Lock()
	k := h.knownLocked(pod)
	k.remembered = mergeAddrs(parseAddrs(addrs), k.remembered)
	k.keep = true
	k.next, k.backoff = time.Time{}, 0
	h.mu.Unlock()
	kick(h.dialKick)
}

// Forget ends the dials that Know started; a connection stays.
func (h *Host) Forget(pod ident.Pod) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.known, pod)
}

// announcedBy takes the addresses that a connected pod announces, in place of those that it announced before.
func (h *Host) announcedBy(pod ident.Pod, addrs []ma.Multiaddr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.knownLocked(pod)
	k.announced, k.keep = mergeAddrs(addrs), true
}

// foundBy takes the addresses at which mDNS found a pod.
func (h *Host) foundBy(pod ident.Pod, addrs []ma.Multiaddr) {
	h.mu.Lock()
	if _, ok := h.known[pod]; !ok && len(h.known) >= foundMax {
		h.mu.Unlock()
		return
	}
	k := h.knownLocked(pod)
	k.found, k.foundAt = mergeAddrs(addrs), h.clock.Now()
	k.next, k.backoff = time.Time{}, 0
	h.mu.Unlock()
	kick(h.dialKick)
}

// lost has a pod whose last connection ended dialled again soon.
func (h *Host) lost(pod ident.Pod) {
	h.mu.Lock()
	if k := h.known[pod]; k != nil {
		k.next, k.backoff = h.clock.Now().Add(jitter(backoffMin)), 2*backoffMin
	}
	h.mu.Unlock()
	kick(h.dialKick)
}

// hurry has all known pods dialled at once.
func (h *Host) hurry() {
	h.mu.Lock()
	for _, k := range h.known {
		k.next, k.backoff = time.Time{}, 0
	}
	h.mu.Unlock()
	kick(h.dialKick)
}

// jitter spreads a wait over its second half, so that pods which lost each other don't meet in step.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// keepConnected dials known pods that are not connected, when their time comes.
func (h *Host) keepConnected(ctx context.Context) error {
	for {
		due, wait := h.due()
		for _, pod := range due {
			h.start(func() { h.redial(ctx, pod) }, func() {})
		}
		t := h.clock.NewTimer(wait)
		select {
		case <-t.C:
		case <-h.dialKick:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		t.Stop()
	}
}

// due marks the pods to dial now as being dialled, and says how long none other is due.
func (h *Host) due() ([]ident.Pod, time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clock.Now()
	wait := backoffMax
	var due []ident.Pod
	for pod, k := range h.known {
		p := h.peers[pod]
		switch connected := p != nil && len(p.links) > 0; {
		case connected || k.dialling:
		case !k.keep && now.Sub(k.foundAt) > foundKeep:
			delete(h.known, pod)
		case len(k.remembered)+len(k.announced)+len(k.found) == 0:
		case now.Before(k.next):
			wait = min(wait, k.next.Sub(now))
		default:
			k.dialling = true
			if k.backoff == 0 {
				k.backoff = backoffMin
			}
			due = append(due, pod)
		}
	}
	return due, wait
}

// redial dials a known pod once and sets the time of the next dial.
func (h *Host) redial(ctx context.Context, pod ident.Pod) {
	ctx, cancel := context.WithTimeout(ctx, connectMax)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)() //nolint:contextcheck // both contexts count: Close ends dials too
	err := h.Connect(ctx, pod, nil)
	h.mu.Lock()
	if k := h.known[pod]; k != nil {
		k.dialling, k.tried, k.failed = false, h.clock.Now(), err
		switch {
		case err == nil || k.backoff == 0: // 0: there was news of the pod meanwhile
		case errors.Is(err, ErrRefused):
			k.next = h.clock.Now().Add(backoffMax)
		default:
			k.next = h.clock.Now().Add(jitter(k.backoff))
			k.backoff = min(2*k.backoff, backoffMax)
		}
	}
	h.mu.Unlock()
	if err != nil {
		h.log.DebugContext(ctx, "dial failed", "pod", pod.String(), "err", err)
	}
	kick(h.dialKick)
}

// addrsOf are the addresses to dial a pod at, likely ones first.
func (h *Host) addrsOf(pod ident.Pod, more []ma.Multiaddr) []ma.Multiaddr {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.known[pod]
	if k == nil {
		return mergeAddrs(more)
	}
	return mergeAddrs(more, k.found, k.announced, k.remembered)
}

// dial is what calls of Connect to one pod wait for. A connection may be refused and closed before they
// even see it; failed keeps the reason for them.
type dial struct {
	callers int
	failed  error
}

func (h *Host) beginDial(pod ident.Pod) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.dials[pod]
	if d == nil {
		d = &dial{}
		h.dials[pod] = d
	}
	d.callers++
}

// endDial returns the last failure since the first of these calls of Connect began, or else err.
func (h *Host) endDial(pod ident.Pod, err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.dials[pod]
	if d.callers--; d.callers == 0 {
		delete(h.dials, pod)
	}
	if errors.Is(err, errGone) && d.failed != nil {
		return d.failed
	}
	return err
}

// Connect connects to a pod now, at these addresses (see Know) and those that are known of it, and returns
// once both sides have admitted each other; at once if they are connected. It does not remember the
// addresses. Errors: ErrUnreachable, ErrRefused with the peer's reason, the context's.
func (h *Host) Connect(ctx context.Context, pod ident.Pod, addrs []string) error {
	if h.Connected(pod) {
		return nil
	}
	id, err := peerID(pod)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	sw, ok := h.net.Network().(*swarm.Swarm)
	if !ok {
		return fmt.Errorf("p2p: network is a %T: %w", h.net.Network(), ErrUnreachable)
	}
	if h.ctx.Err() != nil {
		return fmt.Errorf("p2p: connect to %s: %w", pod, ErrClosed)
	}
	// libp2p remembers addresses of former connections, and failures, longer than we want.
	h.net.Peerstore().UpdateAddrs(id, peerstore.RecentlyConnectedAddrTTL, 0)
	h.net.Peerstore().AddAddrs(id, h.addrsOf(pod, parseAddrs(addrs)), connectMax)
	sw.Backoff().Clear(id)
	h.beginDial(pod)
	err = h.endDial(pod, h.connect(ctx, sw, id))
	switch {
	case err == nil || h.Connected(pod): // perhaps on a connection that the pod dialled
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("p2p: connect to %s: %w", pod, err)
}

// connect dials, unless there is a connection, and waits for what becomes of its hello.
func (h *Host) connect(ctx context.Context, sw *swarm.Swarm, id peer.ID) error {
	nc, err := sw.DialPeer(ctx, id)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	c := h.conn(nc)
	if nc.IsClosed() {
		h.gone(nc)
	}
	l, err := c.wait(ctx)
	if err == nil && l.ctx.Err() != nil {
		return l.unreachable()
	}
	return err
}
