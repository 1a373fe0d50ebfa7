package state

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// calmAfter is how long no new table was written when tables are merged.
	calmAfter = time.Second
	// behindMax is how many are written before a merge that is due waits no longer.
	behindMax = 12
)

// compactions decides when Pebble merges tables: one merge at a time, and not while many new ones are written. An import's tables, merged while it runs, are
// merged again with the next ones, and that takes processor and disk from who waits for it. Nothing ticks while nothing waits.
//
// Its lock comes after those of the pebble.DB, and is held over no call to it.
type compactions struct {
	db   pebble.DBForCompaction // set before all other calls
	calm time.Duration

	mu      sync.Mutex
	granted *sync.Cond // on mu: granting ended
	written time.Time  // when the last table was
	waiting bool       // a merge is due, or may be
	behind  int        // tables that were written since
	running bool       // a merge runs, or is about to
	closed  bool
	grants  int         // calls of grant that use db
	wake    *time.Timer // nil: none is set
}

func newCompactions(calm time.Duration) *compactions {
	c := &compactions{calm: calm}
	c.granted = sync.NewCond(&c.mu)
	return c
}

// Register is called when the DB is open.
func (c *compactions) Register(_ int, db pebble.DBForCompaction) { c.db = db }

// Unregister ends the use of the DB.
func (c *compactions) Unregister() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.wake != nil {
		c.wake.Stop()
	}
	for c.grants > 0 {
		c.granted.Wait()
	}
}

// TrySchedule says whether a merge that is due may begin.
func (c *compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.may() {
		c.wait()
		return false, nil
	}
	c.begin()
	return true, c
}

// UpdateGetAllowedWithoutPermission is called behind each new table.
func (c *compactions) UpdateGetAllowedWithoutPermission() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = time.Now()
	if !c.waiting {
		return
	}
	if c.behind++; c.may() {
		go c.grant()
	}
}

// may says whether a merge may begin. mu must be held.
func (c *compactions) may() bool {
	return !c.closed && !c.running && (c.behind >= behindMax || time.Since(c.written) >= c.calm)
}

// begin notes that a merge runs. mu must be held.
func (c *compactions) begin() { c.running, c.waiting, c.behind = true, false, 0 }

// wait sees to it that a merge is granted later. mu must be held.
func (c *compactions) wait() {
	c.waiting = true
	if c.wake == nil && !c.closed {
		c.wake = time.AfterFunc(c.calm, func() {
			c.mu.Lock()
			c.wake = nil
			c.mu.Unlock()
			c.grant()
		})
	}
}

// grant begins a merge that is due, now or later.
func (c *compactions) grant() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed || c.running || !c.waiting:
		return // whoever runs grants the next one
	case !c.may():
		c.wait()
		return
	}
	c.begin()
	c.grants++
	c.mu.Unlock()
	due, _ := c.db.GetWaitingCompaction()
	began := due && c.db.Schedule(c)
	c.mu.Lock()
	if c.grants--; c.grants == 0 {
		c.granted.Broadcast()
	}
	if began {
		return // Done was called already, or will be
	}
	c.running = false
	if due || c.waiting { // one was refused meanwhile
		c.wait()
	}
}

// Done is called when a merge ended.
func (c *compactions) Done() {
	c.mu.Lock()
	c.running, c.waiting = false, true // the DB is asked whether there is more to do
	c.mu.Unlock()
	c.grant()
}

// Started is of no use here.
func (*compactions) Started() {}

// MeasureCPU is of no use here.
func (*compactions) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats is of no use here.
func (*compactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}
