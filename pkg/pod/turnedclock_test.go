package pod

import (
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// turnedClock is the machine's clock, which a test turns on: what is due by then is due at once.
type turnedClock struct {
	mu     sync.Mutex // guards the fields below
	ahead  time.Duration
	timers []turnedTimer
}

// turnedTimer is a timer that may not have fired.
type turnedTimer struct {
	timer *time.Timer
	due   time.Time
}

var _ clock.Clock = (*turnedClock)(nil)

// Now is clock.Clock's.
func (c *turnedClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *turnedClock) now() time.Time { return time.Now().Add(c.ahead) }

// NewTimer is clock.Clock's.
func (c *turnedClock) NewTimer(d time.Duration) *time.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := turnedTimer{timer: time.NewTimer(d), due: c.now().Add(d)}
	// Those of minutes and more alone: a turn that no short one hears of is one that it slept through.
	if d >= time.Minute {
		c.timers = append(c.timers, t)
	}
	return t.timer
}

// turn moves the clock on.
func (c *turnedClock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
	now := c.now()
	rest := c.timers[:0]
	for _, t := range c.timers {
		if left := t.due.Sub(now); left > 0 {
			t.timer.Reset(left)
			rest = append(rest, t)
		} else {
			t.timer.Reset(0)
		}
	}
	c.timers = rest
}
