package pod

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/store"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// fetchTimeout bounds the wait for one block from one pod: 4 MiB at 1 Mbit/s.
const fetchTimeout = 40 * time.Second

// blocks is the pod's block store as mechanisms see it: reads come from memory, the disk or other pods;
// puts go to the disk, durable after the store's Sync.
type blocks struct{ p *Pod }

// Get is block.Getter.
func (b blocks) Get(ctx context.Context, id block.ID) ([]byte, error) { return b.p.getBlock(ctx, id) }

// Put is block.Putter.
func (b blocks) Put(ctx context.Context, id block.ID, plain []byte) error {
	return b.p.put(ctx, id, plain)
}

// PutMany is block.ManyPutter.
func (b blocks) PutMany(ctx context.Context, list []block.Block) error {
	return b.p.putBlocks(ctx, list)
}

// putBlocks is put for many.
func (p *Pod) putBlocks(ctx context.Context, list []block.Block) error {
	defer p.leases.release(p.leases.takeMany(list))
	for _, b := range list {
		if err := p.leaving.stay(ctx, b.ID); err != nil {
			return err
		}
	}
	return fullDisk(p.store.PutMany(ctx, list))
}

// put stores a block as the pod's own, durable after the store's Sync. A full disk is vfs.ErrNoSpace too.
func (p *Pod) put(ctx context.Context, id block.ID, plain []byte) error {
	defer p.leases.release(p.leases.take(id))
	if err := p.leaving.stay(ctx, id); err != nil {
		return err
	}
	return fullDisk(p.store.Put(ctx, id, plain))
}

// putMade is put of a chunk of a file; raw: it is not compressed.
func (p *Pod) putMade(ctx context.Context, b block.Block, raw bool) error {
	if !raw {
		return p.put(ctx, b.ID, b.Plain)
	}
	defer p.leases.release(p.leases.take(b.ID))
	if err := p.leaving.stay(ctx, b.ID); err != nil {
		return err
	}
	return fullDisk(p.store.PutRaw(ctx, b.ID, b.Plain))
}

// fullDisk makes the store's error of a full disk one that those above the pod know.
func fullDisk(err error) error {
	if errors.Is(err, store.ErrNoSpace) {
		return fmt.Errorf("%w: %w", vfs.ErrNoSpace, err)
	}
	return err
}

// getBlock returns a block's plain bytes, which are shared and must not be changed. Of a chunk that was sealed they
// are what was sealed. Error: ErrNoKey.
func (p *Pod) getBlock(ctx context.Context, id block.ID) ([]byte, error) {
	plain, load, first := p.chunks.get(id, comesBack(ctx, id))
	if plain != nil {
		return plain, nil
	}
	return p.awaitBlock(ctx, id, load, first)
}

// lendBlock is getBlock of bytes that the caller gives back, once it looks at them no more.
func (p *Pod) lendBlock(ctx context.Context, id block.ID) ([]byte, *cached, error) {
	plain, lent, first := p.chunks.lend(id, comesBack(ctx, id))
	if plain != nil {
		return plain, lent, nil
	}
	plain, err := p.awaitBlock(ctx, id, lent, first)
	if err != nil {
		lent.GiveBack()
		return nil, nil, err
	}
	return plain, lent, nil
}

// comesBack says whether a block is likely to be wanted again soon: the nodes of a file's tree for each of its chunks.
func comesBack(ctx context.Context, id block.ID) bool {
	return id.Codec() != block.Raw || vfs.ReuseOf(ctx) == vfs.ReadOften
}

// awaitBlock returns the bytes of a load, which is the caller's to begin with first.
func (p *Pod) awaitBlock(ctx context.Context, id block.ID, load *cached, first bool) ([]byte, error) {
	if first {
		plain, err := p.store.Get(near(ctx), id)
		if err == nil {
			plain, err = p.seal.Load().open(id, plain)
			p.chunks.finish(load, plain, err)
			return plain, err
		}
		p.loadElsewhere(ctx, load)
	}
	select {
	case <-load.done:
		return load.plain, load.err
	case <-ctx.Done():
		return nil, fmt.Errorf("pod: get %s: %s: %w", id, p.awaited(id), ctx.Err())
	}
}

// near is the context of a read from this disk, and of keeping what was read elsewhere: the operating system need not keep what is not read from there again.
func near(ctx context.Context) context.Context {
	if vfs.ReuseOf(ctx) == vfs.ReadOften {
		return ctx
	}
	return store.Uncached(ctx)
}

// loadElsewhere loads a block that can't be read from this disk at once. That goes on when the one that began it gives up,
// so that others who wait for it don't lose it.
func (p *Pod) loadElsewhere(ctx context.Context, load *cached) {
	p.chunks.share(load)
	ctx, cancel := p.background.detach(ctx)
	started := p.background.run(func() {
		defer cancel()
		plain, err := p.loadBlock(ctx, load.id)
		p.chunks.finish(load, plain, err)
	})
	if !started {
		cancel()
		p.chunks.finish(load, nil, errClosed)
	}
}

func (p *Pod) loadBlock(ctx context.Context, id block.ID) ([]byte, error) {
	plain, err := p.store.Get(near(ctx), id)
	switch {
	case errors.Is(err, block.ErrNotFound):
		plain, err = p.fetchBlock(ctx, id, false)
	case errors.Is(err, block.ErrCorrupt):
		p.log.ErrorContext(ctx, "a stored block is damaged; getting it from another pod", "block", id, "err", err)
		p.damagedBlock(EventDamaged, id, err.Error())
		if plain, err = p.replaceDamaged(ctx, id, err); err == nil {
			p.damagedBlock(EventMended, id, "replaced by another pod's copy")
		}
	}
	if err != nil {
		return nil, err
	}
	return p.seal.Load().open(id, plain)
}

// replaceDamaged gets a good copy and puts it in the place of one that can't be read, if the disk takes it. Whether that was the pod's own or cache
// can't be said any more: it is the pod's own from now on.
func (p *Pod) replaceDamaged(ctx context.Context, id block.ID, damage error) ([]byte, error) {
	plain, err := p.askHolders(ctx, id)
	if err != nil {
		return nil, errors.Join(damage, err)
	}
	// A damaged one is stored anew by that, and one that was put since it was found stays.
	err = p.keep(ctx, id, plain, true)
	if p.damaged.set(id, err != nil); err != nil {
		p.log.WarnContext(ctx, "a damaged block was got from another pod, and could not be replaced here", "block", id, "err", err)
	}
	return plain, nil
}

// fetchBlock gets a block from another pod and keeps it, as the pod's own or as cache; a chunk that is read once it doesn't keep as cache.
func (p *Pod) fetchBlock(ctx context.Context, id block.ID, own bool) ([]byte, error) {
	plain, err := p.askHolders(ctx, id)
	if err != nil {
		return nil, err
	}
	if !own && id.Codec() == block.Raw && vfs.ReuseOf(ctx) == vfs.ReadOnce {
		return plain, nil
	}
	if err := p.keep(ctx, id, plain, own); err != nil {
		if own {
			return nil, err
		}
		level := slog.LevelWarn
		if errors.Is(err, store.ErrNoSpace) {
			level = slog.LevelDebug // so it is where others need the disk, or nothing in the cache may go
		}
		p.log.Log(ctx, level, "a block that was read could not be kept in the cache", "block", id, "err", err)
	}
	return plain, nil
}

func (p *Pod) keep(ctx context.Context, id block.ID, plain []byte, own bool) error {
	if own {
		return p.put(ctx, id, plain)
	}
	return p.store.PutCached(near(ctx), id, plain)
}

// askHolders gets a block from other pods: a whole copy, or, where there is none, joined from fragments, which nodes never are. What did it for the
// last block is tried first; last, pods that the DHT knows of and that are not connected.
func (p *Pod) askHolders(ctx context.Context, id block.ID) ([]byte, error) {
	byFragments := p.byFragments.Load()
	ways := []func(context.Context, block.ID) ([]byte, error){p.askWhole, p.gatherBlock, p.askFound}
	switch {
	case id.Codec() != block.Raw:
		ways = append(ways[:1], p.askFound)
	case byFragments:
		ways[0], ways[1] = ways[1], ways[0]
	}
	var errs []error
	for i, way := range ways {
		plain, err := way(ctx, id)
		if err == nil {
			if i == 1 && id.Codec() == block.Raw {
				p.byFragments.Store(!byFragments)
			}
			return plain, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// likelyHolders is every connected pod, those of the block's set first, and last those that sent wrong bytes.
func (p *Pod) likelyHolders(id block.ID) []ident.Pod {
	var out []ident.Pod
	seen := map[ident.Pod]bool{p.id: true}
	add := func(pods []ident.Pod) {
		for _, pod := range pods {
			if !seen[pod] && p.net.Connected(pod) {
				seen[pod] = true
				out = append(out, pod)
			}
		}
	}
	add(p.reg.layout().Likely(placement.GroupOf(id)))
	add(p.connected())
	return p.honestFirst(out)
}

// askFor gets one block from one pod and verifies it.
func (p *Pod) askFor(ctx context.Context, from ident.Pod, id block.ID) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	var plain []byte
	n := 0
	err := p.net.Get(limited, from, []block.ID{id}, func(_ block.ID, wire []byte, err error) error {
		if err != nil {
			return err
		}
		n = len(wire)
		if plain, err = p.store.OpenWire(id, wire); err != nil {
			p.lied(ctx, from, id.String(), err)
		}
		return err
	})
	if err == nil {
		err = p.paced(ctx, from, n)
	}
	if err != nil {
		return nil, err
	}
	if plain == nil {
		return nil, fmt.Errorf("no answer for %s: %w", id, block.ErrNotFound)
	}
	return plain, nil
}
