package pod

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// sendersMax is how many pods a round sends to at a time.
const sendersMax = 4

// placed is what a look at contents found, after doing what could be done.
type placed struct {
	blocks  int   // looked at
	missing int   // copies that are to be made and were not
	short   int   // blocks for which too few pods live, or that a home or pin lacks that does not answer
	need    int   // the most pods that one of those asks for
	unsafe  int64 // bytes below their policy although there are pods enough
	bytes   stateBytes
	lack    string // one of what is missing, for people
}

// stateBytes are bytes by how safe they are: each block counts once in a look.
type stateBytes [placement.StateUnavailable + 1]int64

func (a *placed) add(b placed) {
	a.blocks += b.blocks
	a.missing += b.missing
	a.short += b.short
	a.need = max(a.need, b.need)
	a.unsafe += b.unsafe
	a.lack = cmp.Or(a.lack, b.lack)
	for i := range b.bytes {
		a.bytes[i] += b.bytes[i]
	}
}

// wanted is a block that some pod should hold.
type wanted struct {
	id   block.ID
	size int64
}

// placing is a block whose place is looked after.
type placing struct {
	wanted
	wants
	isNew   bool
	round   *round // that it is of; nil: it is of none
	holders []placement.Holder

	formBytes int64 // of the stored form, where this pod has it; 0: not known
	short     bool  // another pod says that its form is too short to be cut
	plan      placement.Plan
	due       bool  // this pod has to make a copy, or a part in it; see RepairState
	owed      int64 // what this pod had of it when a round found it surplus, see owes
}

// chunk is what the planner is asked.
func (c *placing) chunk(self ident.Pod) placement.Chunk {
	return placement.Chunk{
		Group: placement.GroupOf(c.id), FormBytes: c.form(), Want: c.policy, Author: c.author, Self: self, Keep: c.keep,
		Holders: c.holders, New: c.isNew, Lower: c.lower, Sends: c.round == nil,
	}
}

// hold notes what a pod says that it has.
func (c *placing) hold(pod ident.Pod, has byte) {
	h := c.holder(pod)
	kind := has &^ hasShort
	h.Whole, h.Cached = kind == hasOwned, kind == hasCached
	c.short = c.short || has&hasShort != 0
}

// adds is how many actions of the plan are to make a copy.
func (c *placing) adds() (n int) {
	for _, a := range c.plan.Actions {
		if a.Kind != placement.Release {
			n++
		}
	}
	return n
}

// placeOptions say how place goes about it.
type placeOptions struct {
	pull  bool // this pod fetches what it should hold
	isNew bool // the contents were never placed: pods that are down are passed over
	look  bool // nothing is done
	round *round
}

// place has the blocks of contents brought to where the planner wants them, as far as the pods are connected and this one has
// what they lack.
func (p *Pod) place(ctx context.Context, nodes []state.Node, o placeOptions) (placed, error) {
	list, out, err := p.placingOf(ctx, nodes, o)
	errs := []error{err}
	if o.round != nil && err != nil {
		o.round.incomplete = true
	}
	net := p.nets()
	errs = append(errs, p.survey(ctx, net, list))
	for _, c := range list {
		c.plan = net.plan(c, p.id)
		if o.round != nil {
			o.round.planned(c)
		}
	}
	endangeredFirst(list)
	if o.round != nil {
		list = o.round.putOff(list)
	}
	if !o.look {
		errs = append(errs, p.carryOut(ctx, net, list, o.pull))
	}
	out.countAll(p, net, list, o.round)
	return out, errors.Join(errs...)
}

// countAll adds what became of blocks, and notes it in a round.
func (a *placed) countAll(p *Pod, net nets, list []*placing, r *round) {
	for _, c := range list {
		a.count(p, net, c)
		if r != nil {
			r.note(c)
		}
	}
}

// lackOf tells of a copy that is to be made: what, and by whom.
func (p *Pod) lackOf(c *placing) string {
	i := slices.IndexFunc(c.plan.Actions, func(a placement.Action) bool { return a.Kind != placement.Release })
	a := c.plan.Actions[i]
	switch a.Kind {
	case placement.Encode:
		return fmt.Sprintf("%s is to be cut by %s", c.id, p.reg.name(a.From))
	case placement.JoinWhole, placement.Rebuild:
		return fmt.Sprintf("%s is to be made again at %s", c.id, p.reg.name(a.To))
	case placement.CopyWhole, placement.CopyFragment, placement.Release:
	}
	return fmt.Sprintf("%s is to go from %s to %s", c.id, p.reg.name(a.From), p.reg.name(a.To))
}

// count adds what became of a block.
func (a *placed) count(p *Pod, net nets, c *placing) {
	s := c.plan.Safety
	a.blocks++
	a.bytes[s.State] += c.size
	adds := c.adds()
	a.missing += adds
	if adds > 0 && a.lack == "" {
		a.lack = p.lackOf(c)
	}
	if s.State != placement.StateSafe && (adds == 0 || s.State == placement.StateUnavailable) {
		a.short++
		a.need = max(a.need, s.Need)
	}
	if s.State != placement.StateSafe && net.of(c.id).Layout().Len() >= s.Need {
		a.unsafe += c.size
	}
	for _, pod := range c.keep {
		if !net.up(pod) && adds == 0 && s.State == placement.StateSafe {
			a.short++ // a home or pin that can't be served now
			a.need = max(a.need, s.Need+1)
		}
	}
}

// placingOf lists the blocks of contents, each once. What can't be listed is counted as missing.
func (p *Pod) placingOf(ctx context.Context, nodes []state.Node, o placeOptions) ([]*placing, placed, error) {
	var out placed
	all, err := p.wantsOf(nodes)
	if err != nil {
		return nil, out, err
	}
	net := p.nets()
	byID := make(map[block.ID]*placing)
	var list []*placing
	var errs []error
	for i, n := range nodes {
		err := p.putBody(ctx, n.Body)
		if err == nil {
			err = p.contentBlocks(ctx, n, func(w wanted) error {
				want := all[i]
				if w.id.Codec() != block.Raw {
					want = p.wantsNode(net, want)
				}
				c := byID[w.id]
				if c != nil {
					c.wants = c.join(want)
					return nil
				}
				c = &placing{wanted: w, wants: want, isNew: o.isNew, round: o.round}
				byID[w.id] = c
				list = append(list, c)
				return nil
			})
		}
		if err != nil {
			errs = append(errs, err)
			out.missing++
			out.unsafe += int64(n.Size)
			out.bytes[placement.StateUnavailable] += int64(n.Size)
		}
	}
	return list, out, errors.Join(errs...)
}

// survey asks who holds blocks: the pods of their sets, homes, pins, and the author of what has one copy; and where these don't
// have one, or this pod has one that may be too much, all that are connected.
func (p *Pod) survey(ctx context.Context, net nets, list []*placing) error {
	ask := make(map[ident.Pod][]*placing)
	var errs []error
	for _, c := range list {
		pods := append(net.set(c), c.keep...)
		if c.policy.Kind <= placement.PolicyNone {
			pods = append(slices.Clone(c.keep), c.author)
			if owned, _ := p.store.Has(c.id); owned && c.author != p.id {
				pods = append(pods, p.connected()...) // one copy is enough, wherever it is
			}
		}
		slices.SortFunc(pods, comparePods)
		for _, pod := range slices.Compact(pods) {
			if pod != p.id && net.up(pod) {
				ask[pod] = append(ask[pod], c)
			}
		}
		c.hold(p.id, p.holds(c.id))
		errs = append(errs, p.holdOwn(c))
	}
	errs = append(errs, p.askAll(ctx, ask))
	clear(ask)
	for _, c := range list {
		if readable(c.holders, true) {
			p.holdForm(ctx, c)
			continue
		}
		for _, pod := range p.connected() {
			ask[pod] = append(ask[pod], c)
		}
	}
	return errors.Join(append(errs, p.askAll(ctx, ask))...)
}

// askAll asks pods how they hold blocks. One that is not connected has not answered, which is no error.
func (p *Pod) askAll(ctx context.Context, ask map[ident.Pod][]*placing) error {
	var errs []error
	for pod, list := range ask {
		if !p.net.Connected(pod) {
			continue
		}
		ids := make([]block.ID, len(list))
		for i, c := range list {
			ids[i] = c.id
		}
		has, err := p.askHas(ctx, pod, ids)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for i, c := range list {
			c.hold(pod, has[i])
		}
	}
	return errors.Join(append(errs, p.surveyFragments(ctx, ask))...)
}

// holds is what this pod answers when it is asked how it holds a block.
func (p *Pod) holds(id block.ID) byte {
	switch owned, isCached := p.store.Has(id); {
	case owned && !p.leaving.has(id):
		return hasOwned
	case owned || isCached:
		return hasCached
	}
	return hasNot
}

// carryOut does what this pod can do of plans, and plans anew.
func (p *Pod) carryOut(ctx context.Context, net nets, list []*placing, pull bool) error {
	send := make(map[ident.Pod][]*placing)
	var own []*placing
	var jobs []fragmentJob
	var direct directed
	for _, c := range list {
		for _, a := range c.plan.Actions {
			switch {
			case a.To == p.id && c.leaves(a):
			case p.directs(c, a):
				direct.add(c, a)
			case p.ours(a, pull):
				jobs = append(jobs, fragmentJob{c, a})
			case a.Kind != placement.CopyWhole && a.Kind != placement.JoinWhole:
			case a.To == p.id && pull:
				own = append(own, c)
			case a.From == p.id && a.To != p.id && p.net.Connected(a.To):
				send[a.To] = append(send[a.To], c)
			}
		}
	}
	errs := []error{p.sendAll(ctx, send)}
	if len(own) > 0 {
		errs = append(errs, p.ownAll(ctx, own))
	}
	errs = append(errs, p.carryOutFragments(ctx, jobs), p.directAll(ctx, direct))
	for _, c := range list {
		if len(c.plan.Actions) > 0 {
			c.plan = net.plan(c, p.id)
		}
	}
	return errors.Join(errs...)
}

// sendAll sends blocks of this pod to others, and notes which they have acknowledged. A slow pod holds up no other.
func (p *Pod) sendAll(ctx context.Context, send map[ident.Pod][]*placing) error {
	var work sync.WaitGroup
	slots := make(chan struct{}, sendersMax)
	var mu sync.Mutex // guards errs, and the holders of what is sent
	var errs []error
	for pod, list := range send {
		work.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			acked, err := p.send(ctx, pod, list)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			for _, c := range acked {
				c.hold(pod, hasOwned)
			}
		})
	}
	work.Wait()
	return errors.Join(errs...)
}

// send puts blocks of this pod to another, and returns those that it has acknowledged, which may be some even with an error.
func (p *Pod) send(ctx context.Context, pod ident.Pod, list []*placing) (acked []*placing, err error) {
	exempt := p.exempt(pod)
	err = p.sendParts(list, func(part []*placing) error {
		got, err := p.sendPart(ctx, pod, part, exempt)
		acked = append(acked, got...)
		return err
	})
	return acked, err
}

func (p *Pod) sendPart(ctx context.Context, pod ident.Pod, list []*placing, exempt bool) (acked []*placing, err error) {
	var errs []error
	for _, c := range list { // before the time runs: how long it takes is the limits' affair
		errs = append(errs, p.pace.Wait(ctx, c.class(), pace.Up, pod, c.size, exempt))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	done, err := p.pace.Work(ctx, list[0].class())
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(fetching(ctx, mostUrgent(list)), putTimeout)
	defer cancel()
	results, err := p.net.Put(ctx, pod, len(list),
		func(i int) block.ID { return list[i].id },
		func(i int) ([]byte, error) { return p.store.Wire(ctx, list[i].id) })
	for i, one := range results {
		switch {
		case one == nil:
			acked = append(acked, list[i])
		case err == nil:
			errs = append(errs, fmt.Errorf("pod: send %s to %s: %w", list[i].id, p.reg.name(pod), one))
		}
	}
	if err != nil {
		return acked, fmt.Errorf("pod: send %d blocks to %s, which has acknowledged %d: %w", len(list), p.reg.name(pod), len(acked), err)
	}
	return acked, errors.Join(errs...)
}

// ownAll has this pod own blocks, durably.
func (p *Pod) ownAll(ctx context.Context, list []*placing) error {
	var errs []error
	var got []*placing
	for _, c := range list {
		err := p.working(ctx, c.class(), func(ctx context.Context) error { return p.ownBlock(ctx, c.id) })
		errs = append(errs, err)
		if err == nil {
			got = append(got, c)
		}
	}
	err := p.store.Sync(ctx)
	if err == nil {
		for _, c := range got {
			c.hold(p.id, hasOwned)
		}
	}
	return errors.Join(append(errs, err)...)
}
