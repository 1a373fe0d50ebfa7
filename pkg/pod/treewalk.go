package pod

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

const (
	walkMax     = 1 << 22         // nodes of one level: some 80 million rows
	walkBatch   = 4096            // nodes in one request, for which walkTimeout is enough at 1 Mbit/s
	walkTimeout = 5 * time.Minute // for one request
	nodeBytes   = 4 << 10         // of a node, on average (package dag)
)

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
	for _, pod := range w.p.sighted() { // else a blind one is asked for nodes
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
