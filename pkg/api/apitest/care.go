package apitest

import (
	"context"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// Cache is what can't be true of so small a pod, until it is cleaned.
func (p *Pod) Cache(context.Context) (pod.CacheInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cleaned {
		return pod.CacheInfo{Limit: 10 << 30, LeaveFree: 1 << 30}, nil
	}
	return pod.CacheInfo{Bytes: 3 << 20, Copies: 3, Protected: 1 << 20, Limit: 10 << 30, LeaveFree: 1 << 30, Kept: 1}, nil
}

// CleanCache drops what Cache told.
func (p *Pod) CleanCache(context.Context) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleaned = true
	return 3 << 20, nil
}

// Repair is half done, or, if Unsafe is set, leaves something.
func (p *Pod) Repair(context.Context) (pod.RepairState, error) {
	s := pod.RepairState{
		Active: true, Looked: 8 << 20, Of: 16 << 20, Due: 4 << 20, Done: 2 << 20, Endangered: 1 << 20, Moved: 5 << 20,
		Began: time.Unix(1600000000, 0), Left: 90 * time.Second,
	}
	if p.Unsafe != nil {
		s.Unsafe = 1 << 20
	}
	return s, nil
}

// RepairNow does nothing.
func (p *Pod) RepairNow(context.Context) error { return nil }

// WatchRepair ends at once.
func (p *Pod) WatchRepair(ctx context.Context, f func(pod.RepairState) error) (pod.RepairState, error) {
	s, err := p.Repair(ctx)
	if err == nil {
		err = f(s)
	}
	s.Active, s.Looked, s.Done, s.Endangered, s.Left = false, s.Of, s.Due, 0, 0
	return s, err
}

// Freeze does nothing.
func (p *Pod) Freeze(_ context.Context, d time.Duration) (time.Time, error) {
	return time.Unix(1600000000, 0).Add(d), nil
}

// Unfreeze does nothing.
func (p *Pod) Unfreeze(context.Context) error { return nil }

// Hot is one file.
func (p *Pod) Hot(context.Context, int) ([]pod.Hot, error) {
	return []pod.Hot{{
		Path: "/f", Size: 5, Bytes: 50, MoveTo: p.PodInfo.Name, Homes: []string{"away"},
		Pods: []pod.PodReads{{Pod: p.PodInfo.Pod, Name: p.PodInfo.Name, Bytes: 50}, {Name: "away", Bytes: 7}},
	}}, nil
}
