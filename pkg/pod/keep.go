package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// ErrNoSuchPod says that the network has no pod of that name.
var ErrNoSuchPod = errors.New("the network has no pod of that name")

// Pin is a promise to keep whole copies of all at and below a path on a pod.
type Pin struct {
	Path string
	Pod  ident.Pod
	Name string
	Home bool // it is a home of the path, which is a promise, too
}

// podNamed is the pod of a name or an ID; "" is this one. Error: ErrNoSuchPod.
func (p *Pod) podNamed(name string) (ident.Pod, error) {
	if name == "" {
		return p.id, nil
	}
	for _, cert := range p.reg.pods() {
		if cert.Name == name || cert.Pod().String() == name {
			return cert.Pod(), nil
		}
	}
	return ident.Pod{}, fmt.Errorf("pod %q: %w", name, ErrNoSuchPod)
}

// SetPin makes or takes back a pin of a node, and all below it, on a pod; "" is this one. Errors: ErrNoSuchPod, vfs.ErrNotExist.
func (p *Pod) SetPin(ctx context.Context, id vfs.NodeID, on string, pinned bool) error {
	pod, err := p.podNamed(on)
	if err != nil {
		return err
	}
	edit := state.WishEdit{Unpin: []ident.Pod{pod}}
	if pinned {
		edit = state.WishEdit{Pin: []ident.Pod{pod}}
	}
	return p.wish(ctx, id, edit)
}

// SetHomes sets the pods where whole copies of a node and all below it are at home, beside those that the policy asks for; none:
// what holds above it. Errors: ErrNoSuchPod, vfs.ErrNotExist.
func (p *Pod) SetHomes(ctx context.Context, id vfs.NodeID, names []string) error {
	homes := make([]ident.Pod, len(names))
	for i, name := range names {
		var err error
		if homes[i], err = p.podNamed(name); err != nil {
			return err
		}
	}
	slices.SortFunc(homes, comparePods)
	homes = slices.Compact(homes)
	return p.wish(ctx, id, state.WishEdit{Homes: &homes})
}

// wish changes a node's wish, durably, and has the spreader look.
func (p *Pod) wish(ctx context.Context, id vfs.NodeID, edit state.WishEdit) error {
	if err := p.writable(); err != nil {
		return err
	}
	if err := p.db.SetWish(id, edit); err != nil {
		return err
	}
	p.spread.poke()
	return p.barrier.wait(ctx)
}

// eachWishBelow calls f with what is wished at and below a path. Error: ErrBlind.
func (p *Pod) eachWishBelow(ctx context.Context, at string, f func(path string, w *state.Wish)) error {
	if err := p.sees(); err != nil {
		return err
	}
	return p.db.EachWish(ctx, func(id vfs.NodeID, w state.Wish) error {
		path, err := p.db.Path(id)
		switch {
		case errors.Is(err, vfs.ErrNotExist):
			return nil
		case err == nil && below(path, at):
			f(path, &w)
		}
		return err
	})
}

// Pins are the pins and homes at and below a path, sorted by path and name of the pod.
func (p *Pod) Pins(ctx context.Context, at string) ([]Pin, error) {
	out := []Pin{}
	err := p.eachWishBelow(ctx, at, func(path string, w *state.Wish) {
		for _, pin := range w.Pins {
			if !pin.Gone {
				out = append(out, Pin{Path: path, Pod: pin.Pod, Name: p.reg.name(pin.Pod)})
			}
		}
		for _, pod := range w.Homes.Value {
			out = append(out, Pin{Path: path, Pod: pod, Name: p.reg.name(pod), Home: true})
		}
	})
	slices.SortFunc(out, func(a, b Pin) int {
		return strings.Compare(a.Path+"\x00"+a.Name, b.Path+"\x00"+b.Name)
	})
	return out, err
}

// Evicted is what Evict did.
type Evicted struct {
	Blocks, Bytes int64 // given up here
	Kept          int64 // that stay: this pod is to have them, or nobody else has
}

// Evict gives up what this pod holds of the chunks at and below a node and need not: cached copies, and its own where the policy
// wants them elsewhere. A copy goes only after those that are to have it have acknowledged theirs. Error: ErrNotSafe, where they can't
// be asked.
func (p *Pod) Evict(ctx context.Context, id vfs.NodeID) (Evicted, error) {
	if err := p.sees(); err != nil {
		return Evicted{}, err
	}
	var out Evicted
	var errs []error
	var batch []state.Node
	if err := p.Settle(ctx); err != nil {
		return out, err
	}
	flush := func() error {
		got, err := p.evict(ctx, batch)
		out.Blocks += got.Blocks
		out.Bytes += got.Bytes
		out.Kept += got.Kept
		errs = append(errs, err)
		batch = batch[:0]
		return ctx.Err()
	}
	err := p.eachBelow(ctx, id, func(n state.Node) error {
		if batch = append(batch, n); len(batch) >= spreadBatch {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return out, errors.Join(append(errs, err, p.store.Sync(ctx))...)
}

func (p *Pod) evict(ctx context.Context, nodes []state.Node) (Evicted, error) {
	var out Evicted
	list, _, err := p.placingOf(ctx, nodes, placeOptions{})
	if err != nil {
		return out, err
	}
	here := make(map[block.ID]*placing)
	for _, c := range list {
		owned, cached := p.store.Has(c.id)
		if c.id.Codec() != block.Raw || !owned && !cached {
			continue
		}
		if slices.Contains(c.keep, p.id) {
			out.Kept++
			continue
		}
		c.lower = true // the user asks for it
		here[c.id] = c
	}
	if _, err := p.giveUp(ctx, here); err != nil {
		return out, fmt.Errorf("pod: evict: the pods that are to have the copies can't be asked: %w: %w", ErrNotSafe, err)
	}
	missing := 0
	for id, c := range here {
		if owned, _ := p.store.Has(id); owned {
			out.Kept++
			continue
		}
		// giveUp asked the pods of the set; of what was cached before, the same answers count.
		c.hold(p.id, hasNot)
		if !readable(c.holders, false) {
			missing++
			out.Kept++
			continue
		}
		if err := p.store.Uncache(ctx, id); err != nil {
			return out, err
		}
		out.Blocks++
		out.Bytes += c.size
	}
	if missing > 0 {
		return out, fmt.Errorf("pod: evict: of %d blocks no pod that is connected says that it has them: %w", missing, ErrNotSafe)
	}
	return out, nil
}
