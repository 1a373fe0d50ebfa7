package pod

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// snapshotPlaceEvery is how often it is looked whether what only snapshots have is where it should be. It costs what changed between them, and
// a question for each block of that to each pod that should hold it.
const snapshotPlaceEvery = time.Hour

// placeSnapshots brings the contents that are in snapshots, and not in the tree any more, to where the policy of the root wants them, and, on
// the pod that makes snapshots, all their nodes to those that are to hold them. r, if it is not nil, notes what became of the contents.
func (p *Pod) placeSnapshots(ctx context.Context, r *round) error {
	all, err := p.Snapshots(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	aged, rules, err := p.agedSnapshots(ctx)
	if err != nil {
		return err
	}
	newer := p.db.LastCheckpoint().Tree
	holders := p.snapshotHolders()
	var errs []error
	var batch []state.Node
	flush := func() error {
		_, err := p.place(ctx, batch, placeOptions{pull: true, round: r})
		errs, batch = append(errs, err), batch[:0]
		return ctx.Err()
	}
	for i, a := range slices.Backward(all) {
		root, older := a.Root, block.ID{}
		keeps := keptOf(aged, rules, root)
		if i > 0 {
			older = all[i-1].Root
		}
		if p.keepsSnapshots() {
			errs = append(errs, p.spreadTree(ctx, holders, older, root, keeps))
		}
		err := p.eachOldContent(ctx, newer, root, keeps, 0, func(d *dag.Dirent) error {
			data, err := p.getBlock(ctx, d.Child)
			if err != nil {
				errs = append(errs, err)
				return ctx.Err()
			}
			n := state.Node{Attr: vfs.Attr{ID: vfs.RootID, Kind: vfs.Kind(d.Kind), Size: d.Size}, Body: data}
			if batch = append(batch, n); len(batch) >= spreadBatch {
				return flush()
			}
			return nil
		})
		if errs = append(errs, err); ctx.Err() != nil {
			return ctx.Err()
		}
		newer = root
	}
	errs = append(errs, flush())
	return errors.Join(errs...)
}

// eachOldContent calls f with the files below the folder b that it keeps, and that the folder a has not, with these contents, at the same place.
func (p *Pod) eachOldContent(ctx context.Context, a, b block.ID, r retained, depth int, f func(*dag.Dirent) error) error {
	if a == b || depth > folderDepthMax {
		return ctx.Err()
	}
	return dag.DiffFolders(ctx, blocks{p}, a, b, func(da, db *dag.Dirent) error {
		switch {
		case db == nil || db.Child.IsZero() || da != nil && da.Child == db.Child:
			return nil
		case !folderEntry(db):
			if r.at(db).gone() {
				return nil
			}
			return f(db)
		case folderEntry(da):
			return p.eachOldContent(ctx, da.Child, db.Child, r.at(db), depth+1, f)
		}
		return p.eachOldContent(ctx, block.ID{}, db.Child, r.at(db), depth+1, f)
	})
}
