package pod

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// healthEvery is how often a pod looks whether there is something to warn of, when nobody asks.
const healthEvery = 5 * time.Second

// healthWatch is what is known of warnings over time.
type healthWatch struct {
	mu      sync.Mutex // guards the field below; held while facts are judged
	tracker health.Tracker
}

// Status tells whether all is well.
func (p *Pod) Status(ctx context.Context) (Status, error) {
	pods, err := p.Pods(ctx)
	if err != nil {
		return Status{}, err
	}
	out := Status{Pods: pods, DirtyBytes: p.dirtyBytes.Load()}
	var bytes stateBytes
	out.UnsafeBytes, bytes = p.spread.counted()
	bytes[placement.StateDirty] += out.DirtyBytes
	for s, n := range bytes {
		out.States = append(out.States, StateBytes{State: placement.State(s).String(), Bytes: n})
	}
	facts, err := p.facts(ctx, pods, out.UnsafeBytes, bytes)
	if err != nil {
		return Status{}, err
	}
	found := health.Find(facts)
	out.Warnings = p.judgeHealth(found)
	for _, w := range found {
		if w.Unhealthy {
			out.Reasons = append(out.Reasons, w.Text)
		}
	}
	out.Healthy = len(out.Reasons) == 0
	return out, nil
}

// facts are what warnings are found by.
func (p *Pod) facts(ctx context.Context, pods []PodInfo, unsafe int64, bytes stateBytes) (health.Facts, error) {
	all, err := p.wantsOf([]state.Node{{Attr: vfs.Attr{ID: vfs.RootID}}})
	if err != nil {
		return health.Facts{}, err
	}
	pathRules, err := p.unknownPathRules(ctx)
	if err != nil {
		return health.Facts{}, err
	}
	used := p.store.Usage()
	out := health.Facts{
		UnsafeBytes: unsafe, UnavailableBytes: bytes[placement.StateUnavailable], DegradedBytes: bytes[placement.StateDegraded],
		SpreadingBytes: bytes[placement.StateSpreading] + bytes[placement.StateLocal],
		DamagedBlocks:  len(p.damaged.list()) + len(p.damaged.listFragments()),
		SuspectAfter:   p.suspectAfter(),
		Copies:         all[0].policy.Losses() + 1,
		StoredBytes:    used.OwnedBytes + used.CachedBytes + used.TrashBytes, CacheBytes: used.CachedBytes, FreeBytes: used.FreeBytes,
		ClockBehind: p.clockOff(), NoKey: p.seal.Load().usable() != nil && len(p.seal.Load().keys) == 0 && p.role().MayRead(),
		Conflicts: p.conflicts.count(), Version: p.o.Version, UnknownRules: unknownRules(p.reg.defaults()), UnknownPathRules: pathRules,
	}
	out.Minority = p.minorityText()
	p.rights(&out)
	out.MembershipEnds, out.MembershipEnded = p.membership()
	if err := p.guard.err(); err != nil {
		out.DiskError = err.Error()
	}
	if why := p.uncollected.Load(); why != nil {
		out.GCStopped = *why
	}
	if p.o.Unmounted != nil {
		out.Mounts = p.o.Unmounted()
	}
	agents := make(map[ident.Pod]string)
	for _, peer := range p.net.Peers() {
		agents[peer.Pod] = peer.Agent
	}
	for _, pod := range pods {
		known := p.peers.of(pod.Pod)
		out.Pods = append(out.Pods, health.Pod{
			Name: pod.Name, Self: pod.Self, Stores: pod.Weight > 0, State: pod.State, LastSeen: pod.LastSeen, UsedBytes: pod.UsedBytes, FreeBytes: pod.FreeBytes,
			HeldUntil: p.heldUntil(pod.Pod), Blind: p.reg.blind(pod.Pod), Writer: p.reg.writer(pod.Pod), Diverged: known.diverged,
			Expired: p.expiredText(pod.Pod), Untold: int(p.untold(pod.Pod)), Future: known.future, Version: agents[pod.Pod],
		})
	}
	return out, nil
}

// rights are what this pod may not do, or not any more.
func (p *Pod) rights(out *health.Facts) {
	s := p.seal.Load()
	out.KeyAwaited = s.usable() != nil && len(s.keys) > 0 && p.role().MayRead()
	switch {
	case p.reg.isRevoked(p.id):
		out.ShutOut = p.reg.endedBy(p.id, p.memberName)
	case p.own.chain.Leaf().Role.MayWrite() && !p.mayWrite():
		out.Demoted = p.role().String()
	}
	if who := p.uncounted.Load(); who != nil {
		out.Uncounted = *who
	}
}

// judgeHealth takes what holds now, notes what people should know of, and returns what is shown.
func (p *Pod) judgeHealth(found []health.Warning) []health.Warning {
	p.health.mu.Lock()
	defer p.health.mu.Unlock()
	shown, changes := p.health.tracker.Update(p.clock.Now(), found)
	for _, c := range changes {
		ev := Event{Kind: EventWarning, Text: c.Title + ": " + c.Text, Code: c.Code, Severity: c.Severity}
		if c.Over {
			ev.Kind = EventWarningOver
		}
		p.event(ev)
	}
	return shown
}

// Told are the warnings that people should know of, as of the last look: each once, although it comes and goes.
func (p *Pod) Told() []health.Warning {
	p.health.mu.Lock()
	defer p.health.mu.Unlock()
	return p.health.tracker.Told()
}

// runHealth looks now and then.
func (p *Pod) runHealth(ctx context.Context) error {
	for {
		if err := clock.Sleep(ctx, p.clock, healthEvery); err != nil {
			return err
		}
		if _, err := p.Status(ctx); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "the pod's health could not be looked at", "err", err)
		}
	}
}

// noteFuture notes whether what a pod sent was refused as stamped ahead of this clock; err is what became of it.
func (p *Pod) noteFuture(from ident.Pod, err error) {
	future := errors.Is(err, state.ErrFuture)
	if future || err == nil {
		p.peers.update(from, func(f *peerFacts) { f.future = future })
	}
}
