package pod

import (
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/chunkmem"
)

// chunkCache keeps the plain bytes of blocks that were verified a short while ago, so that a file which is
// read in small pieces is decoded and hashed once. The least recently used go first, where who used them doesn't come back: those that were loaded first. It also has each
// block loaded once only, for all that want it at a time.
type chunkCache struct {
	limit int64 // bytes

	mu    sync.Mutex // guards the fields below, and those of all entries
	bytes int64
	order cached    // the ring of loaded ones: order.next is the most recently used
	spare []*cached // to be used again
	byID  map[block.ID]*cached
}

// sparesMax is how many entries are kept to be used again: a large block takes the place of so many small ones at times, and small ones
// come for it later.
const sparesMax = 64

// cached is a block that is in memory or on its way there. Its load and its place in the ring are one piece of memory, because
// there is one for each chunk that is read.
//
// Its bytes' memory is used again when it has left the ring, and all to whom they were lent have given them back; not so if somebody has them for good.
type cached struct {
	of         *chunkCache
	id         block.ID
	lent       int  // to so many
	kept       bool // somebody has them for good
	gone       bool // out of the ring
	plain      []byte
	err        error         // of the load
	loaded     bool          // plain or err is there
	done       chan struct{} // closed when it is loaded; nil: only the one who loads it knows of it
	prev, next *cached
}

func newChunkCache(limit int64) *chunkCache {
	c := &chunkCache{limit: limit, byID: make(map[block.ID]*cached)}
	c.order.prev, c.order.next = &c.order, &c.order
	return c
}

// get returns a block's plain bytes, which must not be changed, if they are here; without again this is no use of them that has them stay. Else it returns the load of them: with
// first set it is the caller's to make, and to finish in any case; without, somebody makes it and done is closed then.
func (c *chunkCache) get(id block.ID, again bool) (plain []byte, load *cached, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, first := c.getLocked(id, again)
	if e.kept = true; e.loaded {
		return e.plain, nil, false
	}
	return nil, e, first
}

// lend is get of bytes that are given back, whether they come or not: load has to be, in any case.
func (c *chunkCache) lend(id block.ID, again bool) (plain []byte, load *cached, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, first := c.getLocked(id, again)
	if e.lent++; e.loaded {
		return e.plain, e, false
	}
	return nil, e, first
}

// GiveBack is vfs.Lent's.
func (e *cached) GiveBack() {
	e.of.mu.Lock()
	defer e.of.mu.Unlock()
	if e.lent--; e.gone {
		e.of.reuseLocked(e)
	}
}

func (c *chunkCache) getLocked(id block.ID, again bool) (e *cached, first bool) {
	e = c.byID[id]
	switch {
	case e == nil:
		if n := len(c.spare); n > 0 {
			e, c.spare = c.spare[n-1], c.spare[:n-1]
		} else {
			e = new(cached)
		}
		*e = cached{of: c, id: id}
		c.byID[id] = e
		return e, true
	case e.loaded && again:
		e.unlink()
		c.linkLocked(e)
	case !e.loaded && e.done == nil:
		e.done = make(chan struct{})
	}
	return e, false
}

// share lets the one who loads a block wait for it, because another goroutine is to finish it.
func (c *chunkCache) share(load *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if load.done == nil {
		load.done = make(chan struct{})
	}
}

// finish ends a load, and keeps the bytes, which must not change any more: they, and all memory behind them, are the cache's. The load is not the caller's any more then,
// unless it is shared or lent.
func (c *chunkCache) finish(load *cached, plain []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	load.plain, load.err, load.loaded = plain, err, true
	if load.done != nil {
		close(load.done)
	}
	if err != nil || len(plain) == 0 || load.size() > c.limit/4 {
		delete(c.byID, load.id)
		load.gone = true
		c.reuseLocked(load)
		return
	}
	c.linkLocked(load)
	c.bytes += load.size()
	c.shrinkLocked(c.limit)
}

// rest forgets all that is loaded.
func (c *chunkCache) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shrinkLocked(0)
	c.spare = nil
}

// shrinkLocked forgets what was not used for longest until what is left has at most so many bytes.
func (c *chunkCache) shrinkLocked(limit int64) {
	for c.bytes > limit {
		old := c.order.prev
		old.unlink()
		delete(c.byID, old.id)
		c.bytes -= old.size()
		old.gone = true
		c.reuseLocked(old)
	}
}

// reuseLocked has what is left of an entry that is gone used again, if nobody can still look at it.
func (c *chunkCache) reuseLocked(e *cached) {
	if e.lent > 0 {
		return
	}
	if !e.kept {
		chunkmem.Give(e.plain)
		e.plain = nil
	}
	if e.done == nil && e.err == nil && len(c.spare) < sparesMax { // done: others may still look at it
		e.plain = nil
		c.spare = append(c.spare, e)
	}
}

// size is how much memory a loaded block takes, in bytes.
func (e *cached) size() int64 { return int64(cap(e.plain)) }

// linkLocked makes an entry the most recently used one.
func (c *chunkCache) linkLocked(e *cached) {
	e.prev, e.next = &c.order, c.order.next
	e.prev.next, e.next.prev = e, e
}

// unlink takes an entry out of the ring. It forgets its neighbours: else one that is kept to be used again, or that somebody still waits for, would keep all in
// memory that went after it.
func (e *cached) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
}
