package pod

import (
	"container/list"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// chunkCache keeps the plain bytes of blocks that were verified a short while ago, so that a file which is
// read in small pieces is decoded and hashed once. The least recently used go first.
type chunkCache struct {
	limit int64 // bytes

	mu    sync.Mutex // guards the fields below
	bytes int64
	order *list.List // of *cached, most recently used first
	byID  map[block.ID]*list.Element
}

type cached struct {
	id    block.ID
	plain []byte
}

func newChunkCache(limit int64) *chunkCache {
	return &chunkCache{limit: limit, order: list.New(), byID: make(map[block.ID]*list.Element)}
}

// get returns a block's plain bytes, which must not be changed, or nil.
func (c *chunkCache) get(id block.ID) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[id]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).plain //nolint:errcheck,forcetypeassert // only *cached goes in
}

// put keeps a block's plain bytes, which must not change any more.
func (c *chunkCache) put(id block.ID, plain []byte) {
	size := int64(len(plain))
	if size == 0 || size > c.limit/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[id] != nil {
		return
	}
	c.byID[id] = c.order.PushFront(&cached{id: id, plain: plain})
	c.bytes += size
	for c.bytes > c.limit {
		c.dropLocked(c.order.Back())
	}
}

func (c *chunkCache) dropLocked(e *list.Element) {
	old := c.order.Remove(e).(*cached) //nolint:errcheck,forcetypeassert // only *cached goes in
	delete(c.byID, old.id)
	c.bytes -= int64(len(old.plain))
}
