package pod

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

const usageEvery = 10 * time.Second // between messages of how full this pod is

// peerBook is what connected pods said of themselves, and when they were heard last. Of it only passages are stored.
type peerBook struct {
	mu    sync.Mutex
	known map[ident.Pod]*peerFacts
}

type peerFacts struct {
	lastSeen   time.Time
	lost       time.Time // when its last connection ended; zero: it is there, or never was since the start
	returns    returns
	used, free int64
	root       block.ID // its tree root
	met        bool     // it has told its head since it connected
	compared   bool     // numbers were compared with it since it connected
	vv         state.VV // what it has applied, as it last said; not to be changed. nil: it never did
	future     bool     // its newest changes are refused: they are stamped ahead of the clock here
	diverged   bool     // it has another state of the same history

	expired time.Time // when it was refused last because its certificate had ended

	found *state.Head // what it said last, as others keep it; nil: nothing was found. Not to be changed

	heard, passed time.Time // see passage
}

func newPeerBook() *peerBook { return &peerBook{known: make(map[ident.Pod]*peerFacts)} }

// update changes what is known of a pod.
func (b *peerBook) update(pod ident.Pod, f func(*peerFacts)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	facts := b.known[pod]
	if facts == nil {
		facts = &peerFacts{}
		b.known[pod] = facts
	}
	f(facts)
}

func (b *peerBook) of(pod ident.Pod) peerFacts {
	b.mu.Lock()
	defer b.mu.Unlock()
	if facts := b.known[pod]; facts != nil {
		return *facts
	}
	return peerFacts{}
}

// stateBy is a pod's state by when it was heard last.
func (p *Pod) stateBy(pod ident.Pod, lastSeen time.Time, connected bool) string {
	// A pod that just began to listen can't say that others are down.
	silent := clock.Since(p.clock, later(lastSeen, p.started))
	switch {
	case pod == p.id:
		return "up"
	case !connected && p.reg.isLost(pod):
		return "lost"
	case !connected && p.reg.isOut(pod):
		return "out"
	case silent >= p.downAfter():
		return "down"
	case silent >= p.suspectAfter() || !connected:
		return "suspect"
	}
	return "up"
}

// states are all member pods' states.
func (p *Pod) states() map[ident.Pod]string {
	heard := make(map[ident.Pod]time.Time)
	for _, peer := range p.net.Peers() {
		heard[peer.Pod] = peer.LastHeard
	}
	out := make(map[ident.Pod]string)
	for _, cert := range p.reg.pods() {
		pod := cert.Pod()
		last := p.peers.of(pod).lastSeen
		if t, connected := heard[pod]; connected && t.After(last) {
			last = t
		}
		_, connected := heard[pod]
		out[pod] = p.stateBy(pod, last, connected)
		if e, ok := p.reg.entry(pod); ok && e.Drain && out[pod] == "up" {
			out[pod] = "draining"
		}
	}
	return out
}

// live are the pods that are not down, this one included.
func (p *Pod) live() map[ident.Pod]bool {
	out := make(map[ident.Pod]bool)
	for pod, s := range p.states() {
		out[pod] = s != "down" && s != "out" && s != "lost"
	}
	return out
}

// connected are the connected pods, sorted.
func (p *Pod) connected() []ident.Pod {
	var out []ident.Pod
	for _, peer := range p.net.Peers() {
		out = append(out, peer.Pod)
	}
	slices.SortFunc(out, func(a, b ident.Pod) int { return slices.Compare(a[:], b[:]) })
	return out
}

// tellAll sends a message to every connected pod.
func (p *Pod) tellAll(kind p2p.Kind, body []byte) {
	for _, pod := range p.connected() {
		p.net.Tell(pod, kind, body)
	}
}

// runUsage tells the others at intervals how full this pod is.
func (p *Pod) runUsage(ctx context.Context) error {
	for {
		p.tellAll(p2p.KindUsage, p.usageMessage(ctx))
		if err := clock.Sleep(ctx, p.clock, usageEvery); err != nil {
			return err
		}
	}
}

// usageMessage is [used, free] in bytes.
func (p *Pod) usageMessage(ctx context.Context) []byte {
	u, err := p.Usage(ctx)
	if err != nil {
		p.log.WarnContext(ctx, "disk usage is not known", "err", err)
	}
	b := cbor.AppendArray(nil, 2)
	b = cbor.AppendUint(b, uint64(max(u.Stored, 0)))
	return cbor.AppendUint(b, uint64(max(u.Free, 0)))
}

func (p *Pod) toldUsage(from ident.Pod, body []byte) {
	used, free, err := decodeUsage(body)
	if err != nil {
		p.log.Warn("a pod's usage can't be read", "pod", p.reg.name(from), "err", err)
		return
	}
	p.peers.update(from, func(f *peerFacts) { f.used, f.free = used, free })
}

func decodeUsage(body []byte) (used, free int64, err error) {
	r := cbor.NewReader(body)
	r.Tuple(2)
	used, free = int64(r.UintMax(1<<62)), int64(r.UintMax(1<<62))
	return used, free, r.Done()
}
