package pod

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

const (
	findTimeout = 5 * time.Second  // for the holders of a key, and for the way to each of them
	findAgain   = 30 * time.Second // before a group or a pod that was not found is looked for again
)

// vain is what was looked for in vain a short time ago, so that reads of what nobody has fail soon.
type vain struct {
	mu     sync.Mutex // guards the fields below
	groups map[placement.Group]time.Time
	pods   map[ident.Pod]time.Time
}

// worth says whether to look for something that may have been looked for in vain.
func worth[T comparable](v *vain, tried *map[T]time.Time, what T, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return now.Sub((*tried)[what]) >= findAgain
}

// note says that something was looked for in vain.
func note[T comparable](v *vain, tried *map[T]time.Time, what T, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if *tried == nil {
		*tried = make(map[T]time.Time)
	}
	(*tried)[what] = now
}

// askFound asks pods for a block that, as the DHT says, hold its group, and that are not connected: the last resort of a reader that has no layout, or
// is not connected with all. Error: block.ErrUnavailable.
func (p *Pod) askFound(ctx context.Context, id block.ID) ([]byte, error) {
	none := fmt.Errorf("no other holder was found: %w", block.ErrUnavailable)
	d, g := p.dht(), placement.GroupOf(id)
	if d == nil || len(p.connected()) == 0 || !worth(&p.vain, &p.vain.groups, g, p.clock.Now()) {
		return nil, none
	}
	errs := []error{none}
	for pod, err := range p.announcing(ctx, d, id) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if _, member := p.reg.cert(pod); !member || p.net.Connected(pod) || !worth(&p.vain, &p.vain.pods, pod, p.clock.Now()) {
			continue
		}
		plain, err := p.reachFor(ctx, d, pod, id)
		if err == nil {
			return plain, nil
		}
		if ctx.Err() != nil { // the reader gave up, which says nothing of the pod
			return nil, ctx.Err()
		}
		note(&p.vain, &p.vain.pods, pod, p.clock.Now())
		errs = append(errs, fmt.Errorf("%s: %w", p.reg.name(pod), err))
	}
	note(&p.vain, &p.vain.groups, g, p.clock.Now())
	return nil, errors.Join(errs...)
}

// reachFor connects to a pod and asks it for a block.
func (p *Pod) reachFor(ctx context.Context, d p2p.DHT, pod ident.Pod, id block.ID) ([]byte, error) {
	reach, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	if err := d.Reach(reach, pod); err != nil {
		return nil, err
	}
	return p.askFor(ctx, pod, id)
}
