package pod

import (
	"context"
	"errors"
	"path"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Logged is a change, as the log of commits or a comparison of kept trees tells it.
type Logged struct {
	At   time.Time
	By   string // the pod that made it; "": not known any more
	What string // created, edited, renamed, linked, removed, attributes, policy, snapshot; of compared trees those of Diff
	Path string // "": not known any more
	From string // before a rename
	Kind vfs.Kind
	Size uint64
	CID  block.ID // of a file's body; of a snapshot its root
	Tree string   // what At names: "" a commit, else the moment of a kept tree, before which it happened
}

// errEnough ends a listing.
var errEnough = errors.New("enough")

// Log calls f with the changes at and below a path ("/": all), newest first, at most limit of them (0: all). Changes of what is at the path now
// are told under the paths that it had. Beyond the end of the log of commits it goes on with what differs between kept trees. An error of f ends
// it and is returned.
func (p *Pod) Log(ctx context.Context, at string, limit int, f func(Logged) error) error {
	if err := p.sees(); err != nil {
		return err
	}
	at = path.Clean("/" + at)
	if err := p.barrier.wait(ctx); err != nil {
		return err
	}
	var ino state.Ino
	if n, err := vfs.Resolve(ctx, p.self, at); err == nil && n.ID != vfs.RootID {
		if row, err := p.db.Get(n.ID); err == nil {
			ino = row.Ino
		}
	}
	told := 0
	tell := func(l Logged) error {
		if limit > 0 && told >= limit {
			return errEnough
		}
		told++
		return f(l)
	}
	oldest := p.clock.Now()
	whole, err := p.db.Changes(ctx, func(c state.Logged) error {
		oldest = c.HLC.Time()
		in := at == "/" || c.Ino != 0 && c.Ino == ino || c.What != state.LoggedSnapshot && (below(c.Path, at) || c.From != "" && below(c.From, at))
		if !in {
			return nil
		}
		return tell(Logged{
			At: oldest, By: p.reg.actorName(c.Dot.Actor), What: string(c.What), Path: c.Path, From: c.From,
			Kind: c.Kind, Size: c.Size, CID: c.Body,
		})
	})
	if err == nil && !whole {
		err = p.logTrees(ctx, at, oldest, tell)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// logTrees goes on with the kept trees before a time.
func (p *Pod) logTrees(ctx context.Context, at string, before time.Time, f func(Logged) error) error {
	all, err := p.Moments()
	if err != nil {
		return err
	}
	var newer *Moment
	for i := range all {
		m := &all[i]
		if m.At.IsZero() {
			break
		}
		if newer != nil && m.At.Before(before) {
			tree := m.Snapshot
			if tree == "" {
				tree = m.At.UTC().Format(time.RFC3339)
			}
			err := p.Diff(ctx, *m, *newer, at, func(d Difference) error {
				size := d.After
				if d.What == DiffRemoved {
					size = d.Before
				}
				return f(Logged{At: newer.At, What: d.What, Path: d.Path, Kind: d.Kind, Size: size, CID: d.CID, Tree: tree})
			})
			if err != nil {
				return err
			}
		}
		newer = m
	}
	return nil
}
