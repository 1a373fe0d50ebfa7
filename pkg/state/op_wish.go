package state

import (
	"bytes"
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
		for {
			_, own, _, err := v.wish(s.ino)
			if err != nil {
				return err
			}
			if w.Policy.Value == "" && own.Policy.Value != "" {
				w.Policy, from = own.Policy, s.ino
			}
			if w.Durability.Value == "" {
				w.Durability = own.Durability
			}
			if len(w.Homes.Value) == 0 {
				w.Homes = own.Homes
			}
			w.Pins = inherit(w.Pins, own.Pins)
			if s.ino == RootIno {
				return nil
			}
			parent, _, err := v.where(s)
			if err != nil {
				return err
			}
			s = shown{ino: parent, f: rootFolded()} // of a folder only the number counts
		}
	})
	return w, from, err
}

// Policies are the policies that hold at nodes, "" where none is set: those of EffectiveWish for many, with one look at each
// folder. A node that is gone has none.
func (d *DB) Policies(ids []vfs.NodeID) ([]string, error) {
	out := make([]string, len(ids))
	err := d.read(func(v view) error {
		if none, err := v.wishless(); none || err != nil {
			return err
		}
		folders := make(map[Ino]string)
		for i, id := range ids {
			s, err := v.byNumber(id)
			if err == nil {
				out[i], err = v.policy(s, folders)
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

// policy is the policy that holds at a node; folders are those that were asked before.
func (v view) policy(s shown, folders map[Ino]string) (string, error) {
	var passed []Ino // on the way up
	var found string
	for {
		known, ok := folders[s.ino]
		if ok {
			found = known
			break
		}
		_, own, _, err := v.wish(s.ino)
		if err != nil {
			return "", err
		}
		passed = append(passed, s.ino)
		if own.Policy.Value != "" || s.ino == RootIno {
			found = own.Policy.Value
			break
		}
		parent, _, err := v.where(s)
		if err != nil {
			return "", err
		}
		s = shown{ino: parent, f: rootFolded()} // of a folder only the number counts
	}
	for _, ino := range passed {
		folders[ino] = found
	}
	return found, nil
}

// inherit adds to pins those of a folder above that are not taken back, for pods of which pins says nothing.
func inherit(pins, above []Pin) []Pin {
	for _, p := range above {
		known := slices.ContainsFunc(pins, func(o Pin) bool { return bytes.Equal(o.Pod[:], p.Pod[:]) })
		if !known {
			pins = put(pins, p, byPod)
		}
	}
	return pins
}
