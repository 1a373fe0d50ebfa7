package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// stackPod is one pod of a simulation of the stack: a real pod.Pod.
type stackPod struct {
	w      *stackWorld
	n      int
	weight uint32 // of its disk; 0: as others
	clock  *Clock
	disk   *Disk

	p     *pod.Pod
	fs    vfs.FS
	stop  context.CancelFunc
	dead  func() // nothing that it says from now on is heard
	ended chan error

	fresh   []*stackText // written and not known to be durable
	drained bool
	crashes int
}

// start opens the pod and has it run.
func (p *stackPod) start(ctx context.Context) error {
	of := p.w.fleet.pods[p.n]
	connect, dead := p.w.wires.Connect(of.id, p.clock)
	p.disk.OnFail(dead)
	p.dead = dead
	o := pod.Options{Dir: of.dir, FS: p.disk.FS(), Clock: p.clock, Connect: connect, Weight: p.weight}
	opened, err := pod.Open(ctx, o)
	if p.noRoom(err) { // it says so, and starts when there is room
		p.w.trace.say("%d: %v", p.n, err)
		if err := p.disk.Fill(diskRoom, 0); err != nil {
			return err
		}
		opened, err = pod.Open(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("pod %d: open: %w", p.n, err)
	}
	work, stop := context.WithCancel(ctx)
	p.p, p.fs, p.stop, p.ended = opened, opened.FS(), stop, make(chan error, 1)
	go func() { p.ended <- opened.Run(work) }()
	return nil
}

// end stops the pod. What it says after a loss of power doesn't count.
func (p *stackPod) end() error {
	if p.p == nil {
		return nil
	}
	p.stop()
	err := errors.Join(<-p.ended, p.p.Close())
	p.p = nil
	if p.noRoom(err) {
		p.w.trace.say("%d: its end: %v", p.n, err)
		p.fresh = nil
		return nil
	}
	if err != nil && !p.disk.Failed() {
		return fmt.Errorf("pod %d: its end: %w", p.n, err)
	}
	return nil
}

// crash has the pod lose its power, now or when it did, and start again after a while.
func (p *stackPod) crash(ctx context.Context) error {
	p.dead()
	after := p.disk.After()
	p.disk.FailAt(0, 0, 0)
	if err := p.end(); err != nil { //nolint:contextcheck // closing takes no context
		return err
	}
	p.disk, p.fresh = after, nil
	p.crashes++
	if err := clock.Sleep(ctx, clock.Real{}, time.Duration(p.w.rng.IntN(20))*time.Second); err != nil {
		return err
	}
	p.w.trace.say("%d: starts again", p.n)
	return p.start(ctx)
}

// restart ends the pod as a user does, and starts it again.
func (p *stackPod) restart(ctx context.Context) error {
	err := p.end() //nolint:contextcheck // closing takes no context
	if p.disk.Failed() {
		return p.crash(ctx)
	}
	p.acknowledged()
	p.w.trace.say("%d: ends, and starts again", p.n)
	return errors.Join(err, p.start(ctx))
}

// acknowledged notes that all that was written so far is durable.
func (p *stackPod) acknowledged() {
	for _, t := range p.fresh {
		t.durable = true
	}
	p.fresh = nil
}

// settle makes durable what was written.
func (p *stackPod) settle(ctx context.Context) error {
	err := p.p.Settle(ctx)
	if p.noRoom(err) {
		p.w.trace.say("%d: not all is durable: %v", p.n, err)
		return nil
	}
	if err != nil || p.disk.Failed() {
		return p.failed(err)
	}
	p.acknowledged()
	p.w.trace.say("%d: all is durable", p.n)
	return nil
}

// failed turns an error into nothing if the power has failed.
func (p *stackPod) failed(err error) error {
	if err == nil || p.disk.Failed() {
		return nil
	}
	return fmt.Errorf("pod %d: %w", p.n, err)
}
