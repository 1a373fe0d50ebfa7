package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// walkLeast is how many bytes of commits are taken without a look at the tree.
const walkLeast = 16 << 20

// errLogIsShorter says that the commits that are lacking are fewer bytes than the nodes that are.
var errLogIsShorter = errors.New("the log is shorter than the difference of the trees")

// CatchUps is how this pod has caught up with others since it was opened.
type CatchUps struct {
	LogBytes  int64 // of commits that were asked for
	Trees     int64 // trees that were joined
	TreeNodes int64 // nodes that came for them
	TreeBytes int64 // bytes of these
	Rounds    int64 // requests one after the other for them
}

// CatchUps tells how this pod has caught up with others.
func (p *Pod) CatchUps() CatchUps {
	p.pulls.mu.Lock()
	defer p.pulls.mu.Unlock()
	return p.pulls.done
}

func (u *puller) count(f func(c *CatchUps)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f(&u.done)
}

// catchUp joins the newest checkpoint of a pod: it fetches the nodes of the tree of rows that are not here, level by level, from this pod and whoever else is
// connected, many in a request, so that there are about as many rounds as the tree has levels, and about as many bytes as changed. Errors: errLogIsShorter,
// block.ErrNotFound (the pod has no checkpoint with something new, or does not know of a fork yet; or the answer is outdated).
func (p *Pod) catchUp(ctx context.Context, pod ident.Pod) error {
	before := p.db.VV()
	offer, err := p.askOffer(ctx, pod, before)
	if err != nil {
		return err
	}
	offer.Asked = before
	if offer.LogBytes >= 0 && offer.LogBytes < walkLeast {
		return errLogIsShorter
	}
	defer p.leases.release(p.leases.hold()) // until what came is the newest checkpoint's
	begin := p.clock.Now()
	w, err := p.walkOffer(ctx, pod, &offer, offer.LogBytes)
	p.pulls.count(func(c *CatchUps) {
		c.TreeNodes, c.TreeBytes, c.Rounds = c.TreeNodes+w.fetched, c.TreeBytes+w.bytes, c.Rounds+w.rounds
	})
	if err != nil {
		return err
	}
	walked := p.clock.Now()
	joined, err := p.db.Join(ctx, offer)
	if errors.Is(err, state.ErrDiverged) {
		p.diverged(ctx, pod)
	}
	if err != nil {
		return err
	}
	if !joined && p.db.VV().LessEqual(before) {
		return fmt.Errorf("pod: %s offers a tree with nothing new: %w", p.reg.name(pod), block.ErrCorrupt)
	}
	p.log.InfoContext(ctx, "caught up by a tree", "pod", p.reg.name(pod), "nodes", w.fetched, "bytes", w.bytes, "rounds", w.rounds,
		"walk", walked.Sub(begin), "join", p.clock.Now().Sub(walked))
	p.pulls.count(func(c *CatchUps) { c.Trees++ })
	if joined {
		p.spread.poke()
		p.touched()
	}
	return nil
}

// askOffer asks a pod for its newest checkpoint, for who has seen have. What it answers is not proved yet.
func (p *Pod) askOffer(ctx context.Context, pod ident.Pod, have state.VV) (state.Offer, error) {
	answer, err := p.ask(ctx, pod, p2p.KindOffer, have.Append(nil))
	if err != nil {
		return state.Offer{}, err
	}
	return state.DecodeOffer(answer)
}

// walkOffer gets what an offer leaves out, and the nodes of its tree, of at most limit bytes; negative: all. The walk tells what came, also if it failed.
func (p *Pod) walkOffer(ctx context.Context, pod ident.Pod, offer *state.Offer, limit int64) (*treeWalk, error) {
	w := &treeWalk{p: p, from: pod}
	if err := offer.Complete(ctx, podPeer{p, pod}.Digests); err != nil {
		return w, err
	}
	head, err := state.DecodeHead(offer.Head)
	if err != nil {
		return w, err
	}
	return w, w.walk(ctx, head.Checkpoint, limit)
}

// markJoining marks the blocks of a join that was begun and has not ended.
func (p *Pod) markJoining(ctx context.Context, m *marker) error {
	return p.db.JoiningBlocks(ctx, func(id block.ID) error {
		m.add(id)
		return nil
	})
}
