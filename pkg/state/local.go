package state

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// AddStatement keeps a statement; fresh says that it was not there. Sync: one of the write-ahead log, before the return.
func (d *DB) AddStatement(ctx context.Context, b []byte) (fresh bool, err error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return false, err
	}
	hash := blake3.Sum256(b)
	key := textKey(keyStatement, hash[:])
	old, err := get(d.db, key)
	if err != nil || old != nil {
		return false, err
	}
	if err := d.db.Set(key, b, pebble.NoSync); err != nil {
		return false, fmt.Errorf("state: statement: %w", err)
	}
	return true, d.sync()
}

// DropStatements forgets statements that nobody needs any more. Nothing is synced: one that is there again after a crash does no harm.
func (d *DB) DropStatements(ctx context.Context, list [][]byte) error {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return err
	}
	for _, b := range list {
		hash := blake3.Sum256(b)
		if err := d.db.Delete(textKey(keyStatement, hash[:]), pebble.NoSync); err != nil {
			return fmt.Errorf("state: statement: %w", err)
		}
	}
	return nil
}

// Statements are all statements, sorted by their hashes.
func (d *DB) Statements() ([][]byte, error) {
	return readAs(d, func(v view) (out [][]byte, err error) {
		err = scanPrefix(v.r, []byte{keyStatement}, func(_, value []byte) error {
			out = append(out, append([]byte{}, value...))
			return nil
		})
		return out, err
	})
}

// Local is a local value, which is never replicated; ok says that there is one.
func (d *DB) Local(key string) (value []byte, ok bool, err error) {
	err = d.read(func(v view) error {
		value, err = get(v.r, textKey(keyLocal, key))
		return err
	})
	return value, value != nil, err
}

// Locals are the local values whose keys have a prefix, by key.
func (d *DB) Locals(prefix string) (map[string][]byte, error) {
	out := make(map[string][]byte)
	err := d.read(func(v view) error {
		return scanPrefix(v.r, textKey(keyLocal, prefix), func(key, value []byte) error {
			out[string(key[1:])] = append([]byte{}, value...)
			return nil
		})
	})
	return out, err
}

// SetLocal sets a local value, or removes it if it is nil. Sync: one of the write-ahead log, before the return.
func (d *DB) SetLocal(ctx context.Context, key string, value []byte) error {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return err
	}
	var err error
	if value == nil {
		err = d.db.Delete(textKey(keyLocal, key), pebble.NoSync)
	} else {
		err = d.db.Set(textKey(keyLocal, key), value, pebble.NoSync)
	}
	if err != nil {
		return fmt.Errorf("state: local value %q: %w", key, err)
	}
	return d.sync()
}

// usable says why nothing can be done. life must be held.
func (d *DB) usable(ctx context.Context) error {
	if d.closed {
		return vfs.ErrClosed
	}
	return ctx.Err()
}

// Dirty says whether there are uncommitted rows.
func (d *DB) Dirty() bool { return d.isDirty.Load() }

// OnDirty sets the function that is called by the operation that makes the first uncommitted row, but for those that wait for their
// files' journals to be folded. It must not block; it may be called from any goroutine. It is not called for rows that a Commit leaves
// dirty because they were changed meanwhile: ask Uncommitted after a Commit.
func (d *DB) OnDirty(f func()) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	d.onDirty = f
}

// Watch adds a function that is called with what changed in the view, after each operation here (local) and each Apply. It must not block
// or call operations; it may read. The slice is shared and must not be changed.
func (d *DB) Watch(f func(changes []vfs.Change, local bool)) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	d.watchers = append(d.watchers, f)
}

// Telling says whether changes of an Apply may be seen already of which the functions of Watch were not told yet.
func (d *DB) Telling() bool { return d.telling.Load() > 0 }
