package pod

import (
	"testing"
	"time"
)

// TestReturns breaks if a first return is held against a pod, if one that comes and goes is trimmed each time, or if that is ever held against it for good.
func TestReturns(t *testing.T) {
	const half, hour = 24 * time.Hour, time.Hour
	for _, row := range []struct {
		name  string
		every time.Duration // from one return to the next
		n     int
		least time.Duration // how long after the last something is kept
		most  time.Duration
	}{
		{"never", hour, 0, 0, 0},
		{"once", hour, 1, 0, 0},
		{"twice in an hour", hour, 2, 23 * hour, 24 * hour},
		{"thrice in two hours", hour, 3, 36 * hour, 38 * hour},
		{"all day long", hour, 24, 48 * hour, 48 * hour},
		{"each night", 24 * hour, 2, 14 * hour, 15 * hour},
		{"each night for a month", 24 * hour, 30, 23 * hour, 24 * hour},
		{"twice in a month", 30 * 24 * hour, 2, 0, time.Second},
	} {
		var r returns
		now := time.Unix(1_800_000_000, 0)
		for range row.n {
			now = now.Add(row.every)
			r = r.again(now, half)
		}
		if row.n == 0 {
			now = r.until(half)
		}
		if got := r.until(half).Sub(now); got < row.least || got > row.most {
			t.Errorf("%s: kept for %s, want %s to %s", row.name, got, row.least, row.most)
		}
	}
	now := time.Unix(1_800_000_000, 0)
	if r := (returns{count: 1, last: now}).again(now.Add(-hour), half); r.count != 2 {
		t.Errorf("a clock that was set back makes of one return %v", r.count)
	}
}
