package pod

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

const (
	// hedgeAfter is how long a pod may take to send a block before the next one is asked as well. A chunk of 1 MiB takes so long at
	// 3 Mbit/s, and a pod that is silent is found dead after some 10 s only (package p2p).
	hedgeAfter = 3 * time.Second
	// hedgeMax is how many pods are asked for one block at a time, so that a slow network is not asked for everything many times over.
	hedgeMax = 2
	// toldMax is how many pods an error names.
	toldMax = 4
)

// askWhole asks the pods that may hold a block, the likeliest first, until one sends it. Who is slow is not waited for alone.
func (p *Pod) askWhole(ctx context.Context, id block.ID) ([]byte, error) {
	asking, cancel := context.WithCancel(ctx)
	defer cancel() // of those who lost
	type answer struct {
		pod   ident.Pod
		plain []byte
		err   error
	}
	pods := p.likelyHolders(id)
	answers := make(chan answer, len(pods))
	late := hedgeAfter
	if fetchedFor(ctx) >= pace.Repair {
		late = servedMax // who serves it may keep to a limit
	}
	timer := p.clock.NewTimer(late)
	defer timer.Stop()
	waiting := 0
	ask := func() {
		pod := pods[0]
		pods, waiting = pods[1:], waiting+1
		started := p.background.run(func() { // who loses is not waited for
			plain, err := p.askFor(asking, pod, id)
			answers <- answer{pod, plain, err}
		})
		if !started {
			answers <- answer{pod, nil, errClosed}
		}
	}
	var errs []error
	for waiting+len(pods) > 0 {
		if waiting == 0 {
			ask()
		}
		select {
		case a := <-answers:
			if waiting--; a.err == nil {
				return a.plain, nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", p.reg.name(a.pod), a.err))
		case <-timer.C:
			if waiting < hedgeMax && len(pods) > 0 {
				ask()
			}
			timer.Reset(late)
		case <-ctx.Done():
			return nil, fmt.Errorf("pod: get %s: %w", id, ctx.Err())
		}
	}
	return nil, fmt.Errorf("pod: get %s: asked %d connected pods%s: %w", id, len(errs), p.notAsked(id), errors.Join(append(errs, block.ErrUnavailable)...))
}

// notAsked names the pods that are the likeliest to hold a block and are not connected, for people.
func (p *Pod) notAsked(id block.ID) string {
	states := p.states()
	var names []string
	for _, pod := range p.reg.layout().Walk(placement.GroupOf(id)) {
		if pod == p.id || p.net.Connected(pod) {
			continue
		}
		if len(names) == toldMax {
			names = append(names, "others")
			break
		}
		names = append(names, fmt.Sprintf("%s (%s)", p.reg.name(pod), states[pod]))
	}
	if len(names) == 0 {
		return ""
	}
	return "; not connected are " + strings.Join(names, ", ")
}

// awaited names the connected pods that may hold a block, for who gives up waiting for it.
func (p *Pod) awaited(id block.ID) string {
	var names []string
	for _, pod := range p.likelyHolders(id) {
		if len(names) == toldMax {
			names = append(names, "others")
			break
		}
		names = append(names, p.reg.name(pod))
	}
	if len(names) == 0 {
		return "nobody is connected"
	}
	return "no answer yet from " + strings.Join(names, ", ")
}
