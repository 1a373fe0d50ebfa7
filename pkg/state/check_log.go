package state

import (
	"bytes"
	"context"
	"errors"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// dropped checks the headers that are kept of an actor's commits whose rows the log dropped.
func (c *checker) dropped(a ident.Actor, floor uint64) {
	if a.IsBranch() {
		return // headers name its incarnation
	}
	key, err := c.d.o.Author(a)
	if err != nil {
		c.report("log of actor %s: %v", a, err)
		return
	}
	var want [32]byte // as the header before named it
	for seq := floor; seq > 0; seq = SkipSeq(seq) {
		h, err := c.droppedHeader(a, seq)
		if err == nil {
			err = h.Verify(key)
		}
		if err != nil {
			c.report("log of actor %s: header of commit %d: %v", a, seq, err)
			return
		}
		if seq < floor && h.Digest() != want {
			c.report("log of actor %s: header of commit %d is not the one that a later one names", a, seq)
		}
		want = h.Skip
	}
}

func (c *checker) droppedHeader(a ident.Actor, seq uint64) (*Header, error) {
	digest, encoded, err := c.commitAt(a, seq)
	if err != nil {
		return nil, err
	}
	h, err := headerOf(encoded)
	if err == nil && (h.Actor != a || h.Seq != seq || h.Digest() != digest) {
		err = errors.New("it is another one's")
	}
	return h, err
}

// joined says whether a row is of a join that has not ended.
func (c *checker) joined(key []byte) bool {
	return c.joining != nil && bytes.Compare(key, c.joining.upTo) <= 0
}

// sameAsTree compares the committed rows with the tree of the newest checkpoint, but for those that changed since.
func (c *checker) sameAsTree(ctx context.Context) error {
	cp, err := c.lastCheckpoint()
	if err != nil {
		return err
	}
	changed := map[string]bool{}
	err = scanPrefix(c.r, []byte{keyRowMark}, func(key, _ []byte) error {
		changed[string(key[9:])] = true
		return nil
	})
	if err != nil {
		return err
	}
	rows := map[string][]byte{}
	err = dag.WalkTree(ctx, c.d.o.Blocks, cp.rows, nil, func(kv dag.KV) error {
		if changed[string(kv.Key)] || c.joined(kv.Key) {
			return nil
		}
		value := kv.Value
		id, err := longRow(value)
		if err == nil && !id.IsZero() {
			value, err = c.d.o.Blocks.Get(ctx, id)
		}
		rows[string(kv.Key)] = value
		return err
	})
	if errors.Is(err, block.ErrNotFound) || errors.Is(err, block.ErrCorrupt) {
		c.report("rows of the newest checkpoint: %v", err)
		return nil // it is reported
	}
	if err != nil {
		return err
	}
	for _, prefix := range []byte{KeyInode, KeyWish, KeySnap} {
		err := scanPrefix(c.r, []byte{prefix}, func(key, value []byte) error {
			if !changed[string(key)] && !c.joined(key) && !bytes.Equal(value, rows[string(key)]) {
				c.report("row %x is not what the newest checkpoint has", key)
			}
			delete(rows, string(key))
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, key := range sortedKeys(rows) {
		c.report("row %x of the newest checkpoint is missing", key)
	}
	return nil
}
