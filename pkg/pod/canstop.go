package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// StopAnswer says whether this pod's machine can be switched off now.
type StopAnswer struct {
	Reasons []string // why not; none: it can
	Notes   []string // what will not be there meanwhile, although nothing was promised of it
}

// CanStop says whether a stop of this pod breaks a promise: that what policies ask more than one copy of can be read without it, and that what
// was done here is known elsewhere. It settles first, and asks all connected pods what they hold.
func (p *Pod) CanStop(ctx context.Context) (StopAnswer, error) {
	var out StopAnswer
	if p.blind() {
		out.Notes = append(out.Notes, "pods that may read know whether others have what is here: ask one of them (wh status)")
		return out, nil
	}
	if err := p.Settle(ctx); err != nil {
		return out, err
	}
	entries := p.reg.layout().Entries()
	if !slices.ContainsFunc(entries, func(e placement.Entry) bool { return e.Pod != p.id }) {
		out.Notes = append(out.Notes, "no other pod stores data: nothing of it can be read while this one is off")
		return out, nil
	}
	if n := p.dirtyBytes.Load(); n > 0 {
		out.Reasons = append(out.Reasons, fmt.Sprintf("%d bytes of open files are not stored yet: close them", n))
	}
	if len(p.whoKnows(ctx, p.db.VV())) < 2 { // this one is among them
		out.Reasons = append(out.Reasons, "no connected pod has all changes that are here")
	}
	alone, unpromised, err := p.onlyHere(ctx)
	if err != nil {
		return out, err
	}
	if alone > 0 {
		out.Reasons = append(out.Reasons, fmt.Sprintf("%d bytes could not be read from the pods that are up without this one: wh sync --wait", alone))
	}
	if unpromised > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%d bytes, of which the policy wants one copy only, can't be read while this one is off", unpromised))
	}
	return out, nil
}

// onlyHere is how many bytes the connected pods could not give without this one: of those whose policy outlives the loss of a pod, and of the others.
func (p *Pod) onlyHere(ctx context.Context) (alone, unpromised int64, err error) {
	net := p.nets()
	look := func(nodes []state.Node) error {
		list, lost, err := p.placingOf(ctx, nodes, placeOptions{look: true})
		if err == nil && lost.missing > 0 {
			err = fmt.Errorf("pod: %d contents can't be looked at: %w", lost.missing, ErrNotSafe)
		}
		if err != nil {
			return err
		}
		ask := make(map[ident.Pod][]*placing)
		for _, pod := range p.connected() {
			ask[pod] = list
		}
		if err := p.askAll(ctx, ask); err != nil {
			p.log.InfoContext(ctx, "can stop: not every pod answered; it counts as having nothing", "err", err)
		}
		for _, c := range list {
			for i := range c.holders {
				c.holders[i].Cached = false // such a copy may go at any time
			}
			switch without := net.plan(c, p.id).Safety; { // This pod is not among the holders.
			case without.State != placement.StateUnavailable:
			case c.policy.Losses() > 0:
				alone += c.size
			default:
				unpromised += c.size
			}
		}
		return nil
	}
	var batch []state.Node
	err = p.db.EachContent(ctx, func(n state.Node) error {
		if batch = append(batch, n); len(batch) < spreadBatch {
			return nil
		}
		err := look(batch)
		batch = batch[:0]
		return err
	})
	return alone, unpromised, errors.Join(err, look(batch))
}
