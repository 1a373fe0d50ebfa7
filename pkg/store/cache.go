package store

import (
	"cmp"
	"container/list"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// cache is the order of use of the cached copies. The last use is kept in the index by a clean
// Close; after a crash it is the time of storing.
type cache struct {
	mu    sync.Mutex // guards the fields below
	order list.List  // of *cachedCopy; the front was used last
	byID  map[block.ID]*list.Element
	bytes int64
	limit int64
}

type cachedCopy struct {
	id    block.ID
	bytes int64
	used  uint32 // unix seconds
}

// copyAt is the copy of an element of the order.
func copyAt(e *list.Element) *cachedCopy {
	return e.Value.(*cachedCopy) //nolint:errcheck // the order holds nothing else
}

func (c *cache) init() {
	c.byID = make(map[block.ID]*list.Element)
	c.limit = math.MaxInt64
}

func (c *cache) add(id block.ID, bytes int64, now uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[id] == nil {
		c.byID[id] = c.order.PushFront(&cachedCopy{id, bytes, now})
		c.bytes += bytes
	}
}

func (c *cache) remove(id block.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[id]; e != nil {
		c.bytes -= copyAt(e).bytes
		c.order.Remove(e)
		delete(c.byID, id)
	}
}

// touch notes a use; of a block that is no cached copy it does nothing.
func (c *cache) touch(id block.ID, now uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[id]; e != nil {
		copyAt(e).used = now
		c.order.MoveToFront(e)
	}
}

func (c *cache) lastUse(id block.ID) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[id]; e != nil {
		return copyAt(e).used
	}
	return 0
}

// oldest lists the least used copies, enough to bring the rest down to limit bytes.
func (c *cache) oldest(limit int64) []block.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []block.ID
	left := c.bytes
	for e := c.order.Back(); e != nil && left > limit; e = e.Prev() {
		v := copyAt(e)
		ids = append(ids, v.id)
		left -= v.bytes
	}
	return ids
}

func (c *cache) sizes() (bytes, limit int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes, c.limit
}

// SetCacheLimit limits the bytes of cached copies from here on; at first there is no limit. It
// evicts nothing itself: the next PutCached does, or EvictTo.
func (s *Store) SetCacheLimit(bytes int64) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	s.cache.limit = max(bytes, 0)
}

// EvictTo deletes the least recently used cached copies until they take at most this many bytes,
// and says how many bytes it deleted. Copies that are being changed just then are passed over.
// The space is free after the next Sync. Errors are those of Delete.
func (s *Store) EvictTo(ctx context.Context, bytes int64) (evicted int64, err error) {
	for _, id := range s.cache.oldest(max(bytes, 0)) {
		if err := ctx.Err(); err != nil {
			return evicted, err
		}
		n, err := s.evict(id)
		if err != nil {
			return evicted, fmt.Errorf("store: evict %s: %w", id, err)
		}
		evicted += n
	}
	return evicted, nil
}

// evict deletes a cached copy, if it still is one and nobody has claimed it.
func (s *Store) evict(id block.ID) (int64, error) {
	if !s.claims.tryClaim(id) {
		return 0, nil
	}
	defer s.claims.release(id)
	r, ok, err := s.lookup(id)
	if err != nil || !ok || !r.cached() {
		return 0, err
	}
	return r.size(), s.remove(id, r)
}

// unix is the time in unix seconds, and so is now.
func (s *Store) unix() int64 { return max(s.o.Clock.Now().Unix(), 0) }

func (s *Store) now() uint32 { return uint32(s.unix()) }

func encodeLastUse(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// saveLastUse writes the order of use to the index, at a clean end.
func (s *Store) saveLastUse() error {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	b := s.index.db.NewBatch()
	var errs []error
	for id, e := range s.cache.byID {
		errs = append(errs, b.Set(cachedKey(id), encodeLastUse(copyAt(e).used), nil))
	}
	return errors.Join(append(errs, s.index.apply(b))...)
}

// loadCache reads the order of use at Open.
func (s *Store) loadCache(ctx context.Context) error {
	var copies []cachedCopy
	err := s.index.each(ctx, []byte{keyCached}, []byte{keyCached}, func(key, value []byte) error {
		id, err := readID(key[1:])
		if err != nil || len(value) != 4 {
			return fmt.Errorf("index: cached copy %x: %w", key, block.ErrCorrupt)
		}
		r, ok, err := s.index.row(s.generation, id)
		if err == nil && ok && r.cached() && !r.bad() {
			copies = append(copies, cachedCopy{id, r.size(), binary.BigEndian.Uint32(value)})
		}
		return err
	})
	if err != nil {
		return err
	}
	s.cache.load(copies)
	return nil
}

// load replaces what is known of the copies.
func (c *cache) load(copies []cachedCopy) {
	slices.SortFunc(copies, func(a, b cachedCopy) int { return cmp.Compare(a.used, b.used) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.Init()
	clear(c.byID)
	c.bytes = 0
	for i := range copies {
		c.byID[copies[i].id] = c.order.PushFront(&copies[i])
		c.bytes += copies[i].bytes
	}
}
