package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// SetWish changes the wish of a node itself; a conflict copy's is that of the file beside which it stands. Errors: vfs.ErrNotExist, ErrInvalid, ErrReadOnly.
func (d *DB) SetWish(id vfs.NodeID, e WishEdit) error {
	if (e.Policy != nil && len(*e.Policy) > PolicyMax) || (e.Durability != nil && len(*e.Durability) > PolicyMax) ||
		(e.Homes != nil && len(*e.Homes) > HomesMax) {
		return fmt.Errorf("state: wish of node %d: %w", id, vfs.ErrInvalid)
	}
	for _, text := range e.Rules {
		if len(text) > PolicyMax {
			return fmt.Errorf("state: rule of node %d: %d bytes: %w", id, len(text), vfs.ErrInvalid)
		}
	}
	return d.op(func(t *tx) error {
		s, err := t.byNumber(id)
		if err != nil {
			return err
		}
		c, w, _, err := t.wish(s.ino)
		if err != nil {
			return err
		}
		if e.Policy != nil {
			w.Policy = Reg[string]{Value: *e.Policy, TS: t.ts}
		}
		if e.Durability != nil {
			w.Durability = Reg[string]{Value: *e.Durability, TS: t.ts}
		}
		if e.Homes != nil {
			w.Homes = Reg[[]ident.Pod]{Value: slices.Clone(*e.Homes), TS: t.ts}
			if e.Moved {
				w.Ext = put(slices.Clone(w.Ext), Ext{Field: WishMoved, TS: t.ts, Value: []byte{1}}, byField)
			}
		}
		if len(e.Rules) > 0 {
			w.Ext = slices.Clone(w.Ext)
		}
		for field, text := range e.Rules {
			w.Ext = put(w.Ext, Ext{Field: field, TS: t.ts, Value: []byte(text)}, byField)
		}
		w.Pins = slices.Clone(w.Pins)
		for _, p := range e.Pin {
			w.Pins = put(w.Pins, Pin{Pod: p, TS: t.ts}, byPod)
		}
		for _, p := range e.Unpin {
			w.Pins = put(w.Pins, Pin{Pod: p, Gone: true, TS: t.ts}, byPod)
		}
		if len(w.Pins) > PinsMax {
			return fmt.Errorf("state: %d pins of node %d: %w", len(w.Pins), id, vfs.ErrInvalid)
		}
		return t.writeDirty(WishKey(s.ino), c.observed(), AppendWish(nil, &w))
	})
}

// removeWish removes a wish, if there is one.
func (t *tx) removeWish(ino Ino) error {
	c, _, ok, err := t.wish(ino)
	if err != nil || !ok {
		return err
	}
	return t.writeDirty(WishKey(ino), c.observed(), nil)
}

// Wish is the wish of a node itself; ok says that there is one. Error: vfs.ErrNotExist.
func (d *DB) Wish(id vfs.NodeID) (w Wish, ok bool, err error) {
	err = d.read(func(v view) error {
		s, err := v.byNumber(id)
		if err != nil {
			return err
		}
		_, w, ok, err = v.wish(s.ino)
		return err
	})
	return w, ok, err
}

// EffectiveWish is a node's wish with what it inherits from the folders above: of each field the nearest that is set, and
// the pins of all. from is the node where the policy is set, 0 if it is nowhere. Error: vfs.ErrNotExist.
func (d *DB) EffectiveWish(id vfs.NodeID) (w Wish, from Ino, err error) {
	err = d.read(func(v view) error {
		s, err := v.byNumber(id)
		if err != nil {
			return err
		}
		e, err := v.effective(s, make(map[Ino]effectiveWish))
		w, from = e.Wish, e.from
		return err
	})
	return w, from, err
}

// WishesUp calls f with the wish of a node, and with those of the folders above it, up to the root's: those that there are, nearest first.
// Error: vfs.ErrNotExist.
func (d *DB) WishesUp(id vfs.NodeID, f func(at vfs.NodeID, w Wish)) error {
	return d.read(func(v view) error {
		if none, err := v.wishless(); none || err != nil {
			return err
		}
		s, err := v.byNumber(id)
		if err != nil {
			return err
		}
		for steps := climb(0); ; {
			_, own, ok, err := v.wish(s.ino)
			if err != nil {
				return err
			}
			if ok {
				f(s.ino, own)
			}
			if s.ino == RootIno {
				return nil
			}
			parent, _, err := v.where(s)
			if err == nil {
				err = steps.step(parent)
			}
			if err != nil {
				return err
			}
			s = shown{ino: parent, f: rootFolded()} // of a folder only the number counts
		}
	})
}

// Wishes are the wishes that hold at nodes: those of EffectiveWish for many, with one look at each folder. A node that is gone
// has none. What they point to is shared and must not be changed.
func (d *DB) Wishes(ids []vfs.NodeID) ([]Wish, error) {
	out := make([]Wish, len(ids))
	err := d.read(func(v view) error {
		if none, err := v.wishless(); none || err != nil {
			return err
		}
		folders := make(map[Ino]effectiveWish)
		for i, id := range ids {
			s, err := v.byNumber(id)
			if err == nil {
				var e effectiveWish
				e, err = v.effective(s, folders)
				out[i] = e.Wish
			}
			if err != nil && !errors.Is(err, vfs.ErrNotExist) {
				return err
			}
		}
		return nil
	})
	return out, err
}

// wishless says whether there is no wish at all: then none has to be looked for on the way from each node up to the root.
func (v view) wishless() (bool, error) {
	for _, prefix := range [][]byte{{KeyWish}, {keyDirty, KeyWish}} {
		first, err := firstKey(v.r, prefix, prefixEnd(prefix))
		if first != nil || err != nil {
			return false, err
		}
	}
	return true, nil
}

// effectiveWish is a wish with what it inherits, and the node where its policy is set.
type effectiveWish struct {
	Wish
	from Ino
}

// effective is the wish that holds at a node; folders are those that were asked before.
func (v view) effective(s shown, folders map[Ino]effectiveWish) (effectiveWish, error) {
	type step struct {
		ino Ino
		own Wish
	}
	var up []step // from the node to the root, or to a folder that is known
	var e effectiveWish
	for {
		known, ok := folders[s.ino]
		if ok {
			e = known
			break
		}
		_, own, _, err := v.wish(s.ino)
		if err != nil {
			return e, err
		}
		up = append(up, step{s.ino, own})
		if s.ino == RootIno {
			break
		}
		parent, _, err := v.where(s)
		if err != nil {
			return e, err
		}
		s = shown{ino: parent, f: rootFolded()} // of a folder only the number counts
	}
	for _, n := range slices.Backward(up) {
		e = e.under(n.ino, n.own)
		folders[n.ino] = e
	}
	return e, nil
}

// under is the wish of a node in a folder with the wish e.
func (e effectiveWish) under(ino Ino, own Wish) effectiveWish {
	if own.Policy.Value != "" {
		e.Policy, e.from = own.Policy, ino
	} else if own.Policy.TS.Compare(e.Policy.TS) > 0 {
		e.Policy.TS = own.Policy.TS // it was unset: that is a change, too
	}
	if own.Durability.Value != "" {
		e.Durability = own.Durability
	}
	if len(own.Homes.Value) > 0 {
		e.Homes = own.Homes
	}
	e.Pins = inherit(own.Pins, e.Pins)
	return e
}

// inherit adds to pins those of a folder above that are not taken back, for pods of which pins says nothing.
func inherit(pins, above []Pin) []Pin {
	if len(pins) == 0 {
		return above
	}
	pins = slices.Clone(pins)
	for _, p := range above {
		known := slices.ContainsFunc(pins, func(o Pin) bool { return bytes.Equal(o.Pod[:], p.Pod[:]) })
		if !known {
			pins = put(pins, p, byPod)
		}
	}
	return pins
}

// EachWish calls f with the wish of every node that has one, as of one moment. An error of f ends it and is returned.
func (d *DB) EachWish(ctx context.Context, f func(id vfs.NodeID, w Wish) error) error {
	return d.read(func(v view) error {
		each := func(key []byte) error {
			ino, _, err := splitNameKey(key)
			if err != nil {
				return err
			}
			_, w, ok, err := v.wish(ino)
			if err != nil || !ok {
				return err
			}
			return errors.Join(ctx.Err(), f(ino, w))
		}
		err := scanPrefix(v.r, []byte{KeyWish}, func(key, _ []byte) error { return each(key) })
		if err != nil {
			return err
		}
		return scanPrefix(v.r, []byte{keyDirty, KeyWish}, func(key, _ []byte) error {
			committed, err := get(v.r, key[1:])
			if err != nil || committed != nil {
				return err
			}
			return each(key[1:])
		})
	})
}
