package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Memory of the index. A daemon that idles has 80 MB for everything.
const (
	indexCacheBytes    = 16 << 20
	indexMemtableBytes = 8 << 20
	indexOpenFiles     = 128
)

// index is the Pebble database that finds blocks. It has no write-ahead log: all that it holds is
// derived from the segments, so what a crash takes is read again from there, from meta.upTo on.
type index struct {
	db     *pebble.DB
	room   *room
	log    *slog.Logger
	rotten func(error) // told once of damage
	told   atomic.Bool
}

// errIndexRotten says that the index is damaged: no row is believed, and it must be made anew.
var errIndexRotten = errors.New("the index is damaged")

// openIndex opens or makes the index. It is empty after a loss: see meta. rotten is told once of damage that is found later.
func openIndex(fs *room, dir string, log *slog.Logger, rotten func(error)) (*index, error) {
	x := &index{room: fs, log: log, rotten: rotten}
	q := quiet{log, x}
	cache := pebble.NewCache(indexCacheBytes)
	defer cache.Unref()
	o := &pebble.Options{
		FS:                    fs,
		Cache:                 cache,
		DisableWAL:            true,
		FormatMajorVersion:    pebble.FormatNewest,
		MemTableSize:          indexMemtableBytes,
		MaxOpenFiles:          indexOpenFiles,
		L0CompactionThreshold: 2,
		// On a full disk the memtables must take what the ballast has room for in the log.
		MemTableStopWritesThreshold: 6,
		Logger:                      q,
		EventListener: &pebble.EventListener{
			BackgroundError: q.backgroundError,
			DataCorruption:  func(info pebble.DataCorruptionInfo) { x.isRotten(info.Details) },
		},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	x.db = db
	return x, nil
}

// isRotten adds errIndexRotten to an error that says so, and tells of it.
func (x *index) isRotten(err error) error {
	if !pebble.IsCorruptionError(err) && !errors.Is(err, block.ErrCorrupt) {
		return err
	}
	if !x.told.Swap(true) {
		x.rotten(err)
	}
	return fmt.Errorf("%w: %w", errIndexRotten, err)
}

// close makes the index durable and closes it. On a full disk it is left as it is: it lags behind the log then.
func (x *index) close() error {
	err := x.flush()
	x.room.wait(false)
	err = errors.Join(err, x.db.Close())
	if errors.Is(err, ErrNoSpace) || diskFull(err) {
		x.log.Warn("store index is not written, because the disk is full", "error", err)
		return nil
	}
	return err
}

// flush makes durable what was applied. It is ErrNoSpace when the disk is full: then it is done in the background once
// there is space.
func (x *index) flush() error {
	full := x.room.isFull()
	select {
	case <-full:
		return fmt.Errorf("index: %w", ErrNoSpace)
	default:
	}
	done, err := x.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	select {
	case <-done:
		return nil
	case <-full:
		return fmt.Errorf("index: %w", ErrNoSpace)
	}
}

// get copies a value; ok says whether there is one.
func (x *index) get(key []byte) (value []byte, ok bool, err error) {
	if x == nil { // a rebuild failed
		return nil, false, errIndexRotten
	}
	v, closer, err := x.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("index: %w", x.isRotten(err))
	}
	value = append(value, v...)
	return value, true, closer.Close()
}

// keyBuffers hold keys of blocks that are looked up: a read of a chunk takes no memory for it.
var keyBuffers = sync.Pool{New: func() any { return new([]byte) }}

// row is the row of a block.
func (x *index) row(generation byte, id block.ID) (row, bool, error) {
	if x == nil {
		return row{}, false, errIndexRotten
	}
	key := keyBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // the pool has only these
	defer keyBuffers.Put(key)
	*key = id.Append(append((*key)[:0], keyBlock, generation))
	v, closer, err := x.db.Get(*key)
	if errors.Is(err, pebble.ErrNotFound) {
		return row{}, false, nil
	}
	if err != nil {
		return row{}, false, fmt.Errorf("index: %w", x.isRotten(err))
	}
	r, err := decodeRow(v)
	return r, err == nil, errors.Join(x.isRotten(err), closer.Close())
}

// meta is the meta row; of a new or lost index the zero one.
func (x *index) meta() (meta, error) {
	v, ok, err := x.get([]byte{keyMeta})
	if err != nil || !ok {
		return meta{}, err
	}
	m, err := decodeMeta(v)
	return m, x.isRotten(err)
}

// each calls f with every key that begins with prefix and comes after it, in order. The bytes are
// valid during the call only.
func (x *index) each(ctx context.Context, prefix, from []byte, f func(key, value []byte) error) (err error) {
	if x == nil {
		return errIndexRotten
	}
	it, err := x.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.SeekGE(from); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(it.Key(), it.Value()); err != nil {
			return x.isRotten(err)
		}
	}
	return x.isRotten(it.Error())
}

// prefixEnd is the first key behind those that begin with prefix. No prefix in use ends in 0xff
// but that of the last generation, whose end is the next letter.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// apply commits a batch to memory; Pebble writes it out when its memtable is full or flushed.
// Batches reach the disk in their order, each whole or not at all.
func (x *index) apply(b *pebble.Batch) error {
	if err := x.db.Apply(b, pebble.NoSync); err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return b.Close()
}

// quiet logs what Pebble says only where something is wrong.
type quiet struct {
	log *slog.Logger
	x   *index
}

// Infof drops Pebble's chatter.
func (quiet) Infof(string, ...any) {}

// Errorf logs an error.
func (q quiet) Errorf(format string, args ...any) {
	q.log.Error("store index", "error", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble calls it where going on would damage the index (a manifest that
// can't be written). Nothing acknowledged is lost by it, since the segments hold everything. While
// the index closes it returns, because nothing goes on then.
func (q quiet) Fatalf(format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	q.log.Error("store index is beyond use", "error", msg)
	if strings.HasPrefix(msg, "MANIFEST") && !q.x.room.waits() {
		return
	}
	panic("store: index: " + msg)
}

func (q quiet) backgroundError(err error) { q.log.Warn("store index in the background", "error", err) }
