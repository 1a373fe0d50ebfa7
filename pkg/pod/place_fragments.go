package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// codersMax is how many chunks are cut or made again at a time: each takes some 12 MiB of memory at most.
const codersMax = 4

// planned is a fragment as the planner names it.
func planned(f block.Fragment) placement.Fragment {
	return placement.Fragment{Stripe: placement.Stripe{Form: f.Form, K: f.K, M: f.M}, Index: f.I}
}

// fragmentOf is the planner's fragment of a block.
func fragmentOf(id block.ID, s placement.Stripe, index uint8) block.Fragment {
	return block.Fragment{Stripe: block.Stripe{ID: id, Form: s.Form, K: s.K, M: s.M}, I: index}
}

// holder is what is noted of a pod.
func (c *placing) holder(pod ident.Pod) *placement.Holder {
	i := slices.IndexFunc(c.holders, func(h placement.Holder) bool { return h.Pod == pod })
	if i < 0 {
		i = len(c.holders)
		c.holders = append(c.holders, placement.Holder{Pod: pod})
	}
	return &c.holders[i]
}

// holdFragments notes which fragments a pod says that it has.
func (c *placing) holdFragments(pod ident.Pod, list []block.Fragment) {
	if len(list) == 0 {
		return
	}
	h := c.holder(pod)
	for _, f := range list {
		if one := planned(f); !slices.Contains(h.Fragments, one) {
			h.Fragments = append(h.Fragments, one)
		}
	}
}

// inFragments says whether there may be fragments of a block, or should be: nodes and small chunks are never cut.
func (c *placing) inFragments() bool {
	return c.id.Codec() == block.Raw && (c.policy.Kind == placement.PolicyRS && c.size >= block.FragmentedMin || c.hasFragments())
}

func (c *placing) hasFragments() bool {
	return slices.ContainsFunc(c.holders, func(h placement.Holder) bool { return len(h.Fragments) > 0 })
}

// readable says whether what these hold is enough to read the block; cached: what may be dropped at any time counts, too.
func readable(holders []placement.Holder, cached bool) bool {
	have := make(map[placement.Stripe]map[uint8]bool)
	for _, h := range holders {
		if h.Whole || h.Cached && cached {
			return true
		}
		for _, f := range h.Fragments {
			if have[f.Stripe] == nil {
				have[f.Stripe] = make(map[uint8]bool)
			}
			if have[f.Stripe][f.Index] = true; len(have[f.Stripe]) >= int(f.Stripe.K) {
				return true
			}
		}
	}
	return false
}

// complete says whether all fragments of some stripe are known of.
func (c *placing) complete() bool {
	have := make(map[placement.Fragment]bool)
	count := make(map[placement.Stripe]int)
	for _, h := range c.holders {
		for _, f := range h.Fragments {
			if have[f] {
				continue
			}
			have[f] = true
			if count[f.Stripe]++; count[f.Stripe] == int(f.Stripe.K)+int(f.Stripe.M) {
				return true
			}
		}
	}
	return false
}

// form is how long the stored form is, in bytes, as far as it is known: it decides whether the block is cut. Nodes never are.
func (c *placing) form() int64 {
	switch {
	case c.id.Codec() != block.Raw:
		return 0
	case c.formBytes > 0:
		return c.formBytes
	case c.hasFragments():
		return max(c.size, block.FragmentedMin)
	case c.short:
		return min(c.size, block.FragmentedMin-1)
	}
	return c.size
}

// holdOwn notes which fragments this pod has, and how long its form of the block is.
func (p *Pod) holdOwn(c *placing) error {
	if c.id.Codec() != block.Raw {
		return nil
	}
	list, err := p.store.Fragments(c.id)
	if err != nil {
		return err
	}
	c.holdFragments(p.id, list)
	if c.policy.Kind == placement.PolicyRS { // whole copies have no least length
		n, _ := p.store.FormLen(c.id)
		c.formBytes = int64(n)
	}
	return nil
}

// surveyFragments asks who has fragments of blocks: pods that are asked about the block anyway.
func (p *Pod) surveyFragments(ctx context.Context, ask map[ident.Pod][]*placing) error {
	var errs []error
	for pod, list := range ask {
		var ids []block.ID
		var part []*placing
		for _, c := range list {
			if c.inFragments() {
				ids, part = append(ids, c.id), append(part, c)
			}
		}
		if len(ids) == 0 || !p.net.Connected(pod) {
			continue
		}
		lists, err := p.askFragments(ctx, pod, ids)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for i, c := range part {
			c.holdFragments(pod, lists[i])
		}
	}
	return errors.Join(errs...)
}

// holdForm notes of which form this pod's whole copy is, where fragments are to be made of it that go with others.
func (p *Pod) holdForm(ctx context.Context, c *placing) {
	h := c.holder(p.id)
	if c.policy.Kind != placement.PolicyRS || !h.Whole && !h.Cached || !c.hasFragments() || c.complete() {
		return
	}
	if form, err := p.store.Wire(ctx, c.id); err == nil {
		h.Form = blake3.Sum256(form)
	}
}

// fragmentJob is an action about fragments that this pod can take.
type fragmentJob struct {
	c *placing
	a placement.Action
}

// ours says whether this pod takes an action: it sends what it has, and with pull set it fetches what it should have.
func (p *Pod) ours(a placement.Action, pull bool) bool {
	switch a.Kind {
	case placement.Encode:
		return a.From == p.id && len(p.targetsOf(a)) > 0
	case placement.CopyFragment:
		return a.From == p.id && p.net.Connected(a.To) || a.To == p.id && pull
	case placement.Rebuild:
		return a.To == p.id && pull
	case placement.CopyWhole, placement.JoinWhole, placement.Release:
	}
	return false
}

// carryOutFragments takes actions, and notes who has acknowledged what.
func (p *Pod) carryOutFragments(ctx context.Context, jobs []fragmentJob) error {
	var mu sync.Mutex // guards errs and the holders of all jobs
	var errs []error
	var group errgroup.Group
	group.SetLimit(codersMax)
	for _, j := range jobs {
		group.Go(func() error {
			got, err := p.takeJob(ctx, j)
			mu.Lock()
			defer mu.Unlock()
			for _, h := range got {
				j.c.holdFragments(h.pod, []block.Fragment{h.f})
			}
			errs = append(errs, err)
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return errors.Join(errs...)
}

// takeJob takes one action, and tells who holds fragments now because of it.
func (p *Pod) takeJob(ctx context.Context, j fragmentJob) ([]holding, error) {
	ctx = fetching(ctx, j.c.class())
	if err := p.pacedJob(ctx, j); err != nil {
		return nil, err
	}
	done, err := p.pace.Work(ctx, j.c.class())
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	f := fragmentOf(j.c.id, j.a.Stripe, j.a.Index)
	switch {
	case j.a.Kind == placement.Encode:
		return p.takeEncode(ctx, j)
	case j.a.Kind == placement.Rebuild:
		err = p.rebuildFragment(ctx, f)
	case j.a.To == p.id:
		err = p.copyFragment(ctx, j.a.From, f)
	default:
		err = p.pushFragment(ctx, j.a.To, f)
	}
	if err != nil {
		return nil, err
	}
	return []holding{{j.a.To, f}}, nil
}

// pacedJob waits until what an action sends may go. What it fetches waits when it comes.
func (p *Pod) pacedJob(ctx context.Context, j fragmentJob) error {
	one := j.c.size / max(1, int64(j.a.Stripe.K))
	switch {
	case j.a.Kind == placement.Encode:
		var errs []error
		for _, t := range p.targetsOf(j.a) {
			if t.pod != p.id {
				errs = append(errs, p.pace.Wait(ctx, j.c.class(), pace.Up, t.pod, one, p.exempt(t.pod)))
			}
		}
		return errors.Join(errs...)
	case j.a.To != p.id:
		return p.pace.Wait(ctx, j.c.class(), pace.Up, j.a.To, one, p.exempt(j.a.To))
	}
	return nil
}

// targetsOf are those for whom this pod can cut its copy: itself, and who is connected.
func (p *Pod) targetsOf(a placement.Action) (out []target) {
	for _, t := range a.Targets {
		if t.Pod == p.id || p.net.Connected(t.Pod) {
			out = append(out, target{t.Pod, int(t.Index)})
		}
	}
	return out
}

func (p *Pod) takeEncode(ctx context.Context, j fragmentJob) ([]holding, error) {
	targets := p.targetsOf(j.a)
	stripe, errs, err := p.encodeTo(ctx, j.c.id, nil, int(j.a.Stripe.K), int(j.a.Stripe.M), targets)
	if err != nil {
		return nil, err
	}
	var got []holding
	for i, t := range targets {
		if errs[i] == nil {
			got = append(got, holding{t.pod, block.Fragment{Stripe: stripe, I: uint8(t.index)}})
		}
	}
	return got, errors.Join(errs...)
}

// pushFragment puts a fragment of this pod to another one.
func (p *Pod) pushFragment(ctx context.Context, to ident.Pod, f block.Fragment) error {
	wire, err := p.storedFragment(ctx, f)
	if err == nil {
		err = p.putFragment(ctx, to, f, wire)
	}
	if err != nil {
		return fmt.Errorf("pod: send %s to %s: %w", f, p.reg.name(to), err)
	}
	return nil
}

// askKeptFragments asks pods which fragments they have for good, as askKept does for whole copies.
func (p *Pod) askKeptFragments(ctx context.Context, pod ident.Pod, list []*placing) error {
	for ; len(list) > 0; list = list[min(fragmentsAskMax, len(list)):] {
		part := list[:min(fragmentsAskMax, len(list))]
		ids := make([]block.ID, len(part))
		for i, c := range part {
			ids[i] = c.id
		}
		answer, err := p.ask(ctx, pod, p2p.KindKeptFragments, keptQuestion(p.vvFor(pod), part))
		if err != nil {
			return err
		}
		lists, err := decodeFragments(answer, ids)
		if err != nil {
			return fmt.Errorf("pod: fragments of %s: %w", p.reg.name(pod), err)
		}
		for i, c := range part {
			c.holdFragments(pod, lists[i])
		}
	}
	return nil
}

// answerKeptFragments is answerFragments for who wants to rely on it: what is told is synced and not about to be given up, and it is nothing where the other does not know all
// that is known here.
func (p *Pod) answerKeptFragments(ctx context.Context, body []byte) ([]byte, error) {
	theirs, ids, err := readKeptQuestion(body)
	if err != nil {
		return nil, err
	}
	if !p.blind() && !p.db.VV().LessEqual(theirs) {
		return make([]byte, len(ids)/block.IDLen), nil
	}
	return p.tellFragments(ctx, ids, func(id block.ID) ([]block.Fragment, error) {
		if p.leaving.has(id) {
			return nil, nil
		}
		return p.store.Fragments(id)
	}, func() error { return p.store.Sync(ctx) })
}
