package sim

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// Wires connect pods as p2p does: messages of one pod arrive in order, those of several as they like; what is told may be dropped, and a
// question or its answer may be lost with the connection. Pods may be cut from each other. It is safe for concurrent use.
type Wires struct {
	clock clock.Clock

	joins sync.Mutex // held while pods are told who is connected; taken before mu

	mu   sync.Mutex // guards the fields below, and those of all ends
	o    NetOptions
	rng  *rand.Rand
	ends map[ident.Pod]*wireEnd // of all pods that run
	side func(ident.Pod) int    // pods of one side reach each other; it holds for pods that are yet to come, too
	sent uint64
	bulk int64                       // bytes of blocks and fragments
	slow map[ident.Pod]time.Duration // how long a pod's disk takes for a block
}

// wireMin is the least that a message takes: time has to pass before anything arrives.
const wireMin = 10 * time.Microsecond

// inboxMax is how many messages wait for a pod; what passes that is dropped.
const inboxMax = 4096

// NewWires makes wires that are as bad as o says. Seed decides which messages are late or lost.
func NewWires(c clock.Clock, o NetOptions, seed uint64) *Wires {
	return &Wires{clock: c, o: o, rng: rand.New(rand.NewPCG(seed, 7)), ends: map[ident.Pod]*wireEnd{}, slow: map[ident.Pod]time.Duration{}, side: func(ident.Pod) int { return 0 }}
}

// Slow has a pod's disk take so long for each block that another pod asks for or sends. What the pod itself does with its disk takes no time: it holds locks meanwhile, and
// virtual time stands still while a lock is waited for.
func (w *Wires) Slow(id ident.Pod, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow[id] = d
}

// disk waits as long as a pod's disk takes for a block.
func (w *Wires) disk(ctx context.Context, id ident.Pod) error {
	w.mu.Lock()
	d := w.slow[id]
	w.mu.Unlock()
	if d == 0 {
		return nil
	}
	return clock.Sleep(ctx, w.clock, d)
}

// Carried is how many bytes of blocks and fragments went so far.
func (w *Wires) Carried() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bulk
}

// carry counts a block or fragment.
func (w *Wires) carry(wire []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bulk += int64(len(wire))
}

// wireEnd is one pod's end.
type wireEnd struct {
	w       *Wires
	id      ident.Pod
	clock   clock.Clock // the pod's: by it others were heard
	handler p2p.Handler
	kick    chan struct{}           // capacity 1: the inbox has something new
	inbox   []tell                  // by at
	last    map[ident.Pod]time.Time // when the newest message of a pod arrives
	runs    bool
	dead    bool // its power has failed: nothing that it says is heard
}

// tell is a message that was told.
type tell struct {
	at     time.Time
	number uint64
	from   ident.Pod
	kind   p2p.Kind
	body   []byte
}

var _ pod.Network = (*wireEnd)(nil)

// Connect is the pod.Connect of a pod with a clock of its own. dead is to be called when its power fails.
func (w *Wires) Connect(id ident.Pod, c clock.Clock) (connect pod.Connect, dead func()) {
	end := &wireEnd{w: w, id: id, clock: c, kick: make(chan struct{}, 1), last: map[ident.Pod]time.Time{}}
	connect = func(h p2p.Handler) (pod.Network, error) {
		end.handler = h
		return end, nil
	}
	return connect, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		end.dead = true
	}
}

// Become makes the wires as bad as o says from now on.
func (w *Wires) Become(o NetOptions) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.o = o
}

// Split puts each pod on the side that side names, and tells them whom they lost and found.
func (w *Wires) Split(side func(ident.Pod) int) {
	w.joins.Lock()
	defer w.joins.Unlock()
	w.mu.Lock()
	var lost, found [][2]*wireEnd
	for _, a := range w.ends {
		for _, b := range w.ends {
			was, is := w.side(a.id) == w.side(b.id), side(a.id) == side(b.id)
			switch {
			case a == b:
			case was && !is:
				lost = append(lost, [2]*wireEnd{a, b})
			case is && !was:
				found = append(found, [2]*wireEnd{a, b})
			}
		}
	}
	w.side = side
	w.mu.Unlock()
	for _, pair := range lost {
		pair[0].handler.Disconnected(pair[1].id)
	}
	for _, pair := range found {
		pair[0].handler.Connected(pair[1].id)
	}
}

// Announce is pod.Network's: wires lead to everybody.
func (e *wireEnd) Announce([]string) {}

// Connect is pod.Network's.
func (e *wireEnd) Connect(context.Context, ident.Pod, []string) error { return p2p.ErrUnreachable }

// reached are the ends that one is connected with; mu is held.
func (e *wireEnd) reached() []*wireEnd {
	if !e.runs || e.dead {
		return nil
	}
	var out []*wireEnd
	for _, o := range e.w.ends {
		if o != e && o.runs && !o.dead && e.w.side(o.id) == e.w.side(e.id) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *wireEnd) int { return slices.Compare(a.id[:], b.id[:]) })
	return out
}

// to is the other end, if it is connected.
func (e *wireEnd) to(id ident.Pod) (*wireEnd, error) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	for _, o := range e.reached() {
		if o.id == id {
			return o, nil
		}
	}
	return nil, fmt.Errorf("pod %s: %w", id, p2p.ErrUnreachable)
}

// Run is pod.Network's.
func (e *wireEnd) Run(ctx context.Context) error {
	e.join(true)
	defer e.join(false)
	for {
		next, wait := e.next()
		if next != nil {
			e.handler.Told(ctx, next.from, next.kind, next.body)
			continue
		}
		timer := e.w.clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-e.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// join tells all whom this one reaches that it comes or goes.
func (e *wireEnd) join(comes bool) {
	w := e.w
	w.joins.Lock()
	defer w.joins.Unlock()
	w.mu.Lock()
	var others []*wireEnd
	if comes {
		e.runs, w.ends[e.id] = true, e
		others = e.reached()
	} else {
		dead := e.dead
		e.dead = false
		others = e.reached()
		e.runs, e.dead = false, dead
		delete(w.ends, e.id)
	}
	w.mu.Unlock()
	for _, o := range others {
		if comes {
			o.handler.Connected(e.id)
			e.handler.Connected(o.id)
		} else {
			o.handler.Disconnected(e.id)
			e.handler.Disconnected(o.id)
		}
	}
}

// next is the message that has arrived, or how long there is none.
func (e *wireEnd) next() (*tell, time.Duration) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	for len(e.inbox) > 0 {
		if wait := e.inbox[0].at.Sub(e.w.clock.Now()); wait > 0 {
			return nil, wait
		}
		m := e.inbox[0]
		e.inbox = e.inbox[1:]
		if e.w.side(m.from) == e.w.side(e.id) {
			return &m, 0
		}
	}
	return nil, time.Hour
}

// Tell is pod.Network's.
func (e *wireEnd) Tell(id ident.Pod, kind p2p.Kind, body []byte) {
	o, err := e.to(id)
	if err != nil {
		return
	}
	w := e.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rng.IntN(100) < w.o.Lost || len(o.inbox) >= inboxMax {
		return
	}
	w.sent++
	m := tell{at: w.clock.Now().Add(w.delay()), number: w.sent, from: e.id, kind: kind, body: body}
	if last := o.last[e.id]; m.at.Before(last) {
		m.at = last
	}
	o.last[e.id] = m.at
	i, _ := slices.BinarySearchFunc(o.inbox, m, func(a, b tell) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.number, b.number)) })
	o.inbox = slices.Insert(o.inbox, i, m)
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// delay is how long a message takes; mu is held.
func (w *Wires) delay() time.Duration {
	if w.o.DelayMax <= 0 {
		return wireMin
	}
	return wireMin + time.Duration(w.rng.Int64N(int64(w.o.DelayMax)))
}

// travel waits as long as a message takes; it may be lost. Error: p2p.ErrUnreachable.
func (e *wireEnd) travel(ctx context.Context, id ident.Pod) (*wireEnd, error) {
	e.w.mu.Lock()
	delay, lost := e.w.delay(), e.w.rng.IntN(100) < e.w.o.Lost
	e.w.mu.Unlock()
	if err := clock.Sleep(ctx, e.w.clock, delay); err != nil {
		return nil, err
	}
	if lost {
		return nil, fmt.Errorf("pod %s: the connection broke: %w", id, p2p.ErrUnreachable)
	}
	return e.to(id)
}

// Ask is pod.Network's.
func (e *wireEnd) Ask(ctx context.Context, id ident.Pod, kind p2p.Kind, body []byte) ([]byte, error) {
	o, err := e.travel(ctx, id)
	if err != nil {
		return nil, err
	}
	answer, err := o.handler.Asked(ctx, e.id, kind, body)
	if _, lost := e.travel(ctx, id); lost != nil {
		return nil, lost
	}
	return answer, err
}

// Get is pod.Network's.
func (e *wireEnd) Get(ctx context.Context, id ident.Pod, ids []block.ID, f func(id block.ID, wire []byte, err error) error) error {
	for _, b := range ids {
		o, err := e.travel(ctx, id)
		if err != nil {
			return err
		}
		if err := e.w.disk(ctx, id); err != nil {
			return err
		}
		wire, _, err := o.handler.Block(ctx, e.id, b)
		e.w.carry(wire)
		if err := f(b, wire, err); err != nil {
			return err
		}
	}
	return nil
}

// GetFragments is pod.Network's.
func (e *wireEnd) GetFragments(ctx context.Context, id ident.Pod, names []block.Fragment, f func(name block.Fragment, wire []byte, err error) error) error {
	for _, name := range names {
		o, err := e.travel(ctx, id)
		if err != nil {
			return err
		}
		if err := e.w.disk(ctx, id); err != nil {
			return err
		}
		wire, _, err := o.handler.Fragment(ctx, e.id, name)
		e.w.carry(wire)
		if err := f(name, wire, err); err != nil {
			return err
		}
	}
	return nil
}

// Put is pod.Network's.
func (e *wireEnd) Put(ctx context.Context, id ident.Pod, n int, at func(i int) block.ID, wire func(i int) ([]byte, error)) ([]error, error) {
	return e.put(ctx, id, n, wire,
		func(h p2p.Handler, i int) bool { return h.HaveBlock(ctx, e.id, at(i)) },
		func(h p2p.Handler, i int, b []byte) error { return h.PutBlock(ctx, e.id, at(i), b) })
}

// PutFragments is pod.Network's.
func (e *wireEnd) PutFragments(ctx context.Context, id ident.Pod, n int, name func(i int) block.Fragment, wire func(i int) ([]byte, error)) ([]error, error) {
	return e.put(ctx, id, n, wire,
		func(h p2p.Handler, i int) bool { return h.HaveFragment(ctx, e.id, name(i)) },
		func(h p2p.Handler, i int, b []byte) error { return h.PutFragment(ctx, e.id, name(i), b) })
}

func (e *wireEnd) put(ctx context.Context, id ident.Pod, n int, wire func(i int) ([]byte, error),
	have func(h p2p.Handler, i int) bool, take func(h p2p.Handler, i int, b []byte) error,
) ([]error, error) {
	errs := make([]error, n)
	for i := range n {
		o, err := e.travel(ctx, id)
		if err != nil {
			return nil, err
		}
		if have(o.handler, i) {
			continue
		}
		if err := e.w.disk(ctx, id); err != nil {
			return nil, err
		}
		b, err := wire(i)
		e.w.carry(b)
		if err == nil {
			err = take(o.handler, i, b)
		}
		errs[i] = err
	}
	o, err := e.travel(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := o.handler.PutSync(ctx, e.id); err != nil {
		return nil, err
	}
	_, err = e.travel(ctx, id)
	return errs, err
}

// Connected is pod.Network's.
func (e *wireEnd) Connected(id ident.Pod) bool {
	_, err := e.to(id)
	return err == nil
}

// Absent is pod.Network's: nobody is dialled.
func (e *wireEnd) Absent() []p2p.Absent { return nil }

// Peers is pod.Network's.
func (e *wireEnd) Peers() []p2p.Peer {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	var out []p2p.Peer
	for _, o := range e.reached() {
		out = append(out, p2p.Peer{Pod: o.id, LastHeard: e.clock.Now()})
	}
	return out
}

// Close is pod.Network's.
func (e *wireEnd) Close() error { return nil }

// Addrs is pod.Network's: there are none.
func (e *wireEnd) Addrs() []string { return nil }

// ListenPort is pod.Network's: there is none.
func (e *wireEnd) ListenPort() int { return 0 }

// Know is pod.Network's: all are found.
func (e *wireEnd) Know(ident.Pod, []string) {}
