package pod

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// Limits of events about those who were refused: strangers must not push out of the list what else happened.
const (
	refusedWindow = 10 * time.Minute
	refusedMax    = 20 // in a window, and one of each
)

// refusals counts events about those who were refused.
type refusals struct {
	mu   sync.Mutex // guards the fields below
	from time.Time  // start of the window
	told map[ident.Pod]bool
}

// worth says whether an event is made of a refusal.
func (r *refusals) worth(pod ident.Pod, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told == nil || now.Sub(r.from) >= refusedWindow {
		r.from, r.told = now, make(map[ident.Pod]bool)
	}
	if r.told[pod] || len(r.told) >= refusedMax {
		return false
	}
	r.told[pod] = true
	return true
}

// refused tells that somebody was not let in, or not connected with: in the log each time, as an event not too often.
func (p *Pod) refused(ctx context.Context, pod ident.Pod, what string, err error) {
	if errors.Is(err, member.ErrPending) || errors.Is(err, member.ErrElsewhere) {
		p.log.DebugContext(ctx, "somebody was refused", "what", what, "pod", pod, "err", err)
		return
	}
	p.log.WarnContext(ctx, "somebody was refused", "what", what, "pod", pod, "err", err)
	if p.refusals.worth(pod, p.clock.Now()) {
		p.event(Event{Kind: EventRefused, Pod: p.reg.name(pod), Text: what + ": " + err.Error()})
	}
}
