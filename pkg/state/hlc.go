package state

import (
	"math"
	"time"
)

const (
	hlcCounterBits = 16
	hlcMilliMax    = 1<<48 - 1
)

// HLCOf is the least clock value at a time. Times before 1970 count as 1970.
func HLCOf(t time.Time) HLC {
	ms := min(max(t.UnixMilli(), 0), hlcMilliMax)
	return HLC(ms) << hlcCounterBits
}

// NextHLC is the next value of a pod's clock, later than prev: the time now, or prev and one more. A counter that overflows adds 1 ms.
// prev is the highest value that the pod gave out or met in an applied commit.
func NextHLC(prev HLC, now time.Time) HLC {
	if h := HLCOf(now); h > prev {
		return h
	}
	if prev == math.MaxUint64 {
		return prev // the year 10889: Apply refuses what is so far ahead
	}
	return prev + 1
}

// Time is the clock's time, in UTC, with the counter as nanoseconds: a later clock has a later time.
func (h HLC) Time() time.Time {
	return time.UnixMilli(int64(h >> hlcCounterBits)).Add(time.Duration(h & (1<<hlcCounterBits - 1))).UTC()
}
