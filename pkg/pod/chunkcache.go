package pod

import (
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/block"
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
type cached struct {
	id         block.ID
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
	e := c.byID[id]
	switch {
	case e == nil:
		if n := len(c.spare); n > 0 {
			e, c.spare = c.spare[n-1], c.spare[:n-1]
		} else {
			e = new(cached)
		}
		*e = cached{id: id}
		c.byID[id] = e
		return nil, e, true
	case e.loaded:
		if again {
			e.unlink()
			c.linkLocked(e)
		}
		return e.plain, nil, false
	case e.done == nil:
		e.done = make(chan struct{})
	}
	return nil, e, false
}

// share lets the one who loads a block wait for it, because another goroutine is to finish it.
func (c *chunkCache) share(load *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if load.done == nil {
		load.done = make(chan struct{})
	}
}

// finish ends a load, and keeps the bytes, which must not change any more. The load is not the caller's any more then,
// unless it is shared.
func (c *chunkCache) finish(load *cached, plain []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	load.plain, load.err, load.loaded = plain, err, true
	if load.done != nil {
		close(load.done)
	}
	size := int64(len(plain))
	if err != nil || size == 0 || size > c.limit/4 {
		delete(c.byID, load.id)
		return
	}
	c.linkLocked(load)
	c.bytes += size
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
		c.bytes -= int64(len(old.plain))
		if old.done == nil && len(c.spare) < sparesMax { // done: others may still look at it
			old.plain = nil
			c.spare = append(c.spare, old)
		}
	}
}

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
