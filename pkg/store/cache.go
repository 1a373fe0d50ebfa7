package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// How room is made.
const (
	evictPage    = 1024 // copies that are looked at together
	evictIdleMax = 4    // pages of which none may go, before it is given up
)

// cache is the cached copies, in the order in which they go. It is kept in the index by a clean Close; after a crash the last use is the
// time of storing.
type cache struct {
	mu    sync.Mutex // guards the fields below
	order order[block.ID]
	limit int64               // bytes
	free  int64               // bytes of the disk that cached copies leave free
	keep  func(block.ID) bool // copies that must stay; nil: none
}

func (c *cache) init() { c.limit = math.MaxInt64 }

func (c *cache) add(id block.ID, bytes int64, now uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.add(cachedCopy[block.ID]{id: id, bytes: bytes, used: now})
}

func (c *cache) remove(id block.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.remove(id)
}

// touch notes a use; of a block that is no cached copy it does nothing.
func (c *cache) touch(id block.ID, now uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.touch(id, now, c.limit)
}

func (c *cache) spare(id block.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.spare(id)
}

// lastUse is what the index keeps of a copy.
func (c *cache) lastUse(id block.ID) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.order.find(id); v != nil {
		return v.encode()
	}
	return cachedCopy[block.ID]{}.encode()
}

// victims lists the copies that go first.
func (c *cache) victims(limit int64) []block.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.victims(limit, evictPage)
}

func (c *cache) mustKeep() func(block.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keep
}

func (c *cache) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.bytes
}

// SetCacheLimit limits the bytes of cached copies from here on; at first there is no limit. Nor do they take more than leaves free bytes of
// the disk free, beside the reserve. It evicts nothing itself: the next PutCached does, or TrimCache.
func (s *Store) SetCacheLimit(bytes, free int64) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	s.cache.limit, s.cache.free = max(bytes, 0), max(free, 0)
}

// CacheUsage says what the cached copies are, and what they may be.
type CacheUsage struct {
	Bytes, Copies  int64
	ProtectedBytes int64 // of those that were used again while they were here
	LimitBytes     int64
	FreeBytes      int64 // of the disk that they leave free
}

// Cache says what the cached copies are now.
func (s *Store) Cache() CacheUsage {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	o := &s.cache.order
	return CacheUsage{Bytes: o.bytes, Copies: int64(len(o.byID)), ProtectedBytes: o.safe, LimitBytes: s.cache.limit, FreeBytes: s.cache.free}
}

// KeepCached has cached copies stay for which keep says yes, whatever the limits are; nil: none. keep is called often, must be quick, safe for
// concurrent use, and not call the store.
func (s *Store) KeepCached(keep func(id block.ID) bool) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	s.cache.keep = keep
}

// cacheRoom is how many bytes cached copies take and may take; byDisk says that it is the free space of the disk which says so.
func (s *Store) cacheRoom() (have, limit int64, byDisk bool) {
	free := s.disk.free.Load()
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	have, limit = s.cache.order.bytes, s.cache.limit
	if s.cache.free == 0 || free >= math.MaxInt64/2 { // the disk can't say
		return have, limit, false
	}
	if most := max(0, have+free-s.o.ReserveBytes-s.cache.free); most < limit {
		return have, most, true
	}
	return have, limit, false
}

// TrimCache evicts cached copies until they are within their limits, and gives the space back. The free space of the disk is asked for anew.
// Errors are those of EvictTo.
func (s *Store) TrimCache(ctx context.Context) (evicted int64, err error) {
	s.disk.refresh()
	have, limit, _ := s.cacheRoom()
	if have <= limit {
		return 0, nil
	}
	if evicted, err = s.EvictTo(ctx, limit); err != nil || evicted == 0 {
		return evicted, err
	}
	return evicted, s.Sync(ctx)
}

// EvictTo deletes cached copies until they take at most this many bytes, those that were used once before those that were used again, the
// least recently used first, and says how many bytes it deleted. Copies that must stay, or are being changed just then, are passed over.
// The space is free after the next Sync. Errors are those of Delete.
func (s *Store) EvictTo(ctx context.Context, bytes int64) (evicted int64, err error) {
	keep := s.cache.mustKeep()
	for idle := 0; idle < evictIdleMax; {
		page, went := s.cache.victims(max(bytes, 0)), int64(0)
		for _, id := range page {
			if err := ctx.Err(); err != nil {
				return evicted, err
			}
			n := int64(0)
			if keep == nil || !keep(id) {
				if n, err = s.evict(id); err != nil {
					return evicted, fmt.Errorf("store: evict %s: %w", id, err)
				}
			}
			if n == 0 {
				s.cache.spare(id) // others are looked at first next time
			}
			went += n
		}
		evicted += went
		switch {
		case len(page) == 0:
			return evicted, nil
		case went == 0:
			idle++
		}
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

// encode is the value of a copy in the index.
func (c cachedCopy[K]) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, c.used)
	if c.protected {
		b = append(b, 1)
	}
	return b
}

// decodeCopy reads what encode writes.
func decodeCopy(id block.ID, b []byte) (cachedCopy[block.ID], error) {
	if len(b) != 4 && (len(b) != 5 || b[4] != 1) {
		return cachedCopy[block.ID]{}, fmt.Errorf("index: last use of %s, %x: %w", id, b, block.ErrCorrupt)
	}
	return cachedCopy[block.ID]{id: id, used: binary.BigEndian.Uint32(b), protected: len(b) == 5}, nil
}

// saveLastUse writes the order of use to the index, at a clean end.
func (s *Store) saveLastUse() error {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	b := s.index.db.NewBatch()
	var errs []error
	for id, e := range s.cache.order.byID {
		errs = append(errs, b.Set(cachedKey(id), copyAt[block.ID](e).encode(), nil))
	}
	return errors.Join(append(errs, s.index.apply(b))...)
}

// loadCache reads the order of use at Open.
func (s *Store) loadCache(ctx context.Context) error {
	var copies []cachedCopy[block.ID]
	err := s.index.each(ctx, []byte{keyCached}, []byte{keyCached}, func(key, value []byte) error {
		id, err := readID(key[1:])
		if err != nil {
			return fmt.Errorf("index: cached copy %x: %w", key, block.ErrCorrupt)
		}
		c, err := decodeCopy(id, value)
		if err != nil {
			return err
		}
		r, ok, err := s.index.row(s.generation, id)
		if err == nil && ok && r.cached() && !r.bad() {
			c.bytes = r.size()
			copies = append(copies, c)
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
func (c *cache) load(copies []cachedCopy[block.ID]) {
	slices.SortFunc(copies, func(a, b cachedCopy[block.ID]) int { return cmp.Compare(a.used, b.used) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order = order[block.ID]{}
	for _, v := range copies {
		c.order.add(v)
	}
}
