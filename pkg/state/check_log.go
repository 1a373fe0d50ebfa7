package state

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

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

// sameAsTree compares the committed rows with the tree of the newest checkpoint, but for those that changed since. It goes through both in the order of keys.
func (c *checker) sameAsTree(ctx context.Context) error {
	cp, err := c.lastCheckpoint()
	if err != nil {
		return err
	}
	for _, kind := range []byte{KeyInode, KeyWish, KeySnap} {
		err := c.sameKind(ctx, cp.rows, kind)
		if errors.Is(err, block.ErrNotFound) || errors.Is(err, block.ErrCorrupt) {
			c.report("rows of the newest checkpoint: %v", err)
			return nil // it is reported
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sameKind is sameAsTree for the rows of one kind.
func (c *checker) sameKind(ctx context.Context, rows block.ID, kind byte) (err error) {
	it, err := c.r.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
	if err != nil {
		return fmt.Errorf("state: check: %w", damaged(err))
	}
	defer func() { err = errors.Join(err, damaged(it.Error()), it.Close()) }()
	it.First()
	// extra reports the rows before a key, or all that are left, which the tree has not.
	extra := func(before []byte) error {
		for ; it.Valid() && (before == nil || bytes.Compare(it.Key(), before) < 0); it.Next() {
			if err := c.differs(it.Key(), "row %x is not what the newest checkpoint has"); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	err = dag.WalkTree(ctx, c.d.o.Blocks, rows, []byte{kind}, func(kv dag.KV) error {
		if kv.Key[0] != kind {
			return dag.ErrStop
		}
		if err := extra(kv.Key); err != nil {
			return err
		}
		if !it.Valid() || !bytes.Equal(it.Key(), kv.Key) {
			return c.differs(kv.Key, "row %x of the newest checkpoint is missing")
		}
		defer it.Next()
		id, err := longRow(kv.Value)
		if err != nil {
			return err
		}
		same := bytes.Equal(it.Value(), kv.Value)
		if !id.IsZero() {
			if same = id == block.Sum(block.Raw, it.Value()); same { // of one that changed since the block may be gone
				_, err = c.d.o.Blocks.Get(ctx, id)
			}
		}
		if !same {
			err = c.differs(kv.Key, "row %x is not what the newest checkpoint has")
		}
		return err
	})
	if err != nil {
		return err
	}
	return extra(nil)
}

// differs reports a row that is another in the tree, unless it changed since, or is of a join that has not ended.
func (c *checker) differs(key []byte, what string) error {
	if c.joined(key) {
		return nil
	}
	for epoch := uint64(0); ; epoch++ {
		mark, err := firstKey(c.r, seqKey(keyRowMark, epoch), []byte{keyRowMark + 1})
		if err != nil {
			return err
		}
		if len(mark) < 9 {
			break
		}
		epoch = binary.BigEndian.Uint64(mark[1:])
		changed, err := get(c.r, markKey(keyRowMark, epoch, key))
		if err != nil || changed != nil {
			return err
		}
	}
	c.report(what, key)
	return nil
}
