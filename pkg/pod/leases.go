package pod

import (
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// eraMax is how many blocks an era takes before the next begins: 128 KiB of memory.
const eraMax = 1 << 16

// leases keep blocks from garbage collection between the moment in which they are put and the one in which something names
// them: a row, an open file. Blocks are remembered by eras, one after the other. An operation that puts blocks holds the era in which it
// began, and with it all later ones, until what it put is named. What is put while a collection is under way is kept too.
type leases struct {
	mu         sync.Mutex // guards the fields below
	eras       []*era     // oldest first; the last takes what is put. Never empty
	collecting int        // collections under way: no era is forgotten
}

// era is what was put in a stretch of time.
type era struct {
	put     *filter
	holders int
}

func newLeases() *leases { return &leases{eras: []*era{{put: newFilter(eraMax)}}} }

// hold keeps what is put from now on until release.
func (l *leases) hold() *era {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holdLocked()
}

func (l *leases) holdLocked() *era {
	e := l.eras[len(l.eras)-1]
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
	if l.eras[len(l.eras)-1].put.n >= eraMax {
		l.nextLocked()
	}
	e := l.holdLocked()
	e.put.add(id)
	return e
}

func (l *leases) nextLocked() {
	l.eras = append(l.eras, &era{put: newFilter(eraMax)})
	l.forgetLocked()
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

// promised are the blocks that other pods put here, or were told to be here. They count on them for contents that they have committed: once all that
// they have committed is known here, the promise says nothing that the rows don't.
type promised struct {
	mu   sync.Mutex // guards eras
	eras []promisedEra
}

type promisedEra struct {
	put  *filter
	last time.Time // of the newest promise in it
}

// promiseMax is how long a promise lasts at most: what was promised before must have been named since.
const promiseMax = time.Hour

func (l *promised) add(id block.ID, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.eras); n == 0 || l.eras[n-1].put.n >= eraMax || now.Sub(l.eras[0].last) > promiseMax {
		l.eras = append(l.eras, promisedEra{put: newFilter(eraMax)})
		for now.Sub(l.eras[0].last) > promiseMax && len(l.eras) > 1 {
			l.eras = l.eras[1:]
		}
	}
	e := &l.eras[len(l.eras)-1]
	e.put.add(id)
	e.last = now
}

// has says whether a block was promised after a moment.
func (l *promised) has(id block.ID, after time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.eras {
		if e.last.After(after) && e.put.has(id) {
			return true
		}
	}
	return false
}
