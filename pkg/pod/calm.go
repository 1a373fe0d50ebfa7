package pod

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/placement"
)

const (
	calmRest = 200              // times as long as a round took: half of a hundredth of the time goes into rounds that find nothing
	calmMax  = 30 * time.Minute // what nobody tells of, as a disk that was exchanged below a pod that runs, is found by then
)

// calm is that the last round over everything found nothing to do, and nothing that could give the next one something to do has changed since:
// then that may wait. Of a large tree a round costs seconds of a processor, here and on each pod that is asked.
type calm struct {
	facts string    // "": it is not so
	until time.Time // when the next round begins all the same
}

// isCalm says whether a round at a moment can be left out.
func (s *spreader) isCalm(now time.Time) bool {
	s.mu.Lock()
	c := s.calm
	s.mu.Unlock()
	return c.facts != "" && now.Before(c.until) && c.facts == s.p.placeFacts()
}

// placeFacts is all that a round's result depends on, but for the passing of time and what nobody tells of: the changes that are applied, the rules, the pods with
// their states, their entries in the layout, whether what was made in their place stays, and how much they and this one hold. "": some pod is neither up nor gone for good, so that time counts.
func (p *Pod) placeFacts() string {
	states := p.states()
	var out []string
	for _, cert := range p.reg.pods() {
		pod := cert.Pod()
		entry, stores := p.reg.entry(pod)
		if s := states[pod]; stores && entry.Weight > 0 && s != "up" && s != "out" && s != "lost" {
			return ""
		}
		out = append(out, fmt.Sprint(pod, states[pod], entry, p.heldUntil(pod).IsZero(), p.peers.of(pod).used))
	}
	slices.Sort(out)
	return fmt.Sprint(p.db.VV(), p.reg.defaults().Version, p.store.Usage().OwnedBytes, strings.Join(out, "|"))
}

// calmAfter is what follows from a round that began with some facts and found all of this; d is how long it took.
func (p *Pod) calmAfter(facts string, total placed, r *round, d time.Duration) calm {
	if facts == "" || r.incomplete || total.missing > 0 || total.unsafe > 0 || len(r.surplus) > 0 || len(r.left) > 0 || len(r.classes) > classesMax || facts != p.placeFacts() {
		return calm{}
	}
	for state, n := range total.bytes {
		if s := placement.State(state); n > 0 && s != placement.StateSafe && s != placement.StateDegraded {
			return calm{}
		}
	}
	for _, k := range r.classes {
		if !k.lower {
			return calm{} // The time will come.
		}
	}
	return calm{facts, p.clock.Now().Add(min(calmRest*d, calmMax))}
}
