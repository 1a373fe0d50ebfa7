package pod

import (
	"context"
	"errors"
)

// Files that are being written are cut behind their writers, by goroutines of the pod. One takes a copy of a file's oldest bytes and puts
// their chunks without the file's lock. The bytes stay where they are as long, so that whoever reads, syncs or truncates the file sees no
// difference; what of them is changed meanwhile isn't placed (extents.claimed). It waits for no other pod: where a block of the body is not here,
// or the disk is full, it leaves the bytes to the next write, which is told what is wrong. docs/adr/0013 says why.
const (
	cutBehindFiles = 2       // files that are cut at a time
	cutFrom        = 8 << 20 // bytes of a file that are cut behind its writer
)

// errCutting says that the file is being cut behind its writer: the step is to be tried again when that has got on.
var errCutting = errors.New("pod: a file is being cut")

// runCutBehind cuts files that writers hand over.
func (p *Pod) runCutBehind(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case n := <-p.cuts:
			p.cutBehind(context.WithoutCancel(ctx), n)
		}
	}
}

// handOverLocked has a file that has enough bytes cut, if one is idle who can.
func (p *Pod) handOverLocked(n *node) {
	if n.ext.bytes < cutFrom || n.cutting != nil || n.uncut || n.waiting > 0 {
		return
	}
	p.nodes.mu.Lock()
	n.refs++ // of who cuts it
	p.nodes.mu.Unlock()
	select {
	case p.cuts <- n:
		n.cutting = make(chan struct{})
	default:
		p.release(n)
	}
}

// cutBehind cuts a file as long as it has enough bytes and nobody waits for an end.
func (p *Pod) cutBehind(ctx context.Context, n *node) {
	defer p.release(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	for more := true; more; {
		more = p.cutBatchLocked(ctx, n) && n.waiting == 0
		close(n.cutting)
		n.cutting = nil
		if more {
			n.cutting = make(chan struct{})
		}
	}
}

// cutBatchLocked cuts a batch, for which it gives the lock up. It says whether it could. The file may have been given other contents since it was handed over.
func (p *Pod) cutBatchLocked(ctx context.Context, n *node) bool {
	if n.ext.bytes < cutFrom {
		return false
	}
	defer p.leases.release(p.leases.hold()) // until the body has the chunks
	p.uninlineLocked(n)
	b := n.claimLocked(false, true)
	defer b.release()
	if len(b.runs) == 0 {
		return false
	}
	m := p.makingAt(n.row)
	n.mu.Unlock()
	err := p.putBatch(ctx, n.id, &b, m)
	n.mu.Lock()
	if err == nil {
		err = p.placeLocked(ctx, here{p: p}, n, &b, m)
	}
	n.ext.claimed = nil
	n.uncut = err != nil
	return err == nil
}

// lockedHere does a step with a node's lock held. While it is cut, and that is in the way, it waits without the lock.
func (n *node) lockedHere(ctx context.Context, step func() error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		err := step()
		if !errors.Is(err, errCutting) {
			return err
		}
		done := n.cutting
		n.waiting++
		n.mu.Unlock()
		select {
		case <-done:
			err = nil
		case <-ctx.Done():
			err = ctx.Err()
		}
		n.mu.Lock()
		n.waiting--
		if err != nil {
			return err
		}
	}
}
