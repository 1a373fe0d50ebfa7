package pod

import (
	"math"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// returnsMax bounds how many returns count, and so for how long after the last one anything is kept because of them: two half-lives.
const returnsMax = 4

// returns is how often a pod came back of late from a silence in which others may have made again what it holds. Each return counts half after a half-life: it is the
// figure of merit of RFC 2439 (BGP Route Flap Damping, section 4.2), and as there only the good news waits. A loss is repaired at once, however often there was one; what was made
// is given up later, and need not be made again if the pod goes once more. The zero value is that of a pod that never did.
type returns struct {
	count float64   // at the last of them, itself included
	last  time.Time // when that was
}

// again is with one more, at a moment.
func (r returns) again(now time.Time, half time.Duration) returns {
	age := max(0, now.Sub(r.last))
	return returns{count: min(returnsMax, 1+r.count*math.Exp2(-float64(age)/float64(half))), last: now}
}

// until is when they count for one or less: from then on what was made in the pod's place is given up. After the first it is at once.
func (r returns) until(half time.Duration) time.Time {
	if r.count <= 1 {
		return r.last
	}
	return r.last.Add(time.Duration(math.Log2(r.count) * float64(half)))
}

// cameBack notes that a pod is connected again. It counts as a return if it stores data, was silent until it was down, and had not said that it would be; but not where this pod
// is the one that was cut off. What is known of this ends with the daemon: then all is given up as after a first return.
func (p *Pod) cameBack(pod ident.Pod) {
	if _, stores := p.reg.layout().Entry(pod); !stores || p.frozen(pod) || p.cutOff.Load() {
		return
	}
	now := p.clock.Now()
	p.peers.update(pod, func(f *peerFacts) {
		if !f.lost.IsZero() && now.Sub(f.lost) >= p.downAfter() {
			f.returns = f.returns.again(now, p.lowerAfter())
		}
		f.lost = time.Time{}
	})
}

// heldUntil is until when what was made in a pod's place is kept although that pod answers; zero: it is not. It is not either while a user wants the space, or this pod's
// disk is nearly full.
func (p *Pod) heldUntil(pod ident.Pod) time.Time {
	until := p.peers.of(pod).returns.until(p.lowerAfter())
	if clock.Since(p.clock, until) >= 0 || p.spread.now.Load() || nearlyFull(p.store.Usage()) {
		return time.Time{}
	}
	return until
}
