package store

import (
	"context"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// claims let one caller at a time change what is known of an ID, so that a block put twice at once
// is stored once; they also count the users of the index, which Close waits for.
type claims struct {
	mu   sync.Mutex                 // guards held
	held map[block.ID]chan struct{} // closed at the release; nil: nobody waits yet

	gate    sync.RWMutex // guards closing; held for reading while the index is read or a record appended
	closing bool
}

// claim waits until nobody else has the ID; the holder must release it. A holder may claim a
// second one only by tryClaim.
func (c *claims) claim(ctx context.Context, id block.ID) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.mu.Lock()
		held, ok := c.held[id]
		switch {
		case !ok:
			c.held[id] = nil
		case held == nil:
			held = make(chan struct{})
			c.held[id] = held
		}
		c.mu.Unlock()
		if !ok {
			return nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryClaim claims the ID if nobody has it.
func (c *claims) tryClaim(id block.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.held[id]; ok {
		return false
	}
	c.held[id] = nil
	return true
}

func (c *claims) release(id block.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if held := c.held[id]; held != nil {
		close(held)
	}
	delete(c.held, id)
}

// enter keeps the index open until leave; false means that it is closed.
func (c *claims) enter() bool {
	c.gate.RLock()
	if c.closing {
		c.gate.RUnlock()
		return false
	}
	return true
}

func (c *claims) leave() { c.gate.RUnlock() }

// shut waits for those who entered, and lets nobody in any more.
func (c *claims) shut() {
	c.gate.Lock()
	defer c.gate.Unlock()
	c.closing = true
}
