package pod

import (
	"slices"
	"sync"
	"time"
)

// How long the pod waits for a fragment until it asks for another one beside it.
const (
	hedgeFirst = 250 * time.Millisecond // before anything is known
	hedgeMin   = 5 * time.Millisecond
	hedgeMax   = 5 * time.Second
	hedgeOf    = 64 // fragments that came last
)

// fragmentTimes remembers how long the last fragments took to come.
type fragmentTimes struct {
	mu   sync.Mutex // guards the fields below
	ring [hedgeOf]time.Duration
	n    int // noted in all
}

func (t *fragmentTimes) note(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring[t.n%hedgeOf] = d
	t.n++
}

// hedge is within what 95 of 100 came.
func (t *fragmentTimes) hedge() time.Duration {
	t.mu.Lock()
	last := slices.Clone(t.ring[:min(t.n, hedgeOf)])
	t.mu.Unlock()
	if len(last) < hedgeOf/8 {
		return hedgeFirst
	}
	slices.Sort(last)
	return min(max(last[len(last)*95/100], hedgeMin), hedgeMax)
}
