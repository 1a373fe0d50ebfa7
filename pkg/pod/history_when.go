package pod

import (
	"strconv"
	"strings"
	"time"
)

// timeLayouts are how a moment may be written, in UTC where no zone stands in it.
var timeLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02",
}

// timeUnits are the units of "2 hours ago", by their first words.
var timeUnits = map[string]time.Duration{
	"s": time.Second, "sec": time.Second, "second": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hour": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour,
}

// parseWhen reads a moment: RFC 3339 or a part of it ("2026-11-26", all of that day's first moment), a time ago ("90m", "2h", "1d12h", "2 hours ago",
// "yesterday"), or "now".
func parseWhen(text string, now time.Time) (time.Time, bool) {
	text = strings.TrimSpace(text)
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	text = strings.TrimSpace(strings.TrimSuffix(strings.ToLower(text), " ago"))
	switch text {
	case "now":
		return now, true
	case "yesterday":
		return now.Add(-timeUnits["d"]), true
	case "":
		return time.Time{}, false
	}
	ago := time.Duration(0)
	for text != "" {
		n := 0
		for n < len(text) && text[n] >= '0' && text[n] <= '9' {
			n++
		}
		count, err := strconv.ParseInt(text[:n], 10, 32)
		if err != nil {
			return time.Time{}, false
		}
		text = strings.TrimLeft(text[n:], " ")
		n = 0
		for n < len(text) && text[n] >= 'a' && text[n] <= 'z' {
			n++
		}
		unit, ok := timeUnits[text[:n]]
		if !ok {
			unit, ok = timeUnits[strings.TrimSuffix(text[:n], "s")]
		}
		// A hundred years is before all that there is; more could overflow.
		const most = 100 * 366 * 24 * time.Hour
		if !ok || time.Duration(count) > most/unit || ago+time.Duration(count)*unit > most {
			return time.Time{}, false
		}
		ago += time.Duration(count) * unit
		text = strings.TrimLeft(text[n:], " ")
	}
	return now.Add(-ago), true
}
