// Package clock is the passing of time as a value, so that tests and the simulator can turn it.
package clock

import (
	"context"
	"time"
)

// Clock tells and waits for time. It is safe for concurrent use.
type Clock interface {
	// Now is the time now.
	Now() time.Time
	// NewTimer sends the time on C once d has passed.
	NewTimer(d time.Duration) *time.Timer
}

// Real is the machine's clock. Inside a testing/synctest bubble it is the bubble's.
type Real struct{}

// Now is time.Now.
func (Real) Now() time.Time { return time.Now() }

// NewTimer is time.NewTimer.
func (Real) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// Sleep waits for d or for the end of ctx, whose error it returns.
func Sleep(ctx context.Context, c Clock, d time.Duration) error {
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SleepOr is Sleep that ends early, without an error, when something comes from kick.
func SleepOr(ctx context.Context, c Clock, d time.Duration, kick <-chan struct{}) error {
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-kick:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Since is the time that has passed since t.
func Since(c Clock, t time.Time) time.Duration { return c.Now().Sub(t) }
