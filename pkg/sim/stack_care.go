package sim

import (
	"context"
	"errors"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/store"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// stackRest is how many pods take something at least: what two copies need.
const stackRest = 2

// fill has other programs fill the pod's disk, for minutes.
func (p *stackPod) fill() error {
	left, while := p.w.rng.Int64N(1<<20), time.Duration(1+p.w.rng.IntN(300))*time.Second
	p.w.trace.say("%d: %d bytes are left on its disk, for %v", p.n, left, while)
	return p.disk.Fill(left, while)
}

// slow has the pod's disk take its time for what others ask of it from now on, or no more.
func (p *stackPod) slow() {
	delay := time.Duration(max(0, p.w.rng.IntN(1500)-500)) * time.Millisecond
	p.w.trace.say("%d: its disk takes %v for a block", p.n, delay)
	p.w.wires.Slow(p.w.fleet.pods[p.n].id, delay)
}

// noRoom says whether an error is one that a full disk explains.
func (p *stackPod) noRoom(err error) bool {
	return !p.w.calm && (errors.Is(err, vfs.ErrNoSpace) || errors.Is(err, store.ErrNoSpace)) && p.disk.WasFull()
}

// drain has the pod be emptied, or used again.
func (w *stackWorld) drain(ctx context.Context, p *stackPod) error {
	rest := 0
	for _, q := range w.pods {
		if !q.drained {
			rest++
		}
	}
	if !p.drained && rest <= stackRest {
		return nil
	}
	_, err := p.p.Drain(ctx, "", p.drained)
	if err == nil && !p.disk.Failed() {
		p.drained = !p.drained
	}
	w.trace.say("%d: it is drained: %v", p.n, p.drained)
	return p.failed(err)
}

// judgeCare: all is as safe as its policy says, and who is drained is empty.
func (w *stackWorld) judgeCare(ctx context.Context, p *stackPod, found *problems) error {
	st, err := p.p.Status(ctx)
	if err != nil {
		return p.failed(err)
	}
	for _, s := range st.States {
		if s.State != "safe" && s.Bytes > 0 {
			found.add("pod %d shows %d bytes as %s", p.n, s.Bytes, s.State)
		}
	}
	if st.UnsafeBytes > 0 {
		found.add("pod %d shows %d bytes below their policy", p.n, st.UnsafeBytes)
	}
	d, err := p.p.DrainState(ctx, "")
	if err != nil {
		return p.failed(err)
	}
	if d.Draining && (!d.Known || d.Left > 0) {
		found.add("pod %d is not empty: %+v", p.n, d)
	}
	return nil
}
