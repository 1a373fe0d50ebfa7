package server

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// History is what the API needs of a pod's history.
type History interface {
	// Moment finds a tree by a time, a snapshot's or pod's name, or a CID; "" is now.
	Moment(ctx context.Context, name string) (pod.Moment, error)
	// Moments are all trees that are kept, newest first.
	Moments() ([]pod.Moment, error)
	OpenMoment(ctx context.Context, m pod.Moment) (vfs.FS, error)
	// LastWith is the newest kept tree that has a path.
	LastWith(ctx context.Context, file string) (pod.Moment, error)
	// KeepNow keeps the tree as it is for a while.
	KeepNow(ctx context.Context) error
	// CopyFromTree is CopyFile from what OpenMoment or OpenTree opened. A file that is the same already is left alone.
	CopyFromTree(ctx context.Context, from vfs.FS, src, parent vfs.NodeID, name string, m pod.FileMeta) (vfs.Attr, error)
	Snapshots(ctx context.Context) ([]pod.Snapshot, error)
	CreateSnapshot(ctx context.Context, name string) (pod.Snapshot, error)
	RemoveSnapshot(ctx context.Context, name string) error
	Diff(ctx context.Context, a, b pod.Moment, at string, f func(pod.Difference) error) error
	Log(ctx context.Context, at string, limit int, f func(pod.Logged) error) error
	// Conflicts are those at and below a path.
	Conflicts(ctx context.Context, at string) ([]pod.Conflict, error)
	Resolve(ctx context.Context, at, keep string) error
}

// timeOrNull is a time as JSON has it; nil if it is not known.
func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func changeLog(ctx context.Context, p Pod, q api.LogRequest, f func(api.LogEntry) error) error {
	at, err := cleanPath(string(q.Path))
	if err != nil {
		return err
	}
	return p.Log(ctx, at, q.Limit, func(l pod.Logged) error {
		return f(api.LogEntry{
			Time: l.At.UTC(), Pod: api.Text(l.By), What: l.What, Path: api.Text(l.Path), From: api.Text(l.From),
			Kind: kindNames[l.Kind], Size: l.Size, CID: l.CID, Tree: api.Text(l.Tree),
		})
	})
}

func diff(ctx context.Context, p Pod, q api.DiffRequest, f func(api.Difference) error) error {
	at := "/"
	if q.Path != "" {
		var err error
		if at, err = cleanPath(string(q.Path)); err != nil {
			return err
		}
	}
	a, err := moment(ctx, p, string(q.A))
	if err != nil {
		return err
	}
	b, err := moment(ctx, p, string(q.B))
	if err != nil {
		return err
	}
	return p.Diff(ctx, a, b, at, func(d pod.Difference) error {
		return f(api.Difference{Path: api.Text(d.Path), What: d.What, Kind: kindNames[d.Kind], Before: d.Before, After: d.After, CID: d.CID})
	})
}

// moment is Pod.Moment with a hint.
func moment(ctx context.Context, p Pod, name string) (pod.Moment, error) {
	m, err := p.Moment(ctx, name)
	if errors.Is(err, vfs.ErrNotExist) {
		err = api.WithHint(err, "wh snapshot ls --all lists the trees that are kept; a time is 2026-11-26T12:00:00Z, or ago: 2h, 3d, \"2 hours ago\"")
	}
	return m, err
}

func apiSnapshot(s pod.Snapshot) api.Snapshot {
	return api.Snapshot{Name: api.Text(s.Name), CID: s.Root, Time: timeOrNull(s.At), Pod: api.Text(s.By), Auto: s.Auto}
}

func snapshots(ctx context.Context, p Pod, q api.SnapshotsRequest) ([]api.Snapshot, error) {
	all, err := p.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.Snapshot{}
	if q.All {
		kept, err := p.Moments()
		if err != nil {
			return nil, err
		}
		for _, m := range kept {
			if m.Snapshot == "" {
				out = append(out, api.Snapshot{CID: m.Root, Time: timeOrNull(m.At), Pod: api.Text(p.Info().Name)})
			}
		}
	}
	for _, s := range all {
		out = append(out, apiSnapshot(s))
	}
	return out, nil
}

func createSnapshot(ctx context.Context, p Pod, q api.SnapshotRequest) (api.Snapshot, error) {
	s, err := p.CreateSnapshot(ctx, string(q.Name))
	return apiSnapshot(s), err
}

func removeSnapshot(ctx context.Context, p Pod, q api.SnapshotRequest) (struct{}, error) {
	err := p.RemoveSnapshot(ctx, string(q.Name))
	if errors.Is(err, vfs.ErrNotExist) {
		err = api.WithHint(err, "wh snapshot ls lists them")
	}
	return struct{}{}, err
}

// openAt opens what a path was at a moment.
func openAt(ctx context.Context, p Pod, full, at string) (vfs.FS, node, pod.Moment, error) {
	full, err := cleanPath(full)
	if err != nil {
		return nil, node{}, pod.Moment{}, err
	}
	m, err := moment(ctx, p, at)
	if err != nil {
		return nil, node{}, m, err
	}
	fs, err := p.OpenMoment(ctx, m)
	if err != nil {
		return nil, node{}, m, err
	}
	n, err := resolve(ctx, fs, full)
	return fs, n, m, err
}

// restore makes a path what it was: files get the contents and attributes back that they had, folders what is missing in them. What came into
// a folder since then stays. The first failure ends it; what was done before stays.
func restore(ctx context.Context, p Pod, q api.RestoreRequest) (api.Restored, error) {
	full, err := cleanPath(string(q.Path))
	if err != nil {
		return api.Restored{}, err
	}
	at := string(q.At)
	if at == "" {
		if _, err := resolve(ctx, p.FS(), full); !errors.Is(err, vfs.ErrNotExist) {
			if err == nil {
				err = api.WithHint(fmt.Errorf("%s is there: %w", full, vfs.ErrExist), "wh restore --at brings back what it was")
			}
			return api.Restored{}, err
		}
		m, err := p.LastWith(ctx, full)
		if err != nil {
			return api.Restored{}, api.WithHint(err, "wh snapshot ls --all lists the trees that are kept")
		}
		at = m.Root.String()
		r, err := restoreFrom(ctx, p, q, full, at)
		r.Snapshot, r.Time = api.Text(m.Snapshot), timeOrNull(m.At)
		return r, err
	}
	return restoreFrom(ctx, p, q, full, at)
}

func restoreFrom(ctx context.Context, p Pod, q api.RestoreRequest, full, at string) (api.Restored, error) {
	from, n, m, err := openAt(ctx, p, full, at)
	if err != nil {
		return api.Restored{}, err
	}
	if err := p.KeepNow(ctx); err != nil {
		return api.Restored{}, err
	}
	var t target
	switch {
	case q.To != "":
		to, err := receive(ctx, p.FS(), string(q.To), 1)
		if err != nil {
			return api.Restored{}, err
		}
		name := path.Base(full)
		if full == "/" {
			name = ""
		}
		t = to.target(name)
	case full == "/":
		t = target{parent: vfs.RootID, path: "/"}
	default:
		if err := makeParents(ctx, p.FS(), from, path.Dir(full)); err != nil {
			return api.Restored{}, err
		}
		if t, err = findTarget(ctx, p.FS(), full); err != nil {
			return api.Restored{}, err
		}
	}
	c := copier{p: p, fs: p.FS(), from: from, tree: true, made: map[vfs.NodeID]vfs.NodeID{}}
	err = c.copy(ctx, n.attr, t)
	if serr := p.Settle(ctx); err == nil {
		err = serr
	}
	return api.Restored{
		Path: api.Text(t.path), CID: m.Root, Snapshot: api.Text(m.Snapshot), Time: timeOrNull(m.At), Files: c.files, Bytes: c.bytes,
	}, err
}

// makeParents makes the folders of a path that are missing, as they were.
func makeParents(ctx context.Context, fs, from vfs.FS, dir string) error {
	if dir == "/" {
		return nil
	}
	if err := makeParents(ctx, fs, from, path.Dir(dir)); err != nil {
		return err
	}
	in, err := resolve(ctx, fs, path.Dir(dir))
	if err != nil {
		return err
	}
	if _, err := fs.Lookup(ctx, in.attr.ID, path.Base(dir)); !errors.Is(err, vfs.ErrNotExist) {
		return pathError(dir, err)
	}
	was, err := resolve(ctx, from, dir)
	if err != nil {
		return err
	}
	n := vfs.NewNode{Kind: vfs.KindFolder, Mode: was.attr.Mode, UID: was.attr.UID, GID: was.attr.GID}
	_, err = fs.Create(ctx, in.attr.ID, path.Base(dir), n)
	return pathError(dir, err)
}

func conflicts(ctx context.Context, p Pod, q api.PathRequest) ([]api.Conflict, error) {
	at, err := cleanPath(string(q.Path))
	if err != nil {
		return nil, err
	}
	all, err := p.Conflicts(ctx, at)
	if err != nil {
		return nil, err
	}
	out := make([]api.Conflict, 0, len(all))
	for _, c := range all {
		a := api.Conflict{Path: api.Text(c.Path), Kind: c.Kind, Versions: make([]api.ConflictVersion, 0, len(c.Versions))}
		for _, v := range c.Versions {
			a.Versions = append(a.Versions, api.ConflictVersion{
				ID: v.ID, Path: api.Text(v.Path), Pod: api.Text(v.By), Ours: v.Ours, Time: timeOrNull(v.At), Deleted: v.Gone,
				Kind: kindNames[v.Kind], Size: v.Size,
			})
		}
		out = append(out, a)
	}
	return out, nil
}

func resolveConflict(ctx context.Context, p Pod, q api.ResolveRequest) (struct{}, error) {
	at, err := cleanPath(string(q.Path))
	if err != nil {
		return struct{}{}, err
	}
	if q.Keep == "" {
		return struct{}{}, fmt.Errorf("say what to keep: ours, theirs, both, or a version: %w", api.ErrUsage)
	}
	err = p.Resolve(ctx, at, q.Keep)
	if errors.Is(err, pod.ErrSides) {
		err = api.WithHint(err, "wh conflicts lists the versions; --keep takes one by its number")
	} else if errors.Is(err, vfs.ErrNotExist) {
		err = api.WithHint(err, "wh conflicts lists conflicts and their versions")
	}
	return struct{}{}, err
}
