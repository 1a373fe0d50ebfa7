package pod

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

const (
	walkMax      = 1 << 22         // nodes of one level: some 80 million rows
	walkBatch    = 4096            // nodes in one request, for which walkTimeout is enough at 1 Mbit/s
	walkTimeout  = 5 * time.Minute // for one request
	nodeBytes    = 4 << 10         // of a node, on average (package dag)
	offerHeaders = 1 << 20         // headers in one offer
	walkLeast    = 16 << 20        // bytes of commits below which the log is taken without a look at the tree
)

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
// block.ErrNotFound (the pod has no checkpoint with something new).
func (p *Pod) catchUp(ctx context.Context, pod ident.Pod) error {
	answer, err := p.ask(ctx, pod, p2p.KindOffer, p.db.VV().Append(nil))
	if err != nil {
		return err
	}
	offer, err := decodeOffer(answer)
	if err != nil {
		return err
	}
	if offer.LogBytes >= 0 && offer.LogBytes < walkLeast {
		return errLogIsShorter
	}
	head, err := state.DecodeHead(offer.Head)
	if err != nil {
		return err
	}
	defer p.leases.release(p.leases.hold()) // until what came is the newest checkpoint's
	begin, before := p.clock.Now(), p.db.VV()
	w := &treeWalk{p: p, from: pod}
	err = w.walk(ctx, head.Checkpoint, offer.LogBytes)
	p.pulls.count(func(c *CatchUps) {
		c.TreeNodes, c.TreeBytes, c.Rounds = c.TreeNodes+w.fetched, c.TreeBytes+w.bytes, c.Rounds+w.rounds
	})
	if err != nil {
		return err
	}
	walked := p.clock.Now()
	joined, err := p.db.Join(ctx, offer.Head, offer.Headers)
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

// treeWalk fetches the nodes of a tree of rows that are not here.
type treeWalk struct {
	p    *Pod
	from ident.Pod // is asked first

	rounds, fetched, bytes int64 // that came
}

// walk fetches a state root and all nodes below it. logBytes is what the log would cost; -1: it is no way.
func (w *treeWalk) walk(ctx context.Context, root block.ID, logBytes int64) error {
	if err := w.fetch(ctx, w.missing([]block.ID{root})); err != nil {
		return err
	}
	b, err := w.p.store.Get(ctx, root)
	if err != nil {
		return err
	}
	r, err := state.DecodeRoot(b)
	if err != nil || r.Rows.IsZero() {
		return err
	}
	for level, height := []block.ID{r.Rows}, -1; len(level) > 0; height-- {
		missing := w.missing(level)
		// A level of leaves is about as many bytes as the tree's difference. What comes of it needs less work than what comes of the log.
		if height == 0 && logBytes >= 0 && int64(len(missing))*nodeBytes > 2*logBytes {
			return errLogIsShorter
		}
		if err := w.fetch(ctx, missing); err != nil {
			return err
		}
		if height == 0 {
			return nil
		}
		top, next, err := w.below(ctx, level, height)
		if err != nil {
			return err
		}
		level, height = next, top
	}
	return nil
}

// missing are those of some nodes that are not here.
func (w *treeWalk) missing(ids []block.ID) []block.ID {
	var out []block.ID
	for _, id := range ids {
		if owned, cached := w.p.store.Has(id); !owned && !cached {
			out = append(out, id)
		}
	}
	return out
}

// below are the nodes below those of one level, and which level theirs is; want is the one that must be theirs, -1 for the top's, which is not known.
func (w *treeWalk) below(ctx context.Context, ids []block.ID, want int) (level int, next []block.ID, err error) {
	seen := make(map[block.ID]bool)
	for _, id := range ids {
		b, err := w.p.store.Get(ctx, id)
		if err != nil {
			return 0, nil, err
		}
		n, err := state.DecodeRowNode(b)
		if err == nil && want >= 0 && n.Level != want {
			err = fmt.Errorf("node %s is of level %d, not %d: %w", id, n.Level, want, block.ErrCorrupt)
		}
		if err != nil {
			return 0, nil, fmt.Errorf("pod: tree of rows: %w", err)
		}
		if level = n.Level; level == 0 {
			return 0, nil, nil // the top is a leaf; blocks of long rows are fetched when they are joined
		}
		for _, kid := range n.Links {
			if !seen[kid] {
				seen[kid] = true
				next = append(next, kid)
			}
		}
		if len(next) > walkMax {
			return 0, nil, fmt.Errorf("pod: tree of rows: over %d nodes of level %d: %w", walkMax, level-1, block.ErrCorrupt)
		}
	}
	return level, next, nil
}

// fetch gets blocks from the pod that is caught up with, or from others that are connected, and keeps them.
func (w *treeWalk) fetch(ctx context.Context, ids []block.ID) error {
	if len(ids) == 0 {
		return nil
	}
	w.rounds++
	pods := []ident.Pod{w.from}
	for _, pod := range w.p.connected() {
		if pod != w.from {
			pods = append(pods, pod)
		}
	}
	var errs []error
	for _, pod := range pods {
		var err error
		if ids, err = w.fetchFrom(ctx, pod, ids); len(ids) == 0 {
			return nil
		}
		if errs = append(errs, fmt.Errorf("%s: %w", w.p.reg.name(pod), err)); ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("pod: %d nodes are not to be had, %s is one: %w", len(ids), ids[0], errors.Join(append(errs, block.ErrUnavailable)...))
}

// fetchFrom gets what one pod has of some blocks; missing are the others, and err tells why one of them is.
func (w *treeWalk) fetchFrom(ctx context.Context, pod ident.Pod, ids []block.ID) (missing []block.ID, err error) {
	for len(ids) > 0 {
		batch := ids[:min(len(ids), walkBatch)]
		ids = ids[len(batch):]
		fetchErr := w.fetchBatch(ctx, pod, batch, func(id block.ID, blockErr error) {
			missing, err = append(missing, id), blockErr
		})
		if fetchErr != nil {
			return append(missing, ids...), fetchErr
		}
	}
	return missing, err
}

func (w *treeWalk) fetchBatch(ctx context.Context, pod ident.Pod, ids []block.ID, miss func(block.ID, error)) error {
	ctx, cancel := context.WithTimeout(ctx, walkTimeout)
	defer cancel()
	told := 0
	err := w.p.net.Get(ctx, pod, ids, func(id block.ID, wire []byte, err error) error {
		told++
		if err == nil {
			err = w.p.putWire(ctx, id, wire)
		}
		switch {
		case errors.Is(err, errOwnDisk):
			return err
		case err != nil:
			miss(id, err)
		default:
			w.fetched++
			w.bytes += int64(len(wire))
		}
		return nil
	})
	for _, id := range ids[told:] { // the context ended
		miss(id, err)
	}
	if errors.Is(err, errOwnDisk) || ctx.Err() != nil {
		return err
	}
	return nil // each block was told
}

// errOwnDisk says that a block could not be kept here.
var errOwnDisk = errors.New("a block can't be kept")

// putWire keeps a block as it came, as the pod's own, after it was verified.
func (p *Pod) putWire(ctx context.Context, id block.ID, wire []byte) error {
	defer p.leases.release(p.leases.take(id))
	err := p.store.PutWire(ctx, id, wire, false)
	if err != nil && !errors.Is(err, block.ErrCorrupt) {
		err = fmt.Errorf("%w: %w", errOwnDisk, err)
	}
	return err
}

// answerOffer is what a pod with this version vector needs to join the newest checkpoint, or one that is made now, if the log is no way. Error: block.ErrNotFound.
func (p *Pod) answerOffer(ctx context.Context, from ident.Pod, body []byte) ([]byte, error) {
	have, err := state.DecodeVV(body)
	if err != nil {
		return nil, err
	}
	p.peers.update(from, func(f *peerFacts) { f.vv = have })
	offer, err := p.db.Offer(ctx, have)
	if errors.Is(err, block.ErrNotFound) && offer.LogBytes < 0 { // without a checkpoint there is no way
		if _, err = p.checkpoint(ctx); err == nil {
			offer, err = p.db.Offer(ctx, have)
		}
	}
	if err != nil {
		return nil, err
	}
	return encodeOffer(offer), nil
}

// encodeOffer writes [head, [header…], bytes of the log | -1].
func encodeOffer(o state.Offer) []byte {
	b := cbor.AppendBytes(cbor.AppendArray(nil, 3), o.Head)
	b = cbor.AppendArray(b, len(o.Headers))
	for _, h := range o.Headers {
		b = cbor.AppendBytes(b, h)
	}
	return cbor.AppendInt(b, o.LogBytes)
}

func decodeOffer(b []byte) (state.Offer, error) {
	r := cbor.NewReader(b)
	r.Tuple(3)
	o := state.Offer{Head: r.Bytes(p2p.QuestionMax)}
	for range r.Array(offerHeaders) {
		o.Headers = append(o.Headers, r.Bytes(p2p.QuestionMax))
	}
	if o.LogBytes = r.Int(); o.LogBytes < -1 {
		r.Fail("a log of %d bytes", o.LogBytes)
	}
	if err := r.Done(); err != nil {
		return state.Offer{}, fmt.Errorf("pod: offer: %w: %w", err, block.ErrCorrupt)
	}
	return o, nil
}

// markJoining marks the blocks of a join that was begun and has not ended.
func (p *Pod) markJoining(ctx context.Context, m *marker) error {
	return p.db.JoiningBlocks(ctx, func(id block.ID) error {
		m.add(id)
		return nil
	})
}
