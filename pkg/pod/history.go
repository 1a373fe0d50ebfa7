package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// ErrNoHistory says that no tree root is kept for a time, a snapshot of a name, or a path in any of them.
var ErrNoHistory = fmt.Errorf("pod: nothing is kept of it: %w", vfs.ErrNotExist)

// Moment is a tree root that has a name or a time.
type Moment struct {
	Root     block.ID
	At       time.Time // since when it was the tree; zero: not known
	Snapshot string    // "": a root that this pod keeps between snapshots, or the tree now
}

// Now is the tree as it is now.
const Now = "now"

// Moment finds a tree root by what people call it: Now or "", a snapshot's name, a pod's name (what its newest head told), a CID, or a time (RFC 3339, or
// ago: "2h", "3 days ago"), which means the newest root at or before it that is kept. Error: ErrNoHistory.
func (p *Pod) Moment(ctx context.Context, name string) (Moment, error) {
	if name == "" || name == Now {
		root, err := p.Root(ctx)
		return Moment{Root: root, At: p.clock.Now()}, err
	}
	all, err := p.Moments()
	if err != nil {
		return Moment{}, err
	}
	for _, m := range all {
		if m.Snapshot == name {
			return m, nil
		}
	}
	if id, err := block.Parse(name); err == nil {
		return Moment{Root: id}, nil
	}
	if pods := p.reg.pods(); slices.ContainsFunc(pods, func(c member.Cert) bool { return c.Name == name }) {
		return p.momentOf(ctx, name)
	}
	at, ok := parseWhen(name, p.clock.Now())
	if !ok {
		return Moment{}, fmt.Errorf("pod: %q is no time, snapshot, pod or CID: %w", name, ErrNoHistory)
	}
	for _, m := range all { // newest first
		if !m.At.IsZero() && !m.At.After(at) {
			return m, nil
		}
	}
	return Moment{}, fmt.Errorf("at %s: %w", at.UTC().Format(time.RFC3339), ErrNoHistory)
}

// momentOf is a pod's tree, as it last said.
func (p *Pod) momentOf(ctx context.Context, name string) (Moment, error) {
	pods, err := p.Pods(ctx)
	if err != nil {
		return Moment{}, err
	}
	for _, info := range pods {
		switch {
		case info.Name != name:
		case info.Self:
			return p.Moment(ctx, Now)
		case info.Root.IsZero():
			return Moment{}, fmt.Errorf("pod: %s has not told its tree root since this daemon started: %w", name, block.ErrUnavailable)
		default:
			return Moment{Root: info.Root, At: info.LastSeen}, nil
		}
	}
	return Moment{}, fmt.Errorf("pod: pod %q: %w", name, vfs.ErrNotExist)
}

// Moments are all tree roots that are kept here, newest first; those whose time is not known last.
func (p *Pod) Moments() ([]Moment, error) {
	if err := p.sees(); err != nil {
		return nil, err
	}
	snapshots, err := p.db.Snapshots()
	if err != nil {
		return nil, err
	}
	var out []Moment
	for _, s := range snapshots {
		out = append(out, momentAt(s))
	}
	for _, r := range p.kept.list() {
		out = append(out, Moment{Root: r.root, At: r.at})
	}
	slices.SortStableFunc(out, func(a, b Moment) int { return b.At.Compare(a.At) })
	return out, nil
}

// momentAt is when a snapshot was made, as the log or its name tells.
func momentAt(s state.Snapshot) Moment {
	m := Moment{Root: s.Root, Snapshot: s.Name}
	if at, ok := snapshotTime(s.Name); ok {
		m.At = at
	}
	if s.HLC != 0 {
		m.At = s.HLC.Time()
	}
	return m
}

// OpenMoment opens the tree of a Moment as a file system that can't be changed.
func (p *Pod) OpenMoment(ctx context.Context, m Moment) (vfs.FS, error) {
	fs, err := p.OpenTree(ctx, m.Root)
	if err != nil {
		return nil, err
	}
	a, err := fs.GetAttr(ctx, vfs.RootID)
	if err == nil && a.Kind != vfs.KindFolder {
		err = fmt.Errorf("pod: %s is no folder: %w", m.Root, vfs.ErrNotDir)
	}
	return fs, err
}

// LastWith finds the newest kept root in which a path is there. Error: ErrNoHistory.
func (p *Pod) LastWith(ctx context.Context, path string) (Moment, error) {
	all, err := p.Moments()
	if err != nil {
		return Moment{}, err
	}
	var errs []error
	seen := map[block.ID]bool{}
	for _, m := range all {
		if seen[m.Root] {
			continue
		}
		seen[m.Root] = true
		fs, err := p.OpenMoment(ctx, m)
		if err == nil {
			_, err = vfs.Resolve(ctx, fs, path)
		}
		switch {
		case err == nil:
			return m, nil
		case ctx.Err() != nil:
			return Moment{}, ctx.Err()
		case !errors.Is(err, vfs.ErrNotExist) && !errors.Is(err, vfs.ErrNotDir):
			errs = append(errs, err)
		}
	}
	return Moment{}, errors.Join(append(errs, fmt.Errorf("%s: %w", path, ErrNoHistory))...)
}

// below says whether a path is another or below it; "/" is above all.
func below(path, above string) bool {
	return path == above || strings.HasPrefix(path, strings.TrimSuffix(above, "/")+"/")
}
