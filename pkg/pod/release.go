package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// releaseMax is how many blocks a round may find surplus; the next finds the rest.
const releaseMax = 1 << 16

// leaving are the blocks that this pod is about to give up. From the moment that one is here until it is given up, or is not
// after all, this pod tells others that it has a cached copy at the most: so two pods never give up a block each because the
// other has it.
type leaving struct {
	mu     sync.Mutex
	blocks map[block.ID]*leave
}

// leave is the intention of one goroutine to give up a block.
type leave struct {
	gone chan struct{} // closed when the block has been given up; nil: it is marked, and may stay
}

// mark says that a block is to be given up; nil: it is already.
func (l *leaving) mark(id block.ID) *leave {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocks[id] != nil {
		return nil
	}
	if l.blocks == nil {
		l.blocks = make(map[block.ID]*leave)
	}
	m := &leave{}
	l.blocks[id] = m
	return m
}

// begin says that a block is given up now, unless it has been asked to stay. The caller calls done.
func (l *leaving) begin(id block.ID, m *leave) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocks[id] != m {
		return false
	}
	m.gone = make(chan struct{})
	return true
}

// done ends it, whatever became of it. The block may be marked by another meanwhile: that stays.
func (l *leaving) done(id block.ID, m *leave) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocks[id] != m {
		return
	}
	if m.gone != nil {
		close(m.gone)
	}
	delete(l.blocks, id)
}

func (l *leaving) has(id block.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.blocks[id]
	return ok
}

// stay says that somebody relies on a block from now on: it is not given up, or has been when stay returns. Error: the context's.
func (l *leaving) stay(ctx context.Context, id block.ID) error {
	l.mu.Lock()
	m := l.blocks[id]
	if m == nil || m.gone == nil {
		delete(l.blocks, id)
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	select {
	case <-m.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// giveUp makes cached copies of the chunks of nodes that this pod owns and need not, and deletes fragments that it need not have, once those who should
// have what the policy asks for have acknowledged that they do. It returns of how many chunks.
func (p *Pod) giveUp(ctx context.Context, surplus map[block.ID]*placing) (released int, err error) {
	var marked []*placing
	marks := make(map[block.ID]*leave)
	for id, c := range surplus {
		if m := p.leaving.mark(id); m != nil {
			marked, marks[id] = append(marked, c), m
		}
	}
	defer func() {
		for id, m := range marks {
			p.leaving.done(id, m)
		}
	}()
	net := p.nets()
	if err := p.acknowledged(ctx, net, marked); err != nil {
		return 0, err
	}
	for _, c := range marked {
		releases := surplusHere(net.plan(c, p.id), p.id)
		if len(releases) == 0 || !p.leaving.begin(c.id, marks[c.id]) {
			continue
		}
		var err error
		for _, a := range releases {
			if err == nil && a.Stripe == (placement.Stripe{}) {
				err = p.store.Disown(ctx, c.id)
			} else if err == nil {
				err = p.store.DeleteFragment(ctx, fragmentOf(c.id, a.Stripe, a.Index))
			}
		}
		p.leaving.done(c.id, marks[c.id])
		if errors.Is(err, block.ErrNotFound) || errors.Is(err, block.ErrCorrupt) {
			continue
		}
		if err != nil {
			return released, fmt.Errorf("pod: release %s: %w", c.id, err)
		}
		released++
	}
	err = p.store.Sync(ctx)
	if released > 0 {
		p.trimCache(ctx) // what was given up is cache now
	}
	return released, err
}

// surplusHere is what a pod may give up by a plan: its whole copy, fragments.
func surplusHere(plan placement.Plan, self ident.Pod) (releases []placement.Action) {
	for _, a := range plan.Actions {
		if a.Kind == placement.Release && a.To == self {
			releases = append(releases, a)
		}
	}
	return releases
}

// acknowledged asks the pods of the sets of blocks which they own for good: synced there, not about to be given up, and by pods
// that know of nothing that is not known here, such as a policy that asks for more.
func (p *Pod) acknowledged(ctx context.Context, net nets, list []*placing) error {
	ask := make(map[ident.Pod][]*placing)
	for _, c := range list {
		c.holders = nil
		if owned, _ := p.store.Has(c.id); owned { // it is marked as leaving
			c.hold(p.id, hasOwned)
		}
		if err := p.holdOwn(c); err != nil {
			return err
		}
		for _, pod := range p.whoMayKeep(net, c) {
			if pod != p.id && net.up(pod) && p.net.Connected(pod) {
				ask[pod] = append(ask[pod], c)
			}
		}
	}
	// A pod that does not answer has nothing.
	for pod, part := range ask {
		for part := range slices.Chunk(part, hasMax) {
			if err := p.askKept(ctx, pod, part); err != nil {
				p.log.InfoContext(ctx, "a pod does not say what it keeps; what only it could replace stays", "pod", p.reg.name(pod), "err", err)
				break
			}
		}
	}
	for pod, part := range ask {
		cut := slices.DeleteFunc(slices.Clone(part), func(c *placing) bool { return !c.inFragments() })
		if err := p.askKeptFragments(ctx, pod, cut); err != nil {
			p.log.InfoContext(ctx, "a pod does not say which fragments it keeps; what only they could replace stays", "pod", p.reg.name(pod), "err", err)
		}
	}
	return ctx.Err()
}

// whoMayKeep are the pods of which the policy wants some to have a block, each once: those of its set and its author, or, of a block of which one copy
// is enough wherever it is, all.
func (p *Pod) whoMayKeep(net nets, c *placing) []ident.Pod {
	if c.policy.Kind <= placement.PolicyNone {
		return p.connected()
	}
	pods := net.set(c)
	if !slices.Contains(pods, c.author) {
		pods = append(pods, c.author)
	}
	return pods
}

func (p *Pod) askKept(ctx context.Context, pod ident.Pod, list []*placing) error {
	answer, err := p.ask(ctx, pod, p2p.KindKept, keptQuestion(p.vvFor(pod), list))
	if err != nil {
		return err
	}
	if len(answer) != len(list) {
		return fmt.Errorf("pod: %s answers for %d blocks of %d: %w", p.reg.name(pod), len(answer), len(list), block.ErrCorrupt)
	}
	for i, c := range list {
		c.hold(pod, answer[i])
	}
	return nil
}

// keptQuestion is [vv of who asks, the IDs one after the other].
func keptQuestion(vv state.VV, list []*placing) []byte {
	ids := make([]byte, 0, len(list)*block.IDLen)
	for _, c := range list {
		ids = c.id.Append(ids)
	}
	q := cbor.AppendArray(nil, 2)
	q = cbor.AppendBytes(q, vv.Append(nil))
	return cbor.AppendBytes(q, ids)
}

// vvFor is what a pod is told that this one knows: a blind one, for which it does not matter, nothing.
func (p *Pod) vvFor(pod ident.Pod) state.VV {
	if p.reg.blind(pod) {
		return state.VV{}
	}
	return p.db.VV()
}

func readKeptQuestion(body []byte) (vv state.VV, ids []byte, err error) {
	r := cbor.NewReader(body)
	r.Tuple(2)
	b := r.Bytes(p2p.TellMax)
	ids = r.Bytes(hasMax * block.IDLen)
	if err := r.Done(); err != nil {
		return nil, nil, fmt.Errorf("pod: question about blocks: %w", err)
	}
	if len(ids)%block.IDLen != 0 {
		return nil, nil, fmt.Errorf("pod: question about blocks has %d bytes: %w", len(ids), block.ErrBadID)
	}
	vv, err = state.DecodeVV(b)
	return vv, ids, err
}

// answerKept is answerHas for who wants to give up what is there in its place: nothing is where the other does not know all
// that is known here.
func (p *Pod) answerKept(ctx context.Context, body []byte) ([]byte, error) {
	theirs, ids, err := readKeptQuestion(body)
	if err != nil {
		return nil, err
	}
	if !p.blind() && !p.db.VV().LessEqual(theirs) {
		return make([]byte, len(ids)/block.IDLen), nil
	}
	return p.answerHas(ctx, ids)
}
