package pod

import (
	"context"
	"math"

	"github.com/wormhole-fs/wormhole/pkg/state"
)

// How much of the log of commits is kept: it is the short way to catch up, and tells the history of what changed.
const (
	DefaultLogKeep = 64 << 20  // bytes of commits that all members have
	DefaultLogMax  = 512 << 20 // bytes of all; beyond it a pod that lacks them joins a tree
)

// truncateLog drops old commits after a checkpoint.
func (p *Pod) truncateLog(ctx context.Context) {
	lim := p.logLimits()
	lim.Keep, lim.Max = p.o.LogKeep, p.o.LogMax
	if !p.mayWrite() {
		lim.Max = math.MaxInt64 // nobody joins its tree: what it alone has can be had by its log only
	}
	dropped, err := p.db.Truncate(ctx, lim)
	switch {
	case err != nil && ctx.Err() == nil:
		p.log.WarnContext(ctx, "the log of commits could not be cut", "err", err)
	case dropped > 0:
		p.log.InfoContext(ctx, "old commits were dropped from the log", "bytes", dropped)
	}
}

// logLimits is what other members have. Those that have been silent for long don't count; one that has not told
// what it has may have nothing.
func (p *Pod) logLimits() state.LogLimits {
	mine := p.db.VV()
	lim := state.LogLimits{Passed: mine.Clone(), Known: state.VV{}}
	others, now := 0, p.clock.Now()
	for _, cert := range p.reg.pods() {
		pod := cert.Pod()
		if pod == p.id || p.reg.blind(pod) {
			continue
		}
		others++
		facts := p.peers.of(pod)
		lim.Known.Merge(facts.vv)
		if p.reg.isRevoked(pod) || p.dormant(pod, facts, now) {
			continue
		}
		for a := range lim.Passed {
			lim.Passed[a] = min(lim.Passed[a], facts.vv[a])
		}
	}
	if others == 0 {
		lim.Known = mine
	}
	return lim
}
