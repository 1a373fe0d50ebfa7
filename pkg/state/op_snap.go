package state

import (
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Snapshot is a tree root with a name.
type Snapshot struct {
	Name string
	Root block.ID
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
			out = append(out, Snapshot{Name: string(key[1:]), Root: set[len(set)-1].Value})
			return nil
		})
		return out, err
	})
}
