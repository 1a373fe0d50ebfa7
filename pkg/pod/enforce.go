package pod

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// rebuildAgain is how long a pod waits that has changes which don't count until it looks again for a tree without them.
const rebuildAgain = 2 * time.Second

// enforce brings the state up to what the statements say: whose changes count, and whether this pod may write.
func (p *Pod) enforce(ctx context.Context) error {
	p.db.SetCuts(p.reg.cuts())
	may := p.mayWrite()
	p.noWriter.Store(!may)
	dropped, err := p.db.MayWrite(ctx, may)
	if dropped > 0 {
		p.log.WarnContext(ctx, "this pod may not write any more; what it had not told is dropped", "rows", dropped)
		p.event(Event{Kind: EventDropped, Text: fmt.Sprintf("this pod may not write any more: what was done here last, to %d files and folders, and told to nobody yet, was dropped", dropped)})
	}
	p.lookAtCuts()
	return err
}

// lookAtCuts has it looked at whether there is something here that does not count.
func (p *Pod) lookAtCuts() {
	select {
	case p.cutKick <- struct{}{}:
	default:
	}
}

// runCuts adopts changes that are here and don't count, or, where this pod may not write, takes the tree of a pod that may in place of them (docs/adr/0014).
func (p *Pod) runCuts(ctx context.Context) error {
	var wait <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.cutKick:
		case <-wait:
		}
		wait = nil
		left, err := p.settleCuts(ctx)
		if !left {
			p.uncounted.Store(nil)
		}
		if err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "changes are here that don't count, and could not be replaced; trying again", "err", err)
		}
		if left {
			wait = p.clock.NewTimer(rebuildAgain).C
		}
	}
}

// settleCuts says whether there is something left that does not count.
func (p *Pod) settleCuts(ctx context.Context) (left bool, err error) {
	if p.blind() {
		return false, nil // nobody has this pod's tree but itself, which shows none
	}
	adopted, err := p.db.Adopt(ctx)
	if err != nil {
		return true, err
	}
	if adopted {
		p.touched()
	}
	beyond, err := p.db.Beyond()
	if err != nil || len(beyond) == 0 {
		return false, err
	}
	if p.mayWrite() {
		return true, nil // what it adopted meanwhile
	}
	who := p.labelNames(beyond)
	p.uncounted.Store(&who)
	var errs []error
	for _, pod := range p.connected() {
		if !p.reg.mayWrite(pod) || !p.peers.of(pod).met {
			continue
		}
		err := p.rebuildFrom(ctx, pod)
		if err == nil {
			p.event(Event{Kind: EventRebuilt, Text: fmt.Sprintf("changes of %s that don't count were taken back", who)})
			p.touched()
			p.pulls.retry()
			return false, nil
		}
		if !errors.Is(err, block.ErrNotFound) {
			errs = append(errs, fmt.Errorf("%s: %w", p.reg.name(pod), err))
		}
	}
	return true, errors.Join(errs...)
}

// labelNames are the pods of some labels, for people.
func (p *Pod) labelNames(labels state.VV) string {
	seen, text := make(map[string]bool), ""
	for _, a := range labels.Actors() {
		name := p.reg.actorName(a)
		if seen[name] {
			continue
		}
		if text != "" {
			text += ", "
		}
		seen[name] = true
		text += name
	}
	return text
}

// rebuildFrom takes the newest checkpoint of a pod that may write in place of what is here.
func (p *Pod) rebuildFrom(ctx context.Context, pod ident.Pod) error {
	have, err := p.db.RebuildFrom()
	if err != nil {
		return err
	}
	offer, err := p.askOffer(ctx, pod, have)
	if err != nil {
		return err
	}
	defer p.leases.release(p.leases.hold()) // until what came is the newest checkpoint's
	begin := p.clock.Now()
	w, err := p.walkOffer(ctx, pod, &offer, -1)
	if err != nil {
		return err
	}
	if _, err := p.db.Rebuild(ctx, offer); err != nil {
		return err
	}
	p.log.InfoContext(ctx, "changes that don't count were taken back, by the tree of a pod that may write", "pod", p.reg.name(pod), "nodes", w.fetched,
		"took", clock.Since(p.clock, begin))
	return nil
}

// toldOfEnd tells people that somebody was shut out, or has another role.
func (p *Pod) toldOfEnd(ctx context.Context, statement []byte) {
	_, body, err := member.DecodeStatement(statement)
	if err != nil {
		return
	}
	v, err := member.DecodeRevoke(body)
	if err != nil {
		return
	}
	name := p.memberName(v.Subject)
	if v.Role == 0 {
		p.log.WarnContext(ctx, "a member was revoked", "member", name)
		p.event(Event{Kind: EventEnded, Pod: name, Text: "by " + p.memberName(v.By)})
		return
	}
	p.log.InfoContext(ctx, "a member has another role", "member", name, "role", v.Role.String())
	p.event(Event{Kind: EventRole, Pod: name, Text: v.Role.String() + ", by " + p.memberName(v.By)})
}

// wanted is what of another pod's version vector is to be had: what its author's right covers.
func (p *Pod) wanted(vv state.VV) state.VV {
	vv = p.reg.writersOf(vv)
	wanted, err := p.db.Wanted(vv)
	if err != nil {
		p.log.Warn("it can't be told which changes count", "err", err)
		return vv
	}
	return wanted
}

// askWith is what a pod that has theirs is to be asked with for its log: what is here, and what does not count as if it were.
func (p *Pod) askWith(theirs state.VV) state.VV {
	mine, wanted := p.db.VV(), p.wanted(theirs)
	for a, seq := range theirs {
		if wanted[a] < seq && wanted[a] <= mine[a] {
			mine[a] = max(mine[a], seq)
		}
	}
	return mine
}
