package pod

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

const (
	spreadBatch  = 512              // contents looked at together
	spreadEvery  = 60 * time.Second // between rounds over all contents
	spreadSettle = 2 * time.Second  // after the members or connections changed, before all is looked at
	putTimeout   = 10 * time.Minute
)

// spreader sees to it that blocks are where their policies want them. What this pod wrote it sends at once;
// and from time to time it looks at all contents, sends what others should hold and don't, and
// fetches what it should hold itself.
type spreader struct {
	p    *Pod
	kick chan struct{} // capacity 1

	mu     sync.Mutex // guards the fields below
	all    bool       // members or connections changed: look at everything
	cursor uint64     // contents up to here were looked at when they were new
	unsafe int64      // bytes below their policy, as the last round over everything found
	safe   time.Time  // when the last round began that found everything where it should be

	// Of run's goroutine alone.
	putsSeen  uint64    // Pod.puts when busy was asked last
	busySince time.Time // when busy first said so; zero: it did not
}

func newSpreader(p *Pod) *spreader { return &spreader{p: p, kick: make(chan struct{}, 1), all: true} }

// fresh says that there may be new contents.
func (s *spreader) fresh() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// poke says that members, the layout or connections changed.
func (s *spreader) poke() {
	s.mu.Lock()
	s.all = true
	s.mu.Unlock()
	s.fresh()
}

func (s *spreader) run(ctx context.Context) error {
	next := s.p.clock.Now().Add(spreadSettle)
	for {
		wait := max(next.Sub(s.p.clock.Now()), 0)
		timer := s.p.clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-s.kick:
			timer.Stop()
			if err := s.newContents(ctx); err != nil && ctx.Err() == nil {
				s.p.log.WarnContext(ctx, "new contents are not where they should be yet", "err", err)
			}
			s.mu.Lock()
			if s.all {
				s.all = false
				if soon := s.p.clock.Now().Add(spreadSettle); soon.Before(next) {
					next = soon
				}
			}
			s.mu.Unlock()
		case <-timer.C:
			if s.busy() {
				next = s.p.clock.Now().Add(spreadSettle)
				continue
			}
			next = s.p.clock.Now().Add(spreadEvery)
			if err := s.everything(ctx); err != nil && ctx.Err() == nil {
				s.p.log.WarnContext(ctx, "not all contents are where they should be", "err", err)
			}
		}
	}
}

// busy says whether files were put since the last call, or this pod catches up with others: a round over everything would take the processor from
// that, and miss what comes last. It says so for spreadEvery at most, then a round is due.
func (s *spreader) busy() bool {
	now, puts := s.p.clock.Now(), s.p.puts.Load()
	if puts == s.putsSeen && s.p.pulls.idle() || (!s.busySince.IsZero() && now.Sub(s.busySince) >= spreadEvery) {
		s.putsSeen, s.busySince = puts, time.Time{}
		return false
	}
	if s.putsSeen = puts; s.busySince.IsZero() {
		s.busySince = now
	}
	return true
}

// newContents sends what this pod wrote since the last call. While no pod is connected there is nobody to send it to;
// the next one that connects has everything looked at.
func (s *spreader) newContents(ctx context.Context) error {
	for {
		if len(s.p.connected()) == 0 {
			return nil
		}
		nodes, next, err := s.p.db.Contents(s.cursor, spreadBatch)
		if err != nil || next == s.cursor {
			return err
		}
		var mine []state.Node
		for _, n := range nodes {
			if n.Content.Dot.Actor == s.p.db.Actor() {
				mine = append(mine, n)
			}
		}
		if _, err := s.p.place(ctx, mine, false); err != nil {
			// A later round over everything sends what is missing.
			s.p.log.WarnContext(ctx, "new contents were not sent to all pods that should hold them", "err", err)
			s.poke()
		}
		s.cursor = next
	}
}

// everything looks at all contents.
func (s *spreader) everything(ctx context.Context) error {
	begin := s.p.clock.Now()
	if lay := s.p.reg.layout(); lay.Len() == 1 && lay.Entries()[0].Pod == s.p.id && len(s.p.connected()) == 0 {
		s.found(begin, placed{}, nil)
		return nil // nobody else should hold anything, and nobody is there from whom to fetch what is damaged here
	}
	var total placed
	var errs []error
	var batch []state.Node
	flush := func() error {
		got, err := s.p.place(ctx, batch, true)
		total.add(got)
		batch = batch[:0]
		errs = append(errs, err)
		return ctx.Err()
	}
	err := s.p.db.EachContent(ctx, func(n state.Node) error {
		if batch = append(batch, n); len(batch) >= spreadBatch {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	err = errors.Join(append(errs, err)...)
	s.found(begin, total, err)
	return err
}

// found notes what a round over everything found.
func (s *spreader) found(begin time.Time, total placed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsafe = total.missingBytes
	if err == nil && total.missing == 0 {
		s.safe = begin
	}
}

// safeSince is a moment after which everything was once where it should be: whatever was replaced before it need not be kept for the case that
// what replaced it is lost.
func (s *spreader) safeSince() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.safe
}

func (s *spreader) unsafeBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsafe
}

// placed is what a look at contents found, after sending what could be sent.
type placed struct {
	blocks       int   // looked at
	missing      int   // copies that are not where they should be
	missingBytes int64 // of them
	short        int   // blocks for which too few pods live
	copies       int   // the most copies that a policy asks for
}

func (a *placed) add(b placed) {
	a.blocks += b.blocks
	a.missing += b.missing
	a.missingBytes += b.missingBytes
	a.short += b.short
	a.copies = max(a.copies, b.copies)
}

// wanted is a block that some pod should hold.
type wanted struct {
	id   block.ID
	size int64
}

// place has the blocks of contents brought to where their policies want them, as far as the pods are connected.
// With pull set, this pod fetches what it should hold and doesn't.
func (p *Pod) place(ctx context.Context, nodes []state.Node, pull bool) (placed, error) {
	var out placed
	var errs []error
	lay := p.liveLayout()
	want := make(map[ident.Pod][]wanted)
	seen := make(map[block.ID]bool)
	ids := make([]vfs.NodeID, len(nodes))
	for i := range nodes {
		ids[i] = nodes[i].ID
	}
	counts, err := p.copies(ids...)
	if err != nil {
		return out, err
	}
	for i, n := range nodes {
		copies := counts[i]
		out.copies = max(out.copies, copies)
		err := p.putBody(ctx, n.Body)
		each := func(w wanted) error {
			if seen[w.id] {
				return nil
			}
			seen[w.id] = true
			out.blocks++
			set := lay.Set(placement.GroupOf(w.id), copies)
			if len(set) < copies {
				out.short++
			}
			for _, pod := range set {
				want[pod] = append(want[pod], w)
			}
			return nil
		}
		if err == nil {
			err = p.contentBlocks(ctx, n, each)
		}
		if err != nil {
			errs = append(errs, err)
			out.missing++
			out.missingBytes += int64(n.Size)
		}
	}
	for pod, list := range want {
		left, err := p.bring(ctx, pod, list, pull)
		out.missing += len(left)
		for _, w := range left {
			out.missingBytes += w.size
		}
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
}

// copies is how many whole copies the policies at nodes ask for; 0: only the author's.
func (p *Pod) copies(ids ...vfs.NodeID) ([]int, error) {
	policies, err := p.db.Policies(ids)
	if err != nil {
		return nil, err
	}
	out := make([]int, len(ids))
	known := make(map[string]int)
	for i, text := range policies {
		n, ok := known[text]
		if !ok {
			n = p.copiesOf(text)
			known[text] = n
		}
		out[i] = n
	}
	return out, nil
}

// copiesOf is how many whole copies a policy asks for; "" is the network's default.
func (p *Pod) copiesOf(text string) int {
	if text == "" {
		text = p.reg.defaults().Policy
	}
	policy, err := placement.ParsePolicy(text)
	if err != nil {
		policy = placement.Policy{Kind: placement.PolicyReplica, N: 2} // never less safe than the default
	}
	switch policy = policy.Resolve(p.reg.layout().Len()); policy.Kind {
	case placement.PolicyNone:
		return 0
	case placement.PolicyRaid0:
		return 1
	case placement.PolicyRS:
		return policy.M + 1 // as many losses can be borne, by whole copies
	default:
		return max(policy.N, 1)
	}
}

// contentBlocks calls f with every block of a file's contents, the body's own included.
func (p *Pod) contentBlocks(ctx context.Context, n state.Node, f func(wanted) error) error {
	body, err := decodeBody(n.Body)
	if err != nil {
		return fmt.Errorf("pod: file %d: %w", n.ID, err)
	}
	if body.Size == 0 {
		return nil
	}
	if err := f(wanted{body.ID(), int64(len(n.Body))}); err != nil {
		return err
	}
	return dag.Blocks(ctx, blocks{p}, body, func(id block.ID, _ bool, size uint64) error {
		return f(wanted{id, int64(size)})
	})
}

// putBody puts the block of an encoded body, which stands in a row, unless it is here: the next checkpoint would put it, and it is needed now.
func (p *Pod) putBody(ctx context.Context, body []byte) error {
	if len(body) == 0 {
		return nil
	}
	id := block.Sum(block.DagCBOR, body)
	if owned, _ := p.store.Has(id); owned {
		return nil
	}
	return p.put(ctx, id, body)
}

// liveLayout is the layout without the pods that are down: writes go to the next of the walk.
func (p *Pod) liveLayout() placement.Layout {
	live := p.live()
	lay := p.reg.layout()
	entries := lay.Entries()
	var up []placement.Entry
	for _, e := range entries {
		if live[e.Pod] {
			up = append(up, e)
		}
	}
	if len(up) == len(entries) {
		return lay
	}
	return placement.NewLayout(up)
}

// bring has a pod hold blocks, and returns those that it doesn't hold in the end.
func (p *Pod) bring(ctx context.Context, pod ident.Pod, list []wanted, pull bool) ([]wanted, error) {
	if pod == p.id {
		return p.bringHere(ctx, list, pull)
	}
	if !p.net.Connected(pod) {
		return list, nil
	}
	lacks, err := p.lacking(ctx, pod, list)
	if err != nil || len(lacks) == 0 {
		return lacks, err
	}
	var here, left []wanted
	for _, w := range lacks {
		if owned, _ := p.store.Has(w.id); owned {
			here = append(here, w)
		} else {
			left = append(left, w)
		}
	}
	if len(here) == 0 {
		return left, nil
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	results, err := p.net.Put(ctx, pod, len(here),
		func(i int) block.ID { return here[i].id },
		func(i int) ([]byte, error) { return p.store.Wire(ctx, here[i].id) })
	if err != nil {
		return append(left, here...), fmt.Errorf("pod: send %d blocks to %s: %w", len(here), p.reg.name(pod), err)
	}
	var errs []error
	for i, err := range results {
		if err != nil {
			left = append(left, here[i])
			errs = append(errs, fmt.Errorf("pod: send %s to %s: %w", here[i].id, p.reg.name(pod), err))
		}
	}
	return left, errors.Join(errs...)
}

// bringHere has this pod own blocks; with pull unset it only looks.
func (p *Pod) bringHere(ctx context.Context, list []wanted, pull bool) ([]wanted, error) {
	var left []wanted
	var errs []error
	for _, w := range list {
		owned, _ := p.store.Has(w.id)
		if owned {
			continue
		}
		err := error(nil)
		if pull {
			err = p.ownBlock(ctx, w.id)
			errs = append(errs, err)
		}
		if !pull || err != nil {
			left = append(left, w)
		}
	}
	if pull {
		errs = append(errs, p.store.Sync(ctx))
	}
	return left, errors.Join(errs...)
}

// ownBlock makes a block this pod's own: a cached copy, or one from another pod.
func (p *Pod) ownBlock(ctx context.Context, id block.ID) error {
	if _, isCached := p.store.Has(id); isCached || p.store.InTrash(id) {
		defer p.leases.release(p.leases.take(id))
		if err := p.store.Own(ctx, id); err == nil {
			return nil
		}
	}
	_, err := p.fetchBlock(ctx, id, true)
	return err
}
