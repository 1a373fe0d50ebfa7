package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"

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
