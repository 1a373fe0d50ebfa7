package pod

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// TestLogLimits: a commit counts as passed when all members have it but those that have been silent for long, and as known when one has it. If it fails, commits
// that somebody still lacks are dropped, or none ever is.
func TestLogLimits(t *testing.T) {
	t.Parallel()
	a := firstPod(t)
	a.write("/f", "x")
	a.settle()
	mine, self := a.db.VV(), a.db.Actor()
	want := func(what string, known, passed state.VV) {
		t.Helper()
		lim := a.logLimits()
		if diff := cmp.Diff(lim.Known, known); diff != "" {
			t.Errorf("%s: known: got - want +\n%s", what, diff)
		}
		if diff := cmp.Diff(lim.Passed, passed); diff != "" {
			t.Errorf("%s: passed: got - want +\n%s", what, diff)
		}
	}
	want("alone", mine, mine)
	joinDir(t, a, "second")
	joinDir(t, a, "third")
	var others []ident.Pod
	for _, cert := range a.reg.pods() {
		if cert.Pod() != a.id {
			others = append(others, cert.Pod())
		}
	}
	if len(others) != 2 || mine[self] == 0 {
		t.Fatalf("%d others, %v", len(others), mine)
	}
	now := a.clock.Now()
	told := func(pod ident.Pod, seq uint64, heard time.Time) {
		a.peers.update(pod, func(f *peerFacts) { f.vv, f.heard = state.VV{self: seq}, heard })
	}
	want("nobody told anything", state.VV{}, state.VV{self: 0})
	told(others[0], mine[self], now)
	want("one has all, the other told nothing", mine, state.VV{self: 0})
	told(others[1], mine[self]-1, now)
	want("the other lacks the last", mine, state.VV{self: mine[self] - 1})
	told(others[1], 0, now.Add(-2*a.dormantAfter()))
	want("the other is silent for long", mine, mine)
	told(others[0], mine[self]-1, now)
	want("nobody has the last", state.VV{self: mine[self] - 1}, state.VV{self: mine[self] - 1})
}
