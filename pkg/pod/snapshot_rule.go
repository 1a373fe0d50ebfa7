package pod

import (
	"slices"
	"strings"
	"time"
)

// The rule of automatic snapshots (DESIGN section 5): one every ten minutes if something changed; of those the newest of each ten minutes are
// kept for an hour, of each hour for 48 hours, of each day for 30 days, of each week for 52 weeks.
const (
	snapshotEvery  = 10 * time.Minute
	snapshotPrefix = "auto-"
	snapshotLayout = "20060102T150405Z" // of the rest of the name, UTC
	day            = 24 * time.Hour
)

var snapshotTiers = []tier{
	{age: time.Hour, every: snapshotEvery},
	{age: 48 * time.Hour, every: time.Hour},
	{age: 30 * day, every: day},
	{age: 52 * 7 * day, every: 7 * day},
}

// snapshotName is the name of an automatic snapshot: of the beginning of its ten minutes, so that pods that are apart give the same.
func snapshotName(now time.Time) string {
	return snapshotPrefix + now.UTC().Truncate(snapshotEvery).Format(snapshotLayout)
}

// snapshotTime is the time in the name of an automatic snapshot.
func snapshotTime(name string) (time.Time, bool) {
	rest, ok := strings.CutPrefix(name, snapshotPrefix)
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(snapshotLayout, rest)
	return at, err == nil
}

// planSnapshots decides which automatic snapshots of those that there are to drop, and whether one is due. It is pure. Names that are not those of
// automatic snapshots are left alone; so are those of the future, since a clock may be wrong.
func planSnapshots(now time.Time, names []string) (due bool, drop []string) {
	type one struct {
		name string
		at   time.Time
	}
	var all []one
	due = true
	for _, name := range names {
		at, ok := snapshotTime(name)
		if !ok || at.After(now) {
			continue
		}
		all = append(all, one{name, at})
		due = due && now.Sub(at) >= snapshotEvery
	}
	slices.SortFunc(all, func(a, b one) int { return b.at.Compare(a.at) })
	times := make([]time.Time, len(all))
	for i, s := range all {
		times[i] = s.at
	}
	for i, keep := range thin(now, times, snapshotTiers) {
		if !keep {
			drop = append(drop, all[i].name)
		}
	}
	return due, drop
}
