package health

import (
	"cmp"
	"slices"
	"time"
)

// Change is the begin or the end of something that people are told of.
type Change struct {
	Warning

	Over bool
}

// Tracker turns what holds at single moments into what is shown and what people are told. The zero value is ready.
type Tracker struct{ all map[identity]*tracked }

type identity struct {
	code    Code
	subject string
}

// tracked is a warning that holds, or has held a short time ago.
type tracked struct {
	Warning

	holds bool      // at the last update
	gone  time.Time // when it stopped to hold
	free  time.Time // since when nothing has explained it
	told  bool
}

// Update takes what holds now. It returns what is shown, the worst first, and what people are to be told: of each warning one begin, and one
// end after it.
func (t *Tracker) Update(now time.Time, found []Warning) (shown []Warning, changes []Change) {
	if t.all == nil {
		t.all = make(map[identity]*tracked)
	}
	t.note(now, found)
	for id, w := range t.all {
		w.Because = t.cause(w.Warning)
		if w.Because != "" || w.free.IsZero() {
			w.free = now // Told only after it has stood alone for its time.
		}
		if w.holds && now.Sub(w.Since) >= w.Delay {
			shown = append(shown, w.Warning)
		}
		switch {
		case w.holds && !w.told && w.Because == "" && now.Sub(w.free) >= w.Tell:
			w.told = true
			changes = append(changes, Change{Warning: w.Warning})
		case !w.holds && (!w.told || now.Sub(w.gone) >= w.Hold):
			if delete(t.all, id); w.told {
				changes = append(changes, Change{Warning: w.Warning, Over: true})
			}
		}
	}
	slices.SortFunc(shown, order)
	slices.SortFunc(changes, func(a, b Change) int { return order(a.Warning, b.Warning) })
	return shown, changes
}

// note marks what holds and what no longer does.
func (t *Tracker) note(now time.Time, found []Warning) {
	for _, w := range t.all {
		if w.holds {
			w.holds, w.gone = false, now
		}
	}
	for _, f := range found {
		id := identity{f.Code, f.Subject}
		old := t.all[id]
		if old == nil {
			old = &tracked{}
			t.all[id] = old
			f.Since = now
		} else {
			f.Since = old.Since
		}
		old.Warning, old.holds, old.gone = f, true, time.Time{}
	}
}

// cause is a code that explains a warning: one that is tracked, and on which it depends.
func (t *Tracker) cause(w Warning) Code {
	for _, code := range w.DependsOn {
		for id := range t.all {
			if id.code == code {
				return code
			}
		}
	}
	return ""
}

// Told are the warnings that people were told of and that are not over.
func (t *Tracker) Told() []Warning {
	var out []Warning
	for _, w := range t.all {
		if w.told {
			out = append(out, w.Warning)
		}
	}
	slices.SortFunc(out, order)
	return out
}

// order is the worst first, then by code and subject.
func order(a, b Warning) int {
	return cmp.Or(
		cmp.Compare(slices.Index(severities, b.Severity), slices.Index(severities, a.Severity)),
		cmp.Compare(a.Code, b.Code), cmp.Compare(a.Subject, b.Subject),
	)
}
