package pod

import (
	"fmt"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// dht is what the pods keep together for those who know little; nil where the network has none.
func (p *Pod) dht() p2p.DHT {
	if n, ok := p.net.(interface{ DHT() p2p.DHT }); ok {
		return n.DHT()
	}
	return nil
}

func (p *Pod) dhtConfig() *p2p.DHTConfig {
	return &p2p.DHTConfig{
		CheckHead: func(pod ident.Pod, b []byte) error { _, err := p.checkHead(pod, b); return err },
		NewerHead: newerHead,
		Records:   hints{p.db.Records(), p.guard},
	}
}

// hints are the records of the DHT, which can do without them: while the disk is full or fails nothing is written, and nobody waits for that.
type hints struct {
	state.Records

	guard *diskGuard
}

// Write is p2p.Records's. A write that waits in the database for room is left there.
func (h hints) Write(keys, values [][]byte) error {
	if err := h.guard.err(); err != nil {
		return err
	}
	full, broken := h.guard.stuck()
	written := make(chan error, 1)
	go func() { written <- h.Records.Write(keys, values) }()
	select {
	case err := <-written:
		return err
	case <-full:
	case <-broken:
	}
	return h.guard.err()
}

// checkHead reads a head that somebody keeps for a pod. It must be signed by that pod, a member that may write, under its own number, and not stamped so far ahead that
// it would be in the way of those that come.
func (p *Pod) checkHead(pod ident.Pod, b []byte) (*state.Head, error) {
	head, err := state.DecodeHead(b)
	if err != nil {
		return nil, err
	}
	cert, known := p.reg.cert(pod)
	switch {
	case head.Network != p.reg.network:
		return nil, state.ErrForeign
	case !known:
		return nil, fmt.Errorf("pod: head of %s: no certificate of it is known: %w", pod, member.ErrDenied)
	case !p.reg.mayWrite(pod):
		return nil, fmt.Errorf("pod: head of %q, which is a %s, or was revoked: %w", cert.Name, p.reg.role(pod), member.ErrDenied)
	case head.Actor.Member != cert.Member:
		return nil, fmt.Errorf("pod: head of %q names member %d, not %d: %w", cert.Name, head.Actor.Member, cert.Member, member.ErrDenied)
	case -clock.Since(p.stamps, head.HLC.Time()) > state.FutureMax:
		return nil, fmt.Errorf("pod: head of %q of %s: %w", cert.Name, head.HLC.Time(), state.ErrFuture)
	}
	if err := head.Verify(pod.Key()); err != nil {
		return nil, err
	}
	return head, nil
}

// newerHead says whether of two heads of one pod that were checked a is the newer one.
func newerHead(a, b []byte) bool {
	x, err := state.DecodeHead(a)
	if err != nil {
		return false
	}
	y, err := state.DecodeHead(b)
	return err != nil || x.Newer(y)
}
