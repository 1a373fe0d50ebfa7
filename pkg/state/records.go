package state

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Records is a space of keys and values for another part of the program, which can do without them: they are never replicated, no
// checkpoint or check looks at them, and what was written last may be lost in a crash. It is safe for concurrent use.
type Records struct{ d *DB }

// Records are those of this DB.
func (d *DB) Records() Records { return Records{d} }

// Get is a key's value, nil if there is none. The caller owns it.
func (r Records) Get(key []byte) ([]byte, error) {
	d := r.d
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return nil, vfs.ErrClosed
	}
	return get(d.db, textKey(keyRecord, key))
}

// Write sets values, and removes where the value is nil, all or nothing. Sync: none.
func (r Records) Write(keys, values [][]byte) error {
	d := r.d
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(context.Background()); err != nil {
		return err
	}
	b := d.db.NewBatch()
	defer func() { _ = b.Close() }() // nothing is lost: it was committed, or there is an error
	for i, key := range keys {
		var err error
		if values[i] == nil {
			err = b.Delete(textKey(keyRecord, key), nil)
		} else {
			err = b.Set(textKey(keyRecord, key), values[i], nil)
		}
		if err != nil {
			return fmt.Errorf("state: records: %w", err)
		}
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("state: records: %w", err)
	}
	return nil
}

// Page is up to most keys, in order, that start with prefix and come after a key; nil: from the first. The caller owns them.
func (r Records) Page(prefix, after []byte, most int) (keys, values [][]byte, err error) {
	d := r.d
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return nil, nil, vfs.ErrClosed
	}
	first := textKey(keyRecord, prefix)
	from := first
	if after != nil {
		if next := append(textKey(keyRecord, after), 0); bytes.Compare(next, first) > 0 {
			from = next
		}
	}
	err = scan(d.db, from, prefixEnd(first), func(key, value []byte) error {
		if len(keys) == most {
			return errStop
		}
		keys, values = append(keys, bytes.Clone(key[1:])), append(values, append([]byte{}, value...))
		return nil
	})
	return keys, values, err
}
