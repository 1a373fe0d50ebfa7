package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Memory of the index. A daemon that idles has 80 MB for everything.
const (
	indexCacheBytes    = 16 << 20
	indexRestBytes     = 1 << 20 // of the cache, kept by rest
	indexMemtableBytes = 2 << 20 // kept twice, once in use and once to be used next, and never given back
	indexMemtablesMax  = 24      // wait for the disk before writers do
	indexOpenFiles     = 128
)

// index is the Pebble database that finds blocks. It has no write-ahead log: all that it holds is
// derived from the segments, so what a crash takes is read again from there, from meta.upTo on.
type index struct {
	db    *pebble.DB
	cache *pebble.Cache
	room  *room
	log   *slog.Logger
}

// errIndexOpen says that Pebble does not open the index.
var errIndexOpen = errors.New("index can't be opened")

// openIndex opens or makes the index. It is empty after a loss: see meta. damaged is called when Pebble finds a damaged
// table later.
func openIndex(fs *room, dir string, log *slog.Logger, damaged func(error)) (x *index, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *fatalError:
			x, err = nil, r.err
		default:
			panic(r)
		}
	}()
	cache := pebble.NewCache(indexCacheBytes)
	x = &index{cache: cache, room: fs, log: log}
	q := quiet{log, fs}
	o := &pebble.Options{
		FS:                    fs,
		Cache:                 cache,
		DisableWAL:            true,
		FormatMajorVersion:    pebble.FormatNewest,
		MemTableSize:          indexMemtableBytes,
		MaxOpenFiles:          indexOpenFiles,
		L0CompactionThreshold: 8,
		L0StopWritesThreshold: 24,
		// While the disk is full the memtables take what the log has room for in the ballast.
		MemTableStopWritesThreshold: indexMemtablesMax,
		Logger:                      q,
		EventListener: &pebble.EventListener{
			BackgroundError: q.backgroundError,
			DataCorruption:  func(info pebble.DataCorruptionInfo) { damaged(info.Details) },
		},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	if x.db, err = pebble.Open(dir, o); err != nil {
		cache.Unref()
		return nil, fmt.Errorf("%w: %w", errIndexOpen, noSpace(err))
	}
	return x, nil
}

// close makes the index durable and closes it. On a full disk it is left as it is: it lags behind the log then, and
// nothing is lost by that.
func (x *index) close() error {
	err := x.flush(context.Background())
	x.room.shut()
	err = errors.Join(err, x.db.Close())
	x.cache.Unref()
	if errors.Is(err, ErrNoSpace) || diskFull(err) {
		x.log.Warn("store index is not written, because the disk is full", "error", err)
		return nil
	}
	return err
}

// rest gives back memory that makes reads faster. It is not called once the index is closed.
func (x *index) rest() { x.cache.Reserve(indexCacheBytes - indexRestBytes)() }

// flush makes the index durable. With a full disk it is ErrNoSpace, and goes on in the background.
func (x *index) flush(ctx context.Context) error {
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
	case <-ctx.Done():
		return ctx.Err()
	case <-full:
		return fmt.Errorf("index: %w", ErrNoSpace)
	}
}

// get copies a value; ok says whether there is one.
func (x *index) get(key []byte) (value []byte, ok bool, err error) {
	v, closer, err := x.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("index: %w", err)
	}
	value = append(value, v...)
	return value, true, closer.Close()
}

// keyBuffers hold keys of blocks that are looked up: a read of a chunk takes no memory for it.
var keyBuffers = sync.Pool{New: func() any { return new([]byte) }}

// row is the row of a block.
func (x *index) row(generation byte, id block.ID) (row, bool, error) {
	key := keyBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // the pool has only these
	defer keyBuffers.Put(key)
	*key = id.Append(append((*key)[:0], keyBlock, generation))
	v, closer, err := x.db.Get(*key)
	if errors.Is(err, pebble.ErrNotFound) {
		return row{}, false, nil
	}
	if err != nil {
		return row{}, false, fmt.Errorf("index: %w", err)
	}
	r, err := decodeRow(v)
	return r, err == nil, errors.Join(err, closer.Close())
}

// meta is the meta row; of a new or lost index the zero one.
func (x *index) meta() (meta, error) {
	v, ok, err := x.get([]byte{keyMeta})
	if err != nil || !ok {
		return meta{}, err
	}
	return decodeMeta(v)
}

// each calls f with every key that begins with prefix and comes after it, in order. The bytes are
// valid during the call only.
func (x *index) each(ctx context.Context, prefix, from []byte, f func(key, value []byte) error) error {
	it, err := x.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return walk(it, from, func(key, value []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return f(key, value)
	})
}

// few is each where there are few, from the first on.
func (x *index) few(prefix []byte, f func(key, value []byte) error) error {
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return walk(it, prefix, f)
}

// walk calls f from a key on, and closes the iterator.
func walk(it *pebble.Iterator, from []byte, f func(key, value []byte) error) (err error) {
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.SeekGE(from); ok; ok = it.Next() {
		if err := f(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	return it.Error()
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

// fatalError is what quiet.Fatalf panics with.
type fatalError struct{ err error }

// Error makes a panic readable.
func (f *fatalError) Error() string { return "store: " + f.err.Error() }

// quiet logs what Pebble says only where something is wrong.
type quiet struct {
	log  *slog.Logger
	room *room
}

// Infof drops Pebble's chatter.
func (quiet) Infof(string, ...any) {}

// Errorf logs an error.
func (q quiet) Errorf(format string, args ...any) {
	q.log.Error("store index", "error", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble calls it where going on would damage the index (a manifest that
// can't be written). Nothing acknowledged is lost by it, since the segments hold everything. Of the
// manifest it returns while the index closes, because nothing goes on then.
func (q quiet) Fatalf(format string, args ...any) {
	err := fmt.Errorf("index: "+format, args...)
	for _, a := range args {
		if cause, ok := a.(error); ok {
			err = fmt.Errorf("%w: %w", err, noSpace(cause))
		}
	}
	q.log.Error("store index is beyond use", "error", err)
	if q.room.isShut() && strings.Contains(err.Error(), "MANIFEST") {
		return
	}
	panic(&fatalError{err})
}

func (q quiet) backgroundError(err error) { q.log.Warn("store index in the background", "error", err) }
