package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Usage says what a store holds. Bytes are those of records on disk, after compression, with their
// heads of 96 bytes.
type Usage struct {
	OwnedBytes  int64
	CachedBytes int64
	TrashBytes  int64
	DeadBytes   int64 // of deleted records and marks, not given back yet
	FreeBytes   int64 // that Put may still take, cached copies not evicted
	Blocks      int64 // owned and cached, fragments among them, not those in the trash
}

// Usage says what the store holds now.
func (s *Store) Usage() Usage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	u := Usage{OwnedBytes: s.totals.owned, CachedBytes: s.totals.cached, TrashBytes: s.totals.trash, Blocks: s.totals.blocks}
	for _, g := range s.segs {
		u.DeadBytes += g.reclaimable()
	}
	u.FreeBytes = max(0, s.free(s.used))
	return u
}

// free is what may still be appended when used bytes are on disk; below zero the reserve is in use.
func (s *Store) free(used int64) int64 {
	return min(s.o.CapacityBytes-used, s.disk.free.Load()) - s.o.ReserveBytes
}

// room is free, now.
func (s *Store) room() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.free(s.used)
}

// usedNow counts used anew.
func (s *Store) usedNow() (used int64) {
	for _, g := range s.segs {
		used += g.end - g.punched
	}
	return used
}

// evictAtOnce is how many bytes of cached copies go when room is made by evicting, unless that is
// more than an eighth of them: each time costs a sync.
const evictAtOnce = 16 << 20

// makeRoom evicts cached copies so that n more bytes fit: below the cache limit if they are a
// cached copy, and into the capacity.
func (s *Store) makeRoom(ctx context.Context, n int64, cached bool) error {
	if cached {
		if err := s.makeCacheRoom(ctx, n); err != nil {
			return err
		}
	}
	have := s.cache.bytes()
	if have == 0 || s.room() >= n {
		return nil // append has the last word
	}
	if _, err := s.EvictTo(ctx, have-max(n, min(evictAtOnce, have/8))); err != nil {
		return err
	}
	return s.Sync(ctx) // the space comes back when the deletions are durable
}

// makeCacheRoom evicts cached copies so that one of n bytes stays within the limits. Where too few may go it is ErrNoSpace.
func (s *Store) makeCacheRoom(ctx context.Context, n int64) error {
	have, limit, byDisk := s.cacheRoom()
	if have+n <= limit {
		return nil
	}
	if n > limit && !byDisk {
		return fmt.Errorf("%d bytes do not fit into a cache of %d: %w", n, limit, ErrNoSpace)
	}
	down := limit - n
	if byDisk { // each time costs a sync, after which the disk says what it has
		down -= min(evictAtOnce, have/8)
	}
	evicted, err := s.EvictTo(ctx, down)
	if err == nil && byDisk && evicted > 0 {
		if err = s.Sync(ctx); err == nil {
			s.disk.refresh()
		}
	}
	if err != nil {
		return err
	}
	if have, limit, _ = s.cacheRoom(); have+n > limit {
		return fmt.Errorf("%d bytes do not fit into the cache, which has %d of %d and gives up no more now: %w", n, have, limit, ErrNoSpace)
	}
	return nil
}

// Each calls f for every block, in the order of the IDs; bytes are those of its record. Damaged
// blocks and those in the trash are left out; a change that is made meanwhile may be seen or not. f may call the store.
func (s *Store) Each(ctx context.Context, f func(id block.ID, bytes int64, cached bool) error) error {
	return s.eachBlock(ctx, func(id block.ID, r row) error {
		if r.bad() || r.trashed() {
			return nil
		}
		return f(id, r.size(), r.cached())
	})
}

// eachPage is how many rows are read at once.
const eachPage = 1024

type idRow struct {
	id block.ID
	row
}

// errBlocksEnd says that fragments follow.
var errBlocksEnd = errors.New("no more blocks")

// eachBlock calls f with every row of a block, damaged ones included.
func (s *Store) eachBlock(ctx context.Context, f func(block.ID, row) error) error {
	err := s.eachRow(ctx, block.ID{}, func(id block.ID, r row) error {
		if isFragment(id) {
			return errBlocksEnd
		}
		return f(id, r)
	})
	if errors.Is(err, errBlocksEnd) {
		return nil
	}
	return err
}

// eachRow calls f with every row behind from, blocks and then fragments, damaged ones included.
func (s *Store) eachRow(ctx context.Context, from block.ID, f func(block.ID, row) error) error {
	for {
		page, last, err := s.page(ctx, from)
		if err != nil {
			return fmt.Errorf("store: each: %w", err)
		}
		for _, e := range page {
			if err := f(e.id, e.row); err != nil {
				return err
			}
		}
		if last.IsZero() {
			return nil
		}
		from = last
	}
}

// page lists rows behind from: those of the index, at most eachPage, and the changes among them.
// last is where the next page begins, zero when there is none.
func (s *Store) page(ctx context.Context, from block.ID) (page []idRow, last block.ID, err error) {
	if !s.claims.enter() {
		return nil, last, ErrClosed
	}
	defer s.claims.leave()
	// The changes are copied first: what a flush moves to the index after that is in both.
	s.mu.RLock()
	changes := maps.Clone(s.flushing)
	if changes == nil {
		changes = make(map[block.ID]change)
	}
	maps.Copy(changes, s.pending)
	generation := s.generation
	s.mu.RUnlock()
	n := 0
	prefix := []byte{keyBlock, generation}
	err = s.index.each(ctx, prefix, append(blockKey(generation, from), 0), func(key, value []byte) error {
		if n == eachPage {
			return errPageFull
		}
		id, err := readID(key[len(prefix):])
		if err != nil {
			return fmt.Errorf("index: %w: %w", err, block.ErrCorrupt)
		}
		r, err := decodeRow(value)
		if err != nil {
			return err
		}
		n++
		last = id
		if _, ok := changes[id]; !ok {
			page = append(page, idRow{id, r})
		}
		return nil
	})
	if err == nil {
		last = block.ID{} // this is the last page: all the changes behind from belong to it
	} else if !errors.Is(err, errPageFull) {
		return nil, last, err
	}
	for id, c := range changes {
		if !c.gone && id.Compare(from) > 0 && (last.IsZero() || id.Compare(last) <= 0) {
			page = append(page, idRow{id, c.row})
		}
	}
	slices.SortFunc(page, func(a, b idRow) int { return a.id.Compare(b.id) })
	return page, last, nil
}

var errPageFull = errors.New("page is full")

// disk is how much the file system has free, asked for at each flush and counted down between.
type disk struct {
	fs   vfs.FS
	dir  string
	free atomic.Int64 // bytes
}

func (d *disk) init(fs vfs.FS, dir string) {
	d.fs, d.dir = fs, dir
	d.free.Store(math.MaxInt64)
}

func (d *disk) took(n int64) { d.free.Add(-n) }

// refresh asks the file system and returns what it says; one that can't tell has no limit here.
func (d *disk) refresh() int64 {
	free := int64(math.MaxInt64)
	if u, err := d.fs.GetDiskUsage(d.dir); err == nil {
		free = int64(min(u.AvailBytes, math.MaxInt64))
	}
	d.free.Store(free)
	return free
}

// sortedSegments lists the segments by number; mu is held.
func (s *Store) sortedSegments() []*segment {
	return slices.SortedFunc(maps.Values(s.segs), func(a, b *segment) int { return cmp.Compare(a.num, b.num) })
}
