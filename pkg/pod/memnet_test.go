package pod

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// memNet connects pods in one process: messages arrive in order, at once, until a pod is cut off.
type memNet struct {
	mu    sync.Mutex // guards peers
	peers map[ident.Pod]*memPeer
}

func newMemNet() *memNet { return &memNet{peers: make(map[ident.Pod]*memPeer)} }

// memPeer is a pod's end of a memNet.
type memPeer struct {
	offline
	net   *memNet
	p     *Pod
	inbox chan func(ctx context.Context) // what others tell

	dht    p2p.DHT            // nil: none
	hidden map[ident.Pod]bool // not connected until they are reached by the DHT; guarded by net.mu

	unplugged bool // Run doesn't connect it: join does

	tricks atomic.Pointer[tricks] // set while others ask it
}

// tricks are what a pod's end of a memNet does in place of what it should.
type tricks struct {
	fragment func(ctx context.Context, f block.Fragment, wire []byte) ([]byte, error) // what becomes of a fragment that it sends; nil: nothing
	block    func(ctx context.Context, wire []byte) ([]byte, error)                   // what becomes of a block that it sends; nil: nothing
	answers  func(kind p2p.Kind, body []byte, honest []byte) []byte                   // what it answers in place of the truth; nil: that
	drops    bool                                                                     // it keeps nothing that is put to it, and says that it does
}

const memInbox = 4096

var _ network = (*memPeer)(nil)

// attach makes a memNet the network of a pod that does not run yet.
func (n *memNet) attach(p *Pod) *memPeer {
	m := &memPeer{net: n, p: p, inbox: make(chan func(context.Context), memInbox)}
	m.tricks.Store(&tricks{})
	p.net = m
	return m
}

// cut ends a pod's connections. Nothing that it says from now on is heard.
func (n *memNet) cut(m *memPeer) {
	n.mu.Lock()
	if n.peers[m.p.id] != m {
		n.mu.Unlock()
		return
	}
	delete(n.peers, m.p.id)
	others := n.all()
	n.mu.Unlock()
	for _, o := range others {
		handler{o.p}.Disconnected(m.p.id)
		handler{m.p}.Disconnected(o.p.id)
	}
}

// all are the connected pods; mu is held.
func (n *memNet) all() []*memPeer {
	var out []*memPeer
	for _, m := range n.peers {
		out = append(out, m)
	}
	return out
}

// to is the other end, if both ends are connected.
func (m *memPeer) to(pod ident.Pod) (*memPeer, error) {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	o := m.net.peers[pod]
	if o == nil || o == m || m.net.peers[m.p.id] != m || m.hidden[pod] {
		return nil, fmt.Errorf("pod %s: %w", pod, p2p.ErrUnreachable)
	}
	return o, nil
}

// join connects a pod with all that are connected.
func (n *memNet) join(m *memPeer) {
	n.mu.Lock()
	if n.peers[m.p.id] == m {
		n.mu.Unlock()
		return
	}
	others := n.all()
	n.peers[m.p.id] = m
	n.mu.Unlock()
	for _, o := range others {
		handler{o.p}.Connected(m.p.id)
		handler{m.p}.Connected(o.p.id)
	}
}

// hide has a pod not connected, as seen from here, until see.
func (m *memPeer) hide(pod ident.Pod) {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	if m.hidden == nil {
		m.hidden = make(map[ident.Pod]bool)
	}
	m.hidden[pod] = true
}

func (m *memPeer) see(pod ident.Pod) {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	delete(m.hidden, pod)
}

// split parts the network: no pod of one side is connected with one of the other until heal.
func split(one, other []*testPod) {
	eachPair(one, other, func(x, y *testPod) { x.end().hide(y.id) })
	eachPair(one, other, func(x, y *testPod) { handler{x.Pod}.Disconnected(y.id) })
}

func heal(one, other []*testPod) {
	eachPair(one, other, func(x, y *testPod) { x.end().see(y.id) })
	eachPair(one, other, func(x, y *testPod) { handler{x.Pod}.Connected(y.id) })
}

// eachPair does something for each pod of a side with each of the other, both ways.
func eachPair(one, other []*testPod, f func(x, y *testPod)) {
	for _, x := range one {
		for _, y := range other {
			f(x, y)
			f(y, x)
		}
	}
}

// DHT is p2p.Host's.
func (m *memPeer) DHT() p2p.DHT { return m.dht }

// Run is network's.
func (m *memPeer) Run(ctx context.Context) error {
	if !m.unplugged {
		m.net.join(m)
	}
	defer m.net.cut(m)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-m.inbox:
			f(ctx)
		}
	}
}

// Connected is network's.
func (m *memPeer) Connected(pod ident.Pod) bool {
	_, err := m.to(pod)
	return err == nil
}

// Absent is network's.
func (m *memPeer) Absent() []p2p.Absent { return nil }

// Peers is network's.
func (m *memPeer) Peers() []p2p.Peer {
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	var out []p2p.Peer
	if m.net.peers[m.p.id] != m {
		return nil
	}
	for _, o := range m.net.peers {
		if o != m && !m.hidden[o.p.id] {
			out = append(out, p2p.Peer{Pod: o.p.id, LastHeard: m.p.clock.Now()})
		}
	}
	return out
}

// Ask is network's.
func (m *memPeer) Ask(ctx context.Context, pod ident.Pod, kind p2p.Kind, body []byte) ([]byte, error) {
	o, err := m.to(pod)
	if err != nil {
		return nil, err
	}
	answer, err := handler{o.p}.Asked(ctx, m.p.id, kind, body)
	if trick := o.tricks.Load().answers; trick != nil && err == nil {
		answer = trick(kind, body, answer)
	}
	return answer, err
}

// Tell is network's.
func (m *memPeer) Tell(pod ident.Pod, kind p2p.Kind, body []byte) {
	o, err := m.to(pod)
	if err != nil {
		return
	}
	select {
	case o.inbox <- func(ctx context.Context) {
		if o.Connected(m.p.id) {
			handler{o.p}.Told(ctx, m.p.id, kind, body)
		}
	}:
	default: // as if the connection broke off
	}
}

// Get is network's.
func (m *memPeer) Get(ctx context.Context, pod ident.Pod, ids []block.ID, f func(block.ID, []byte, error) error) error {
	return memGet(m, pod, ids, f, func(o *memPeer, id block.ID) ([]byte, error) {
		wire, _, err := handler{o.p}.Block(ctx, m.p.id, id)
		if trick := o.tricks.Load().block; trick != nil && err == nil {
			return trick(ctx, wire)
		}
		return wire, err
	})
}

// GetFragments is network's.
func (m *memPeer) GetFragments(ctx context.Context, pod ident.Pod, names []block.Fragment, f func(block.Fragment, []byte, error) error) error {
	return memGet(m, pod, names, f, func(o *memPeer, name block.Fragment) ([]byte, error) {
		wire, _, err := handler{o.p}.Fragment(ctx, m.p.id, name)
		if trick := o.tricks.Load().fragment; trick != nil && err == nil {
			return trick(ctx, name, wire)
		}
		return wire, err
	})
}

func memGet[T any](m *memPeer, pod ident.Pod, names []T, f func(T, []byte, error) error, get func(*memPeer, T) ([]byte, error)) error {
	for _, name := range names {
		o, err := m.to(pod)
		if err != nil {
			return err
		}
		wire, err := get(o, name)
		if err := f(name, wire, err); err != nil {
			return err
		}
	}
	return nil
}

// Put is network's.
func (m *memPeer) Put(ctx context.Context, pod ident.Pod, n int, id func(int) block.ID, wire func(int) ([]byte, error)) ([]error, error) {
	return m.put(ctx, pod, n, wire,
		func(h handler, i int) bool { return h.HaveBlock(ctx, m.p.id, id(i)) },
		func(h handler, i int, b []byte) error { return h.PutBlock(ctx, m.p.id, id(i), b) })
}

// PutFragments is network's.
func (m *memPeer) PutFragments(ctx context.Context, pod ident.Pod, n int, name func(int) block.Fragment, wire func(int) ([]byte, error)) ([]error, error) {
	return m.put(ctx, pod, n, wire,
		func(h handler, i int) bool { return h.HaveFragment(ctx, m.p.id, name(i)) },
		func(h handler, i int, b []byte) error { return h.PutFragment(ctx, m.p.id, name(i), b) })
}

func (m *memPeer) put(ctx context.Context, pod ident.Pod, n int, wire func(int) ([]byte, error),
	have func(handler, int) bool, take func(handler, int, []byte) error,
) ([]error, error) {
	o, err := m.to(pod)
	if err != nil {
		return nil, err
	}
	h := handler{o.p}
	errs := make([]error, n)
	for i := range n {
		if o.tricks.Load().drops || have(h, i) {
			continue
		}
		b, err := wire(i)
		if err == nil {
			err = take(h, i, b)
		}
		errs[i] = err
	}
	if err := h.PutSync(ctx, m.p.id); err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs, nil
}
