package sim

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// Timeline is the time of a simulation: it stands still until it is turned. It is safe for concurrent use.
type Timeline struct {
	mu     sync.Mutex // guards the fields below
	now    time.Time
	timers []timer // by at
}

// timer is what waits for a time.
type timer struct {
	at time.Time
	c  chan time.Time
}

// NewTimeline begins at a time.
func NewTimeline(begin time.Time) *Timeline { return &Timeline{now: begin} }

// Now is the time now.
func (l *Timeline) Now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// NewTimer sends the time on C once the timeline has been turned by d.
func (l *Timeline) NewTimer(d time.Duration) *time.Timer {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := timer{at: l.now.Add(d), c: make(chan time.Time, 1)}
	i, _ := slices.BinarySearchFunc(l.timers, w, func(a, b timer) int { return cmp.Or(a.at.Compare(b.at), -1) })
	l.timers = slices.Insert(l.timers, i, w)
	// A timer of the runtime that never fires, so that Stop works, and a channel of ours. One that is stopped is forgotten when its time comes.
	t := time.NewTimer(math.MaxInt64) //nolint:forbidigo // it never fires
	t.C = w.c
	return t
}

// Turn lets d pass: timers that end meanwhile fire, in order.
func (l *Timeline) Turn(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
	for len(l.timers) > 0 && !l.timers[0].at.After(l.now) {
		l.timers[0].c <- l.now // it has room for this one value
		l.timers = l.timers[1:]
	}
}

// Clock is a clock that goes as fast as another and may be wrong. It is safe for concurrent use.
type Clock struct {
	base clock.Clock

	mu   sync.Mutex // guards skew
	skew time.Duration
}

var _ clock.Clock = (*Clock)(nil)

// NewClock is right until it is set.
func NewClock(base clock.Clock) *Clock { return &Clock{base: base} }

// Now is what the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base.Now().Add(c.skew)
}

// NewTimer fires when d has passed: what the clock shows doesn't matter.
func (c *Clock) NewTimer(d time.Duration) *time.Timer { return c.base.NewTimer(d) }

// Set makes the clock wrong by skew: ahead, or behind if it is negative.
func (c *Clock) Set(skew time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew = skew
}

// Skew is how far ahead the clock is.
func (c *Clock) Skew() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skew
}
