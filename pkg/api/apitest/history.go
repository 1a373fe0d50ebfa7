package apitest

import (
	"context"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// madeAt is when all of the made-up history happened.
var madeAt = time.Unix(1700000000, 0)

// Moment is the tree as it is, under the names "", "now" and "snap".
func (p *Pod) Moment(ctx context.Context, name string) (pod.Moment, error) {
	if name != "" && name != pod.Now && name != "snap" {
		return pod.Moment{}, fmt.Errorf("%q: %w", name, pod.ErrNoHistory)
	}
	root, err := p.Root(ctx)
	m := pod.Moment{Root: root, At: madeAt}
	if name == "snap" {
		m.Snapshot = name
	}
	return m, err
}

// Moments is one tree.
func (p *Pod) Moments() ([]pod.Moment, error) {
	return []pod.Moment{{Root: block.Sum(block.DagCBOR, []byte("kept")), At: madeAt}}, nil
}

// OpenMoment is OpenTree.
func (p *Pod) OpenMoment(ctx context.Context, m pod.Moment) (vfs.FS, error) {
	return p.OpenTree(ctx, m.Root)
}

// LastWith knows no path.
func (p *Pod) LastWith(context.Context, string) (pod.Moment, error) {
	return pod.Moment{}, pod.ErrNoHistory
}

// KeepNow does nothing.
func (p *Pod) KeepNow(context.Context) error { return nil }

// CopyFromTree is CopyFile.
func (p *Pod) CopyFromTree(ctx context.Context, _ vfs.FS, src, parent vfs.NodeID, name string, m pod.FileMeta) (vfs.Attr, error) {
	return p.CopyFile(ctx, src, parent, name, m)
}

// Snapshots is one.
func (p *Pod) Snapshots(context.Context) ([]pod.Snapshot, error) {
	return []pod.Snapshot{{Name: "snap", Root: block.Sum(block.DagCBOR, []byte("snap")), At: madeAt, By: "box"}}, nil
}

// CreateSnapshot makes none.
func (p *Pod) CreateSnapshot(ctx context.Context, name string) (pod.Snapshot, error) {
	root, err := p.Root(ctx)
	return pod.Snapshot{Name: name, Root: root, At: madeAt, By: p.PodInfo.Name}, err
}

// RemoveSnapshot removes "snap".
func (p *Pod) RemoveSnapshot(_ context.Context, name string) error {
	if name != "snap" {
		return pod.ErrNoHistory
	}
	return nil
}

// Diff is made up.
func (p *Pod) Diff(_ context.Context, _, b pod.Moment, _ string, f func(pod.Difference) error) error {
	return f(pod.Difference{Path: "/bad\xff", What: pod.DiffChanged, Kind: vfs.KindFile, Before: 5, After: 6, CID: b.Root})
}

// Log is made up.
func (p *Pod) Log(_ context.Context, _ string, _ int, f func(pod.Logged) error) error {
	err := f(pod.Logged{
		At: madeAt, By: "box", What: "renamed", Path: "/bad\xff", From: "/old", Kind: vfs.KindFile, Size: 5, CID: block.Sum(block.DagCBOR, []byte("body")),
	})
	if err != nil {
		return err
	}
	return f(pod.Logged{At: madeAt, What: pod.DiffAdded, Path: "/old", Kind: vfs.KindFolder, Tree: "snap"})
}

// Conflicts is one.
func (p *Pod) Conflicts(context.Context, string) ([]pod.Conflict, error) {
	return []pod.Conflict{{Path: "/f", Kind: "contents", Versions: []pod.ConflictVersion{
		{ID: "11111111", Path: "/f", By: "bob", At: madeAt, Kind: vfs.KindFile, Size: 5},
		{ID: "22222222", Path: "/f.conflict-box-20231114-221320-2222", By: "box", Ours: true, At: madeAt, Kind: vfs.KindFile, Size: 6},
	}}}, nil
}

// Resolve resolves /f.
func (p *Pod) Resolve(_ context.Context, at, keep string) error {
	switch {
	case at != "/f":
		return vfs.ErrNotExist
	case keep == "none":
		return pod.ErrSides
	}
	return nil
}
