package pod

import (
	"context"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// liedFor is how long a pod that sent wrong bytes is asked last. It is not cut off for them: what its disk or memory did it may do once, and each byte is proved.
const liedFor = 10 * time.Minute

// liars are the pods that sent bytes which are not what their name says. There are as many as members at most.
type liars struct {
	mu   sync.Mutex // guards last
	last map[ident.Pod]time.Time
}

// lied notes that a pod sent wrong bytes, for people too.
func (p *Pod) lied(ctx context.Context, pod ident.Pod, what string, err error) {
	name := p.reg.name(pod)
	p.liars.mu.Lock()
	if p.liars.last == nil {
		p.liars.last = make(map[ident.Pod]time.Time)
	}
	before := p.liars.last[pod]
	now := p.clock.Now()
	p.liars.last[pod] = now
	p.liars.mu.Unlock()
	if now.Sub(before) >= liedFor { // not for each of a thousand blocks
		p.log.WarnContext(ctx, "a pod sent bytes that are not what they should be", "pod", name, "of", what, "err", err)
		p.event(Event{Kind: EventLied, Pod: name, Text: err.Error()})
	}
}

// lies says whether a pod sent wrong bytes a short time ago.
func (p *Pod) lies(pod ident.Pod) bool {
	p.liars.mu.Lock()
	defer p.liars.mu.Unlock()
	last, known := p.liars.last[pod]
	return known && p.clock.Now().Sub(last) < liedFor
}

// honestFirst puts those that sent wrong bytes a short time ago last. pods is changed.
func (p *Pod) honestFirst(pods []ident.Pod) []ident.Pod {
	var last []ident.Pod
	first := pods[:0]
	for _, pod := range pods {
		if p.lies(pod) {
			last = append(last, pod)
		} else {
			first = append(first, pod)
		}
	}
	return append(first, last...)
}
