package pod

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// keyPassed is the local value with what is known of when pods were met.
const keyPassed = "passed"

// passage is when a pod was heard last, and the last moment that it has passed: all that was known here then it knew later, and all that it had done until it
// knew it is known here. What was in the trash at that moment, and is not named by what it did, it can't name any more.
type passage struct {
	heard, passed time.Time
}

// passages are kept over restarts.
type passages map[ident.Pod]passage

// encode writes [[pod, heard, passed]…], sorted by pod; times in ns since 1970, 0: never.
func (m passages) encode() []byte {
	pods := make([]ident.Pod, 0, len(m))
	for pod := range m {
		pods = append(pods, pod)
	}
	slices.SortFunc(pods, func(x, y ident.Pod) int { return slices.Compare(x[:], y[:]) })
	out := cbor.AppendArray(nil, len(pods))
	for _, pod := range pods {
		out = cbor.AppendBytes(cbor.AppendArray(out, 3), pod[:])
		for _, t := range []time.Time{m[pod].heard, m[pod].passed} {
			out = cbor.AppendUint(out, uint64(max(0, unixNano(t))))
		}
	}
	return out
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func decodePassages(data []byte) (passages, error) {
	r := cbor.NewReader(data)
	m := passages{}
	at := func() time.Time {
		if ns := r.UintMax(1<<63 - 1); ns > 0 {
			return time.Unix(0, int64(ns))
		}
		return time.Time{}
	}
	for range r.Array(bookPodsMax) {
		r.Tuple(3)
		pod := ident.Pod(r.Fixed(len(ident.Pod{})))
		m[pod] = passage{heard: at(), passed: at()}
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("pod: when pods were met: %w", err)
	}
	return m, nil
}

// loadPassages brings back what was known before a restart.
func (p *Pod) loadPassages() error {
	b, ok, err := p.db.Local(keyPassed)
	if err != nil || !ok {
		return err
	}
	known, err := decodePassages(b)
	if err != nil {
		p.log.Warn("when pods were met is forgotten; the trash is kept until they are met again", "err", err)
		return nil
	}
	for pod, m := range known {
		p.peers.update(pod, func(f *peerFacts) { f.heard, f.passed = m.heard, m.passed })
	}
	return nil
}

// passMembers exchanges heads with the pods that are connected, and notes for all members when they were met.
func (p *Pod) passMembers(ctx context.Context) {
	for _, pod := range p.sighted() {
		p.passMember(ctx, pod)
	}
	now := p.clock.Now()
	for _, cert := range p.reg.pods() {
		pod := cert.Pod()
		if pod == p.id {
			continue
		}
		connected := p.net.Connected(pod)
		p.peers.update(pod, func(f *peerFacts) {
			if f.lastSeen.After(f.heard) {
				f.heard = f.lastSeen
			}
			if f.heard.IsZero() || connected {
				f.heard = now // one that was never heard may come until it counts as dormant
			}
		})
	}
}

// savePassages keeps what is known for the next start. On a full disk it is left for later: it must not wait for the room that a collection makes.
func (p *Pod) savePassages(ctx context.Context) error {
	known := passages{}
	for _, cert := range p.reg.pods() {
		if pod := cert.Pod(); pod != p.id {
			facts := p.peers.of(pod)
			known[pod] = passage{facts.heard, facts.passed}
		}
	}
	return p.setLocal(ctx, keyPassed, known.encode())
}

// setLocal keeps a local value that can do without being kept.
func (p *Pod) setLocal(ctx context.Context, key string, value []byte) error {
	if err := p.guard.err(); err != nil {
		return err
	}
	return p.db.SetLocal(ctx, key, value)
}

// passTries is how often a pod that is a little behind is asked for its head.
const passTries = 10

// passMember exchanges heads with a pod until each knows what the other knew when it began, or a few times.
func (p *Pod) passMember(ctx context.Context, pod ident.Pod) {
	begin, vv := p.clock.Now(), p.db.VV()
	for range passTries {
		mine, err := p.headMessage(ctx, nil)
		if err != nil {
			return
		}
		answer, err := p.ask(ctx, pod, p2p.KindHead, mine)
		if err != nil {
			p.log.InfoContext(ctx, "a pod did not answer; what it may need stays in the trash", "pod", p.reg.name(pod), "err", err)
			return
		}
		p.toldHead(ctx, pod, answer)
		head, _, _, err := p.readHead(answer)
		if err != nil {
			return
		}
		if vv.LessEqual(head.VV) && head.VV.LessEqual(p.db.VV()) {
			p.peers.update(pod, func(f *peerFacts) { f.passed = begin })
			return
		}
		if clock.Sleep(ctx, p.clock, settlePoll) != nil {
			return
		}
	}
}

// passed says up to when what all members did is known here; the dormant don't count.
type passed struct {
	at      time.Time
	waiting []string // pods that are not connected, and not dormant
}

// dormant says whether nothing waits for a pod: it was silent for long, or is lost or revoked.
func (p *Pod) dormant(pod ident.Pod, facts peerFacts, now time.Time) bool {
	return !facts.heard.IsZero() && now.Sub(facts.heard) > p.dormantAfter() || p.reg.isGone(pod) && !p.net.Connected(pod)
}

func (p *Pod) membersPassed(now time.Time) passed {
	w := passed{at: now}
	for _, cert := range p.reg.pods() {
		pod := cert.Pod()
		facts := p.peers.of(pod)
		if pod == p.id || p.reg.blind(pod) || p.dormant(pod, facts, now) { // what a blind pod does names nothing
			continue
		}
		if facts.passed.Before(w.at) {
			w.at = facts.passed
		}
		if !p.net.Connected(pod) {
			w.waiting = append(w.waiting, cert.Name)
		}
	}
	slices.SortFunc(w.waiting, strings.Compare)
	return w
}
