package state

import (
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// Joining is the root of a join that was begun and not ended; zero: none. Its blocks are still needed.
func (d *DB) Joining() (block.ID, error) {
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if d.joining == nil {
		return block.ID{}, nil
	}
	h, err := DecodeHead(d.joining.head)
	if err != nil {
		return block.ID{}, err
	}
	return h.Checkpoint, nil
}

// JoiningBlocks calls f for the blocks that a join still needs which was begun and has not ended: the state root, the nodes below it, and the rows that are blocks
// of their own. The first error of reading the tree is returned, or that of f, which ends it.
func (d *DB) JoiningBlocks(ctx context.Context, f func(id block.ID) error) error {
	id, err := d.Joining()
	if err != nil || id.IsZero() {
		return err
	}
	if err := f(id); err != nil {
		return err
	}
	b, err := d.o.Blocks.Get(ctx, id)
	if err != nil {
		return fmt.Errorf("state: get state root %s: %w", id, err)
	}
	root, err := DecodeRoot(b)
	if err != nil {
		return err
	}
	if err := dag.TreeNodes(ctx, d.o.Blocks, root.Rows, f); err != nil {
		return err
	}
	return dag.WalkTree(ctx, d.o.Blocks, root.Rows, nil, func(kv dag.KV) error {
		id, err := longRow(kv.Value)
		if err != nil {
			return corrupt(fmt.Sprintf("row %x", kv.Key), err)
		}
		if id.IsZero() {
			return nil
		}
		return f(id)
	})
}

// joinRecord is a join that was begun: [head, up to], and true behind them for a Rebuild. The digests and headers that it brings are in the log.
type joinRecord struct {
	head []byte
	upTo []byte // keys up to this one are joined

	replace bool // it takes the place of what is here
}

func (r *joinRecord) encode() []byte {
	if r.replace {
		return cbor.AppendBool(cbor.AppendBytes(cbor.AppendBytes(cbor.AppendArray(nil, 3), r.head), r.upTo), true)
	}
	return cbor.AppendBytes(cbor.AppendBytes(cbor.AppendArray(nil, 2), r.head), r.upTo)
}

func decodeJoinRecord(b []byte) (*joinRecord, error) {
	r := cbor.NewReader(b)
	n := r.Array(3)
	j := &joinRecord{head: r.Bytes(2 * HeaderMax), upTo: r.Bytes(dag.KeyMax)}
	switch {
	case n == 3:
		if j.replace = r.Bool(); !j.replace {
			r.Fail("false, which is left out")
		}
	case n != 2:
		r.Fail("%d fields", n)
	}
	if err := r.Done(); err != nil {
		return nil, corrupt("join that was begun", err)
	}
	return j, nil
}

func (d *DB) loadJoining() (err error) {
	d.joining, err = view{d: d, r: d.db}.joinRecord()
	return err
}

// joinRecord is the join that is under way, nil if there is none.
func (v view) joinRecord() (*joinRecord, error) {
	b, err := get(v.r, textKey(keyOwn, ownJoining))
	if err != nil || b == nil {
		return nil, err
	}
	return decodeJoinRecord(b)
}
