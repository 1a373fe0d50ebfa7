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

// dropped checks what is kept of a label's commits whose rows the log dropped: all digests, and the headers that the skip links from the last one lead to.
func (c *checker) dropped(t *branches, a ident.Actor, begin uint64) error {
	incarnation, floor := t.incarnation(a), t.floor(a)
	key, err := c.d.o.Author(incarnation)
	if err != nil {
		c.report("log of actor %s: %v", a, err)
		return nil // it is reported
	}
	if n, err := c.lackedDigest(a, floor, begin); err != nil || n > 0 {
		if err == nil {
			c.report("log of actor %s: no digest of commit %d", a, n)
		}
		return err
	}
	for seq := begin; seq > floor; seq = SkipSeq(seq) {
		digest, encoded, err := c.commitAt(a, seq)
		if err != nil {
			return err
		}
		if len(encoded) == 0 {
			if seq < begin || !t.points[forkPoint{actor: incarnation, seq: seq, digest: digest}] {
				c.report("log of actor %s: no header of commit %d", a, seq)
			}
			return nil // a fork statement stands for it
		}
		h, err := headerOf(encoded)
		if err == nil && (h.Actor != incarnation || h.Seq != seq || h.Digest() != digest) {
			err = errors.New("it is another one's")
		}
		if err == nil {
			err = h.Verify(key)
		}
		if skip := SkipSeq(seq); err == nil && skip > 0 {
			if named, _, skipErr := c.commitAt(t.at(a, skip), skip); skipErr != nil || named != h.Skip {
				err = fmt.Errorf("commit %d is not the one that it names: %w", skip, skipErr)
			}
		}
		if err != nil {
			c.report("log of actor %s: header of commit %d: %v", a, seq, err)
			return nil // it is reported
		}
	}
	return nil
}

// lackedDigest is the first commit after one and up to another of which there is no digest; 0: there are all.
func (c *checker) lackedDigest(a ident.Actor, after, upTo uint64) (uint64, error) {
	next := after + 1
	err := scan(c.r, logKey(a, next), logKey(a, upTo+1), func(key, value []byte) error {
		if string(key) != string(logKey(a, next)) || len(value) < digestLen+8 {
			return errStop
		}
		next++
		return nil
	})
	if next > upTo {
		next = 0
	}
	return next, err
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
