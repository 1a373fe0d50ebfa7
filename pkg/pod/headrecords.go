package pod

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// When heads are kept in the DHT, and looked for there.
const (
	headPutEvery  = 10 * time.Second // at most
	headPutAgain  = 12 * time.Hour   // without news: they are forgotten after 48
	headPutLast   = 2 * time.Second  // for the last one, when the pod ends
	headFindEvery = 10 * time.Minute // heads of members that are not connected
	headTimeout   = 20 * time.Second // for one put, or one look for all
	headOwnWait   = 2 * time.Second  // for the pod's own head, before it first tells what it did
)

// headRecords is this pod's head in the DHT, and what others' there say.
type headRecords struct {
	kick chan struct{} // capacity 1: there may be something to put or to look for

	mu       sync.Mutex // guards the fields below
	told     state.Dot  // the commit of the head that was put last
	root     block.ID   // its checkpoint
	compared bool       // the own head that others keep was compared with what is here, since a pod came
	look     bool       // a pod was connected: heads are to be looked for
}

func newHeadRecords() *headRecords { return &headRecords{kick: make(chan struct{}, 1)} }

func (r *headRecords) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// connected says that a pod has come, which may know heads.
func (r *headRecords) connected() {
	r.mu.Lock()
	r.look = true
	r.mu.Unlock()
	r.wake()
}

// runHeadRecords puts this pod's head where others find it when this pod is gone, some time after it changed, and looks for the
// heads of those that are gone.
func (p *Pod) runHeadRecords(ctx context.Context) error {
	d := p.dht()
	if d == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	put := p.clock.Now() // when the last one was put, or tried
	for {
		timer := p.clock.NewTimer(headFindEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-p.records.kick:
			timer.Stop()
		case <-timer.C:
			p.records.connected()
		}
		if wait := headPutEvery - clock.Since(p.clock, put); wait > 0 {
			if err := clock.Sleep(ctx, p.clock, wait); err != nil {
				return err
			}
		}
		if p.headChanged() || clock.Since(p.clock, put) > headPutAgain {
			put = p.clock.Now()
			p.putHead(ctx, d, headTimeout)
		}
		p.records.mu.Lock()
		look := p.records.look
		p.records.look = false
		p.records.compared = p.records.compared && !look // who came may know more
		p.records.mu.Unlock()
		if look {
			if !p.blind() { // there is nothing to compare them with
				p.compareFirst(ctx)
				p.findHeads(ctx, d)
			}
		}
	}
}

// headChanged says whether the head that others keep is an older one.
func (p *Pod) headChanged() bool {
	now := p.headNow()
	p.records.mu.Lock()
	defer p.records.mu.Unlock()
	return now != headMark{p.records.told, p.records.root}
}

// headMark tells heads apart.
type headMark struct {
	dot  state.Dot
	root block.ID
}

func (p *Pod) headNow() headMark {
	self := p.db.Actor()
	return headMark{state.Dot{Actor: self, Seq: p.db.VV()[self]}, p.db.LastCheckpoint().State}
}

// putHead puts this pod's head into the DHT. One that could not be put is put after the next change, or when a pod connects.
func (p *Pod) putHead(ctx context.Context, d p2p.DHT, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if !p.role().MayWrite() || len(p.connected()) == 0 || !p.compareOwnHead(ctx, d) {
		return
	}
	now := p.headNow()
	head, err := p.db.Head(ctx)
	if err == nil {
		err = d.PutHead(ctx, head)
	}
	if err != nil {
		p.log.DebugContext(ctx, "the head was not put into the dht", "err", err)
		return
	}
	p.records.mu.Lock()
	p.records.told, p.records.root = now.dot, now.root
	p.records.mu.Unlock()
}

// putLastHead puts the head when the pod ends, if it is news.
func (p *Pod) putLastHead(ctx context.Context) {
	if d := p.dht(); d != nil && p.headChanged() {
		p.putHead(ctx, d, headPutLast)
	}
}

// compareOwnHead compares what is here with the newest head of this pod that others keep, once after each start and when others came (I3): one that was set back may be connected with none
// that has its newer commits. It says whether that is done.
func (p *Pod) compareOwnHead(ctx context.Context, d p2p.DHT) bool {
	p.records.mu.Lock()
	done := p.records.compared
	p.records.mu.Unlock()
	if done {
		return true
	}
	b, err := d.FindHead(ctx, p.id)
	if err == nil {
		var head *state.Head
		if head, err = p.checkHead(p.id, b); err == nil {
			_, err = p.db.CompareHead(ctx, head)
		}
	} else if errors.Is(err, block.ErrNotFound) {
		err = nil
	}
	if err != nil {
		p.log.DebugContext(ctx, "the own head was not compared with the one in the dht", "err", err)
		return false
	}
	p.records.mu.Lock()
	p.records.compared = true
	p.records.mu.Unlock()
	return true
}

// compareFirst is compareOwnHead before the pod first tells what it did. If nobody answers in time, it is done later.
func (p *Pod) compareFirst(ctx context.Context) {
	if d := p.dht(); d != nil {
		ctx, cancel := context.WithTimeout(ctx, headOwnWait)
		defer cancel()
		p.compareOwnHead(ctx, d)
	}
}

// findHeads looks for the heads of members that are not connected.
func (p *Pod) findHeads(ctx context.Context, d p2p.DHT) {
	ctx, cancel := context.WithTimeout(ctx, headTimeout)
	defer cancel()
	for _, cert := range p.reg.pods() {
		pod := cert.Pod()
		if pod == p.id || !p.reg.mayWrite(pod) || p.net.Connected(pod) || ctx.Err() != nil {
			continue
		}
		b, err := d.FindHead(ctx, pod)
		if err != nil {
			continue // nobody has heard of it for two days, or nobody answers
		}
		head, err := p.checkHead(pod, b)
		if err != nil {
			p.log.WarnContext(ctx, "a head in the dht is not believed", "pod", cert.Name, "err", err)
			continue
		}
		p.foundHead(pod, head)
	}
}

// foundHead takes over what a pod that is not connected said last.
func (p *Pod) foundHead(pod ident.Pod, head *state.Head) {
	p.peers.update(pod, func(f *peerFacts) {
		if f.found == nil || head.Newer(f.found) {
			f.found = head
		}
	})
}

// untold says how many commits a pod that is not connected has told of that are not here.
func (p *Pod) untold(pod ident.Pod) uint64 {
	head := p.peers.of(pod).found
	if head == nil || p.net.Connected(pod) {
		return 0
	}
	var n uint64
	vv := p.db.VV()
	for a, seq := range p.wanted(head.VV) {
		n += seq - min(seq, vv[a])
	}
	return n
}
