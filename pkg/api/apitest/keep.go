package apitest

import (
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Durable is done.
func (p *Pod) Durable(context.Context, vfs.NodeID) error { return nil }

// SetPin knows this pod only.
func (p *Pod) SetPin(_ context.Context, id vfs.NodeID, on string, pinned bool) error {
	if on != "" && on != p.PodInfo.Name {
		return fmt.Errorf("pod %q: %w", on, pod.ErrNoSuchPod)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pinned = id
	if !pinned {
		p.pinned = 0
	}
	return nil
}

// Pins are the one that was made last, as if it were on the root.
func (p *Pod) Pins(_ context.Context, at string) ([]pod.Pin, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pinned == 0 {
		return nil, nil
	}
	return []pod.Pin{{Path: at, Pod: p.PodInfo.Pod, Name: p.PodInfo.Name}}, nil
}

// SetHomes knows this pod only.
func (p *Pod) SetHomes(_ context.Context, _ vfs.NodeID, names []string) error {
	for _, n := range names {
		if n != p.PodInfo.Name {
			return fmt.Errorf("pod %q: %w", n, pod.ErrNoSuchPod)
		}
	}
	return nil
}

// Evict returns Unsafe, or what can't be true of so small a pod.
func (p *Pod) Evict(context.Context, vfs.NodeID) (pod.Evicted, error) {
	return pod.Evicted{Blocks: 2, Bytes: 3 << 20, Kept: 1}, p.Unsafe
}

// Drain knows this pod only.
func (p *Pod) Drain(_ context.Context, name string, undo bool) (pod.Drained, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name != p.PodInfo.Name {
		return pod.Drained{}, fmt.Errorf("pod %q: %w", name, pod.ErrNoSuchPod)
	}
	p.draining = !undo
	return pod.Drained{Draining: p.draining, Known: true}, nil
}

// DrainState is what Drain returned.
func (p *Pod) DrainState(ctx context.Context, name string) (pod.Drained, error) {
	p.mu.Lock()
	undo := !p.draining
	p.mu.Unlock()
	return p.Drain(ctx, name, undo)
}

// RemovePod wants it drained before.
func (p *Pod) RemovePod(ctx context.Context, name string) (pod.Drained, error) {
	d, err := p.DrainState(ctx, name)
	if err == nil && !d.Draining {
		err = fmt.Errorf("drain it first: %w", pod.ErrNotSafe)
	}
	d.Removed = err == nil
	return d, err
}

// RemoveLost knows no pod that is lost.
func (p *Pod) RemoveLost(ctx context.Context, name string) (pod.Drained, error) {
	d, err := p.DrainState(ctx, name)
	if err == nil {
		err = fmt.Errorf("%s answers: %w", name, pod.ErrNotSafe)
	}
	return d, err
}
