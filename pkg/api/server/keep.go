package server

import (
	"context"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Keeping is what the API needs of a pod to say where copies are.
type Keeping interface {
	// SetPin makes or takes back a pin; on "" is this pod.
	SetPin(ctx context.Context, id vfs.NodeID, on string, pinned bool) error
	Pins(ctx context.Context, at string) ([]pod.Pin, error)
	SetHomes(ctx context.Context, id vfs.NodeID, names []string) error
	Evict(ctx context.Context, id vfs.NodeID) (pod.Evicted, error)
	Drain(ctx context.Context, name string, undo bool) (pod.Drained, error)
	DrainState(ctx context.Context, name string) (pod.Drained, error)
	RemovePod(ctx context.Context, name string) (pod.Drained, error)
	RemoveLost(ctx context.Context, name string) (pod.Drained, error)
}

func pins(ctx context.Context, p Pod, q api.PathRequest) ([]api.Pin, error) {
	n, err := resolve(ctx, p.FS(), string(q.Path))
	if err != nil {
		return nil, err
	}
	all, err := p.Pins(ctx, n.path)
	out := make([]api.Pin, 0, len(all))
	for _, pin := range all {
		out = append(out, api.Pin{Path: api.Text(pin.Path), Pod: api.Text(pin.Name), Home: pin.Home})
	}
	return out, err
}

func setPin(ctx context.Context, p Pod, q api.PinRequest) (struct{}, error) {
	n, err := resolve(ctx, p.FS(), string(q.Path))
	if err == nil {
		err = p.SetPin(ctx, n.attr.ID, q.Pod, !q.Gone)
	}
	return struct{}{}, err
}

func setHomes(ctx context.Context, p Pod, q api.PlaceRequest) (struct{}, error) {
	n, err := resolve(ctx, p.FS(), string(q.Path))
	if err == nil {
		err = p.SetHomes(ctx, n.attr.ID, q.Homes)
	}
	return struct{}{}, err
}

func evict(ctx context.Context, p Pod, q api.PathRequest) (api.Evicted, error) {
	n, err := resolve(ctx, p.FS(), string(q.Path))
	if err != nil {
		return api.Evicted{}, err
	}
	got, err := p.Evict(ctx, n.attr.ID)
	return api.Evicted{Bytes: got.Bytes, Blocks: got.Blocks, KeptBlocks: got.Kept}, err
}

func drain(ctx context.Context, p Pod, q api.DrainRequest) (api.Drained, error) {
	var d pod.Drained
	var err error
	switch {
	case q.Look:
		d, err = p.DrainState(ctx, q.Pod)
	case q.Remove && q.Lost:
		d, err = p.RemoveLost(ctx, q.Pod)
	case q.Remove:
		d, err = p.RemovePod(ctx, q.Pod)
	default:
		d, err = p.Drain(ctx, q.Pod, q.Undo)
	}
	return api.Drained{
		Pod: api.Text(q.Pod), Draining: d.Draining, Removed: d.Removed, Counted: d.Known, LeftBytes: d.Left, Stuck: d.Stuck,
	}, err
}
