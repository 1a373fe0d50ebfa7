package pod

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// cacheEvery is how often it is looked whether cached copies are within their limits: others fill the disk, too.
const cacheEvery = 10 * time.Second

// lastCopiesMax is how many cached copies are kept one by one because nobody else is known to have the block; with more all are kept.
const lastCopiesMax = 1 << 20

// lastCopies are the cached copies that may not go: those of which the last round over everything found no other copy, on no pod that is up, and
// on none that is down and may be back. When pods are lost or out there may be more of them, so nothing goes until a round that began after
// that has ended.
type lastCopies struct {
	mu    sync.Mutex // guards the fields below
	known bool       // a round has ended
	all   bool       // too many to list
	ids   map[block.ID]bool
	gone  []ident.Pod // which pods were lost or out when that round began, sorted
}

// mustKeepCached says whether a cached copy may not be evicted.
func (p *Pod) mustKeepCached(id block.ID) bool {
	gone := p.reg.gone()
	l := &p.lastCopies
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.known {
		return len(gone) > 0 // before the first round; without a loss somebody has what was got from others
	}
	newlyGone := slices.ContainsFunc(gone, func(pod ident.Pod) bool { return !slices.Contains(l.gone, pod) })
	return newlyGone || l.all || l.ids[id]
}

// gone are the pods that are lost or out, sorted.
func (r *registry) gone() []ident.Pod {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.outs.lost) == 0 && len(r.outs.out) == 0 {
		return nil
	}
	var list []ident.Pod
	for pod := range r.outs.lost {
		if r.lostLocked(pod) {
			list = append(list, pod)
		}
	}
	for pod := range r.outs.out {
		list = append(list, pod)
	}
	slices.SortFunc(list, comparePods)
	return slices.Compact(list)
}

// lastCopy says whether this pod's cached copy of a block may be the last one, or is pinned here and about to be the pod's own.
func (r *round) lastCopy(c *placing) bool {
	if r.p.holds(c.id) != hasCached {
		return false
	}
	if slices.Contains(c.keep, r.p.id) {
		return true
	}
	others := slices.Clone(c.holders)
	for i := range others {
		if others[i].Pod == r.p.id {
			others[i].Whole, others[i].Cached = false, false
		}
	}
	return !readable(others, false) && !slices.ContainsFunc(r.mayHave(c), r.mayBeBack)
}

// mayHave are the pods other than this one which are to have a block.
func (r *round) mayHave(c *placing) []ident.Pod {
	return append(r.p.whoMayKeep(r.p.nets(), c), c.author)
}

// mayBeBack says whether a pod is down, and nobody has given it up: what it holds is there when it is back.
func (r *round) mayBeBack(pod ident.Pod) bool {
	if pod == r.p.id || r.p.net.Connected(pod) {
		return false
	}
	_, member := r.p.reg.cert(pod)
	return member && !slices.Contains(r.gone, pod)
}

// noteLast notes a block of a round of which this pod's cached copy may not go.
func (r *round) noteLast(c *placing) {
	if len(r.last) <= lastCopiesMax && r.lastCopy(c) {
		r.last[c.id] = true
	}
}

// keepLast has what a round over everything found in force.
func (r *round) keepLast() {
	l := &r.p.lastCopies
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known, l.all, l.gone = true, len(r.last) > lastCopiesMax, r.gone
	if r.incomplete { // what of it was found before may be among what could not be listed
		maps.Copy(r.last, l.ids)
	}
	l.ids = r.last
}

// trimCache drops cached copies that are too many.
func (p *Pod) trimCache(ctx context.Context) {
	n, err := p.store.TrimCache(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		p.log.WarnContext(ctx, "cached copies could not be dropped", "err", err)
	case n > 0:
		p.log.DebugContext(ctx, "cached copies were dropped", "bytes", n)
	}
}

// runCache keeps cached copies within their limits.
func (p *Pod) runCache(ctx context.Context) error {
	for {
		if err := clock.Sleep(ctx, p.clock, cacheEvery); err != nil {
			return err
		}
		if p.guard.err() == nil {
			p.trimCache(ctx)
		}
	}
}

// CacheInfo is what the cached copies of a pod are.
type CacheInfo struct {
	Bytes, Copies int64
	Protected     int64 // bytes of those that were used again while they were here
	Limit         int64 // bytes
	LeaveFree     int64 // bytes of the disk
	Kept          int64 // copies that stay, whatever the limits, since no other is known
}

// Cache tells what cached copies there are.
func (p *Pod) Cache(context.Context) (CacheInfo, error) {
	c := p.store.Cache()
	l := &p.lastCopies
	l.mu.Lock()
	defer l.mu.Unlock()
	return CacheInfo{
		Bytes: c.Bytes, Copies: c.Copies, Protected: c.ProtectedBytes, Limit: c.LimitBytes, LeaveFree: c.FreeBytes, Kept: int64(len(l.ids)),
	}, nil
}

// CleanCache drops all cached copies but those of which no other is known, and returns their bytes. The space is free when it returns.
func (p *Pod) CleanCache(ctx context.Context) (int64, error) {
	n, err := p.store.EvictTo(ctx, 0)
	if err == nil {
		err = p.store.Sync(ctx)
	}
	return n, err
}
