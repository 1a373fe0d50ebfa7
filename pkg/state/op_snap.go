package state

import (
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Snapshot is a tree root with a name.
type Snapshot struct {
	Name   string
	Root   block.ID
	HLC    HLC         // when it was made; 0: the log does not reach back so far
	Author ident.Actor // who made it
}

// SetSnapshot gives a tree root a name, or, with the zero ID, takes the name away. Errors: vfs.ErrBadName, ErrNameTooLong, ErrReadOnly.
func (d *DB) SetSnapshot(name string, root block.ID) error {
	if err := CheckName(name); err != nil {
		return fmt.Errorf("state: snapshot: %w", err)
	}
	return d.op(func(t *tx) error {
		row := SnapKey(name)
		c := current[block.ID]{}
		var err error
		if c.dirty, err = t.dirty(row); err != nil {
			return err
		}
		b, err := get(t.r, row)
		if err != nil {
			return err
		}
		if b != nil {
			if c.set, err = DecodeSnapSet(b); err != nil {
				return err
			}
		}
		var value []byte
		if !root.IsZero() {
			value = AppendSnap(nil, root)
		}
		return t.writeDirty(row, c.observed(), value)
	})
}

// Snapshots are the committed snapshots, sorted by name. Of roots that got one name apart, it is the one with the greatest dot.
func (d *DB) Snapshots() ([]Snapshot, error) {
	return readAs(d, func(v view) (out []Snapshot, err error) {
		err = scanPrefix(v.r, []byte{KeySnap}, func(key, value []byte) error {
			set, err := DecodeSnapSet(value)
			if err != nil || len(set) == 0 {
				return err
			}
			last := set[len(set)-1]
			s := Snapshot{Name: string(key[1:]), Root: last.Value, Author: last.Dot.Actor}
			h, err := v.headerAt(last.Dot)
			if err == nil {
				s.HLC = h.HLC
			} else if !errors.Is(err, block.ErrNotFound) {
				return err
			}
			out = append(out, s)
			return nil
		})
		return out, err
	})
}

// SnapshotRoots are the tree roots that snapshots name, those that got one name apart and uncommitted ones included: what must be kept.
func (d *DB) SnapshotRoots() ([]block.ID, error) {
	return readAs(d, func(v view) (out []block.ID, err error) {
		err = scanPrefix(v.r, []byte{KeySnap}, func(_, value []byte) error {
			set, err := DecodeSnapSet(value)
			for _, one := range set {
				out = append(out, one.Value)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		return out, scanPrefix(v.r, []byte{keyDirty, KeySnap}, func(_, value []byte) error {
			w, err := decodeDirty(value)
			if err != nil || len(w.value) == 0 {
				return err
			}
			id, err := DecodeSnap(w.value)
			out = append(out, id)
			return err
		})
	})
}
