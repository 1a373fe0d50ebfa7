package server

import (
	"context"
	"math"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// Caring is what the API needs of a pod that cares for itself.
type Caring interface {
	Cache(ctx context.Context) (pod.CacheInfo, error)
	// CleanCache drops all cached copies that may go, and returns their bytes.
	CleanCache(ctx context.Context) (int64, error)
	Repair(ctx context.Context) (pod.RepairState, error)
	// RepairNow begins at once.
	RepairNow(ctx context.Context) error
	// WatchRepair begins at once, and tells f how far it is until nothing more can be done.
	WatchRepair(ctx context.Context, f func(pod.RepairState) error) (pod.RepairState, error)
	// Freeze has the pod take no changes, and others repair nothing of it, for some time.
	Freeze(ctx context.Context, d time.Duration) (until time.Time, err error)
	Unfreeze(ctx context.Context) error
	// Hot tells which files are read most, at most n.
	Hot(ctx context.Context, n int) ([]pod.Hot, error)
}

func freeze(ctx context.Context, p Pod, q api.FreezeRequest) (api.Frozen, error) {
	if q.ForMS <= 0 {
		return api.Frozen{}, p.Unfreeze(ctx)
	}
	until, err := p.Freeze(ctx, time.Duration(min(q.ForMS, int64(math.MaxInt64/time.Millisecond)))*time.Millisecond)
	until = until.UTC()
	return api.Frozen{Frozen: err == nil, Until: &until}, err
}

// hotMost is how many files are told where nobody says.
const hotMost = 20

func cache(ctx context.Context, p Pod, _ struct{}) (api.Cache, error) {
	c, err := p.Cache(ctx)
	return api.Cache{
		CacheBytes: c.Bytes, Copies: c.Copies, ProtectedBytes: c.Protected, LimitBytes: c.Limit, LeaveFreeBytes: c.LeaveFree, LastCopies: c.Kept,
	}, err
}

func cleanCache(ctx context.Context, p Pod, _ struct{}) (api.CacheCleaned, error) {
	n, err := p.CleanCache(ctx)
	if err != nil {
		return api.CacheCleaned{}, err
	}
	left, err := cache(ctx, p, struct{}{})
	return api.CacheCleaned{Bytes: n, Cache: left}, err
}

func apiRepair(s pod.RepairState) api.Repair {
	out := api.Repair{
		Active: s.Active, LookedBytes: s.Looked, OfBytes: s.Of, DueBytes: s.Due, DoneBytes: s.Done, EndangeredBytes: s.Endangered,
		UnsafeBytes: s.Unsafe, UnavailableBytes: s.Unavailable, DamagedBlocks: s.Damaged, MovedBytes: s.Moved, LeftMS: max(-1, s.Left.Milliseconds()),
	}
	if s.Left < 0 {
		out.LeftMS = -1
	}
	if !s.Began.IsZero() {
		at := s.Began.UTC()
		out.Began = &at
	}
	return out
}

func repair(ctx context.Context, p Pod, _ struct{}) (api.Repair, error) {
	s, err := p.Repair(ctx)
	return apiRepair(s), err
}

func repairNow(ctx context.Context, p Pod, _ struct{}) (api.Repair, error) {
	if err := p.RepairNow(ctx); err != nil {
		return api.Repair{}, err
	}
	return repair(ctx, p, struct{}{})
}

func watchRepair(ctx context.Context, p Pod, _ struct{}, f func(api.Repair) error) error {
	last, err := p.WatchRepair(ctx, func(s pod.RepairState) error { return f(apiRepair(s)) })
	if err == nil {
		err = f(apiRepair(last))
	}
	return err
}

func hot(ctx context.Context, p Pod, q api.HotRequest) ([]api.Hot, error) {
	n := q.Most
	if n <= 0 {
		n = hotMost
	}
	list, err := p.Hot(ctx, n)
	out := make([]api.Hot, 0, len(list))
	for _, h := range list {
		a := api.Hot{
			Path: api.Text(h.Path), SizeBytes: h.Size, ReadBytes: h.Bytes, MoveTo: api.Text(h.MoveTo),
			Pods: make([]api.PodReads, 0, len(h.Pods)), Homes: make([]api.Text, 0, len(h.Homes)),
		}
		for _, r := range h.Pods {
			a.Pods = append(a.Pods, api.PodReads{Pod: api.Text(r.Name), ReadBytes: r.Bytes})
		}
		for _, name := range h.Homes {
			a.Homes = append(a.Homes, api.Text(name))
		}
		out = append(out, a)
	}
	return out, err
}
