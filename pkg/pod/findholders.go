package pod

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

const (
	findTimeout = 5 * time.Second  // for the holders of a group
	findAgain   = 30 * time.Second // before a group or a pod that was not found is looked for again
)

// vain is what was looked for in vain a short time ago, so that reads of what nobody has fail soon.
type vain struct {
	mu     sync.Mutex // guards the fields below
	groups map[placement.Group]time.Time
	pods   map[ident.Pod]time.Time
}

// worth says whether to look for something again; if so, it is noted as tried.
func worth[T comparable](v *vain, tried *map[T]time.Time, what T, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Sub((*tried)[what]) < findAgain {
		return false
	}
	if *tried == nil {
		*tried = make(map[T]time.Time)
	}
	(*tried)[what] = now
	return true
}

// askFound asks pods for a block that, as the DHT says, hold its group, and that are not connected: the last resort of a reader that has no layout, or
// is not connected with all. Error: block.ErrUnavailable.
func (p *Pod) askFound(ctx context.Context, id block.ID) ([]byte, error) {
	none := fmt.Errorf("no other holder was found: %w", block.ErrUnavailable)
	d, g := p.dht(), placement.GroupOf(id)
	if d == nil || len(p.connected()) == 0 || !worth(&p.vain, &p.vain.groups, g, p.clock.Now()) {
		return nil, none
	}
	find, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	pods, err := p.announcing(find, d, id)
	errs := []error{none, err}
	for _, pod := range pods {
		if _, member := p.reg.cert(pod); !member || p.net.Connected(pod) || !worth(&p.vain, &p.vain.pods, pod, p.clock.Now()) {
			continue
		}
		err := d.Reach(find, pod)
		if err == nil {
			var plain []byte
			if plain, err = p.askFor(ctx, pod, id); err == nil {
				p.vain.found(g, pod)
				return plain, nil
			}
		}
		errs = append(errs, fmt.Errorf("%s: %w", p.reg.name(pod), err))
	}
	return nil, errors.Join(errs...)
}

// found says that neither was looked for in vain.
func (v *vain) found(g placement.Group, pod ident.Pod) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.groups, g)
	delete(v.pods, pod)
}
