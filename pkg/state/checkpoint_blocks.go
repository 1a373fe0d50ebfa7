package state

import (
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
)

// CheckpointBlocks calls f for every block of the newest checkpoint: the state root, the nodes of the tree of rows, the rows that are blocks of
// their own, the nodes of all folders. What folders link to, bodies of files, are not among them. The first error of reading a tree is
// returned after the rest was told; an error of f ends it.
//
// Errors: block.ErrNotFound or block.ErrCorrupt where nodes are lost.
func (d *DB) CheckpointBlocks(ctx context.Context, f func(id block.ID) error) error {
	return d.read(func(v view) error {
		var last checkpointState
		d.mu.Lock()
		last = d.checkpoint
		d.mu.Unlock()
		if last.State.IsZero() {
			return nil
		}
		if err := f(last.State); err != nil {
			return err
		}
		lost := dag.TreeNodes(ctx, d.o.Blocks, last.rows, f)
		if err := v.eachLongRow(f); err != nil {
			return err
		}
		err := scanPrefix(v.r, []byte{keyFolderCID}, func(_, value []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			id, err := block.FromBytes(value)
			if err != nil {
				return corrupt("folder's CID", err)
			}
			if err := f(id); err != nil {
				return err
			}
			if err := dag.FolderNodes(ctx, d.o.Blocks, id, f); err != nil && lost == nil {
				lost = err
			}
			return nil
		})
		if err == nil && lost != nil {
			err = fmt.Errorf("state: checkpoint: %w", lost)
		}
		return err
	})
}

// eachLongRow calls f for the block of every committed row that is too long for the tree of rows.
func (v view) eachLongRow(f func(id block.ID) error) error {
	for _, kind := range []byte{KeyInode, KeyWish, KeySnap} {
		err := scanPrefix(v.r, []byte{kind}, func(_, value []byte) error {
			if len(value) <= dag.ValueMax {
				return nil
			}
			return f(block.Sum(block.Raw, value))
		})
		if err != nil {
			return err
		}
	}
	return nil
}
