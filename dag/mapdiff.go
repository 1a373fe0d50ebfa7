package dag

import (
	"bytes"
	"context"
	"errors"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// DiffTree calls f, in the order of keys, for each key whose value differs between the maps with roots a and b;
// the value is nil where the key is missing, and not nil elsewhere. Subtrees that both have are skipped unread. An error of f ends it and
// is returned as it is, but ErrStop as nil.
func DiffTree(ctx context.Context, get block.Getter, a, b block.ID, f func(key, va, vb []byte) error) error {
	if a == b {
		return nil
	}
	ca, err := newMapCursor(ctx, get, a)
	if err != nil {
		return err
	}
	cb, err := newMapCursor(ctx, get, b)
	if err != nil {
		return err
	}
	for err == nil && (!ca.done() || !cb.done()) {
		err = diffStep(ctx, ca, cb, f)
	}
	if errors.Is(err, ErrStop) {
		return nil
	}
	return err
}

// diffStep compares what two cursors stand at and moves one or both.
func diffStep(ctx context.Context, a, b *mapCursor, f func(key, va, vb []byte) error) error {
	switch {
	case b.done():
		return onlyStep(ctx, a, func(kv KV) error { return f(kv.Key, kv.Value, nil) })
	case a.done():
		return onlyStep(ctx, b, func(kv KV) error { return f(kv.Key, nil, kv.Value) })
	}
	ka, na, _ := a.at()
	kb, nb, _ := b.at()
	switch c := bytes.Compare(ka.Key, kb.Key); {
	case c < 0:
		return onlyStep(ctx, a, func(kv KV) error { return f(kv.Key, kv.Value, nil) })
	case c > 0:
		return onlyStep(ctx, b, func(kv KV) error { return f(kv.Key, nil, kv.Value) })
	case na.level != nb.level:
		if na.level > nb.level {
			return a.descend(ctx)
		}
		return b.descend(ctx)
	case !bytes.Equal(ka.Value, kb.Value):
		if na.level > 0 {
			if err := a.descend(ctx); err != nil {
				return err
			}
			return b.descend(ctx)
		}
		if err := f(ka.Key, ka.Value, kb.Value); err != nil {
			return err
		}
	}
	// Equal values, or equal subtrees, or a difference that was told.
	a.skip()
	b.skip()
	return nil
}

// onlyStep takes an item that the other map has not, or goes down towards it.
func onlyStep(ctx context.Context, c *mapCursor, f func(KV) error) error {
	kv, n, _ := c.at()
	if n.level > 0 {
		return c.descend(ctx)
	}
	if err := f(kv); err != nil {
		return err
	}
	c.skip()
	return nil
}
