package pod

import (
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// When the next era begins.
const (
	eraMax  = 1 << 16     // blocks in it: 128 KiB of memory
	eraTime = time.Minute // after its beginning, if anything was put since
)

// leases keep blocks from garbage collection between the moment in which they are put and the one in which something names
// them: a row, an open file. Blocks are remembered by eras, one after the other. An operation that puts blocks holds the era in which it
// began, and with it all later ones, until what it put is named. What is put while a collection is under way is kept too.
type leases struct {
	clock clock.Clock

	mu         sync.Mutex // guards the fields below
	eras       []*era     // oldest first; the last takes what is put. Never empty
	collecting int        // collections under way: no era is forgotten
}

// era is what was put in a stretch of time.
type era struct {
	put     *filter
	began   time.Time
	holders int
}

func newLeases(c clock.Clock) *leases {
	l := &leases{clock: c}
	l.nextLocked()
	return l
}

// hold keeps what is put from now on until release.
func (l *leases) hold() *era {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holdLocked()
}

func (l *leases) holdLocked() *era {
	e := l.eras[len(l.eras)-1]
	if e.put.n >= eraMax || e.put.n > 0 && clock.Since(l.clock, e.began) >= eraTime {
		e = l.nextLocked()
	}
	e.holders++
	return e
}

func (l *leases) release(e *era) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.holders--
	l.forgetLocked()
}

// take is hold with a block that is about to be put: before the store is called, so that a collection that has not seen the
// block's lease takes the block first, and the put brings it back.
func (l *leases) take(id block.ID) *era {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.holdLocked()
	e.put.add(id)
	return e
}

// takeMany is take for many.
func (l *leases) takeMany(list []block.Block) *era {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.holdLocked()
	for i := range list {
		e.put.add(list[i].ID)
	}
	return e
}

func (l *leases) nextLocked() *era {
	e := &era{put: newFilter(eraMax), began: l.clock.Now()}
	l.eras = append(l.eras, e)
	l.forgetLocked()
	return e
}

// forgetLocked drops the oldest eras that nobody needs.
func (l *leases) forgetLocked() {
	for l.collecting == 0 && len(l.eras) > 1 && l.eras[0].holders == 0 {
		l.eras = l.eras[1:]
	}
}

// begin starts a collection: what is put from now on is remembered until end.
func (l *leases) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nextLocked()
	l.collecting++
}

func (l *leases) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.collecting--
	l.forgetLocked()
}

// has says whether a block has a lease.
func (l *leases) has(id block.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.eras {
		if e.put.has(id) {
			return true
		}
	}
	return false
}
