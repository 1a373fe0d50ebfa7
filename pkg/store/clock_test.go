package store

import (
	"sync/atomic"
	"time"
)

// testClock stands still until it is turned.
type testClock struct{ seconds atomic.Int64 }

func (c *testClock) Now() time.Time { return time.Unix(1_700_000_000+c.seconds.Load(), 0) }

func (c *testClock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }
