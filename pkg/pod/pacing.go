package pod

import (
	"context"
	"net/netip"
	"strings"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// How many bytes are put to a pod in one go.
const (
	sendBytes     = 256 << 20
	sendPacedMost = 4 << 20 // where they may have to wait for limits
)

// servedMax is how long limits keep what another pod asked for: it would give up soon after, and ask again.
const servedMax = fetchTimeout / 2

// The classes are the same numbers on the wire.
var (
	_ = [1]int{}[pace.Read-pace.Class(p2p.ClassRead)]
	_ = [1]int{}[pace.Spread-pace.Class(p2p.ClassSpread)]
	_ = [1]int{}[pace.Repair-pace.Class(p2p.ClassRepair)]
	_ = [1]int{}[pace.Balance-pace.Class(p2p.ClassBalance)]
)

// fetching says what is fetched and put under a context is for. Like the id of a trace it goes along with the work, to the pod that serves it, and changes no result.
func fetching(ctx context.Context, c pace.Class) context.Context {
	return p2p.WithClass(ctx, p2p.Class(c))
}

// fetchedFor is what is fetched under a context is for: a user's read, unless it says otherwise.
func fetchedFor(ctx context.Context) pace.Class { return pace.Class(p2p.ClassOf(ctx)) }

// class is what the copies of a block are made for.
func (c *placing) class() pace.Class {
	switch {
	case c.isNew:
		return pace.Spread
	case c.plan.Safety.State != placement.StateSafe:
		return pace.Repair
	}
	return pace.Balance
}

// mostUrgent is the class of copies that go together.
func mostUrgent(list []*placing) pace.Class {
	urgent := list[0].class()
	for _, c := range list[1:] {
		urgent = min(urgent, c.class())
	}
	return urgent
}

// working does what fetches for a class, when there is time for it.
func (p *Pod) working(ctx context.Context, c pace.Class, f func(ctx context.Context) error) error {
	done, err := p.pace.Work(ctx, c)
	if err != nil {
		return err
	}
	defer done()
	return f(fetching(ctx, c))
}

// paced waits until n bytes may come from a pod, for what the context says.
func (p *Pod) paced(ctx context.Context, from ident.Pod, n int) error {
	return p.pace.Wait(ctx, fetchedFor(ctx), pace.Down, from, int64(n), p.exempt(from))
}

// served waits until n bytes may go to a pod that asked for them, or came from one that put them, for what that pod says that they are for. One that does not say asks for a
// user who waits there, and puts what is new.
func (p *Pod) served(ctx context.Context, d pace.Direction, pod ident.Pod, n int) error {
	c := fetchedFor(ctx)
	switch {
	case d == pace.Down && c == pace.Read:
		c = pace.Spread
	case c == pace.Read:
		p.pace.NoteRead(int64(n)) // what is asked for repair makes room for them
	}
	limited, cancel := context.WithTimeout(ctx, servedMax)
	defer cancel()
	err := p.pace.Serve(limited, c, d, pod, int64(n), p.exempt(pod))
	if ctx.Err() == nil && limited.Err() != nil {
		return nil
	}
	return err
}

// exempt says whether limits that were set don't hold for a pod, since it is on the LAN.
func (p *Pod) exempt(pod ident.Pod) bool {
	if p.lan.Load() {
		return false
	}
	if !p.pace.Limited() {
		return true
	}
	for _, peer := range p.net.Peers() {
		if peer.Pod == pod {
			return onLAN(peer.Addr)
		}
	}
	return false
}

// onLAN says whether a connection's multiaddr is of this machine, a private network (RFC 1918, RFC 4193) or a link, and goes there directly.
func onLAN(addr string) bool {
	parts := strings.Split(addr, "/") // "", ip4, 10.0.0.1, tcp, 4001
	if len(parts) < 3 || parts[1] != "ip4" && parts[1] != "ip6" || strings.Contains(addr, "/p2p-circuit") {
		return false
	}
	ip, err := netip.ParseAddr(parts[2])
	return err == nil && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast())
}

// sendParts cuts what is to be put to a pod into parts, so that no limit makes one take so long that it is given up.
func (p *Pod) sendParts(list []*placing, f func(part []*placing) error) error {
	most := int64(sendBytes)
	if p.pace.Limited() {
		most = sendPacedMost
	}
	for len(list) > 0 {
		n, bytes := 0, int64(0)
		for n < len(list) && (n == 0 || bytes+list[n].size <= most) {
			bytes += list[n].size
			n++
		}
		if err := f(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}
