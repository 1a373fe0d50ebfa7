package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// TestClasses: the pod that serves a request or takes a put is told what it is for; one of an older version is not, and what it does not say is a user's read.
func TestClasses(t *testing.T) {
	rnd := random(t)
	a, b := pair(t)
	var seen atomic.Int32
	id, wire := wireOf(rnd, 1000)
	b.block = func(ctx context.Context, _ block.ID) ([]byte, error) {
		seen.Store(int32(ClassOf(ctx)) + 1)
		return wire, nil
	}
	ctx := within(t, 20*time.Second)
	wait(t, "who speaks what is known", func() error {
		l, err := a.link(b.id)
		if err == nil && l.tellsClass(WithClass(ctx, ClassRepair)) != ClassRepair {
			err = errors.New("not yet")
		}
		return err
	})
	for c := ClassRead; c <= ClassBalance; c++ {
		err := a.Get(WithClass(ctx, c), b.id, []block.ID{id}, func(_ block.ID, _ []byte, err error) error { return err })
		if got := Class(seen.Swap(0) - 1); err != nil || got != c {
			t.Errorf("get for class %d: the other side heard %d, %v", c, got, err)
		}
		name := block.Fragment{Stripe: block.Stripe{ID: id, K: 2, M: 1}}
		err = a.GetFragments(WithClass(ctx, c), b.id, []block.Fragment{name}, func(_ block.Fragment, _ []byte, err error) error { return nil })
		if got := Class(seen.Swap(0) - 1); err != nil || got != c {
			t.Errorf("get of a fragment for class %d: the other side heard %d, %v", c, got, err)
		}
		b.putClass = -1
		other, form := wireOf(rnd, 100+int(c))
		_, err = a.Put(WithClass(ctx, c), b.id, 1, func(int) block.ID { return other }, func(int) ([]byte, error) { return form, nil })
		if err != nil || b.putClass != int(c) {
			t.Errorf("put for class %d: the other side heard %d, %v", c, b.putClass, err)
		}
	}

	// An older pod does not name the protocol, and would end the connection.
	old := rawTo(t, a, 9)
	kinds := make(chan Kind, 1)
	old.serves(func(s network.Stream, req frameHeader) error {
		kinds <- req.kind
		_, err := s.Write(appendFrame(nil, frameHeader{typ: frameMiss, id: req.id}, nil))
		return err
	})
	old.hello()
	a.until("connected", func() bool { return a.up[old.pod] })
	err := a.Get(WithClass(ctx, ClassRepair), old.pod, []block.ID{id}, func(block.ID, []byte, error) error { return nil })
	if kind := <-kinds; err != nil || kind != 0 {
		t.Errorf("an older pod is told %d, %v", kind, err)
	}
	// Classes of later versions are the least urgent.
	if c := (frameHeader{typ: frameGet, kind: 200}).class(); c != ClassBalance {
		t.Errorf("a later class is %d", c)
	}
}

// TestReadsBeforeRepair: a user's read comes although repair has asked the same pod for more than it may at once, and is served none of it.
func TestReadsBeforeRepair(t *testing.T) {
	rnd := random(t)
	id, wire := wireOf(rnd, block.ChunkMax)
	hold := make(chan struct{})
	a, b := start(t, 1, nil), start(t, 2, func(_ *Config, f *fake) {
		f.block = func(ctx context.Context, _ block.ID) ([]byte, error) {
			if ClassOf(ctx) == ClassRepair {
				select {
				case <-hold:
				case <-ctx.Done():
				}
			}
			return wire, nil
		}
	})
	join(t, a, b)
	ctx := within(t, 30*time.Second)
	wait(t, "who speaks what is known", func() error {
		l, err := a.link(b.id)
		if err == nil && l.tellsClass(WithClass(ctx, ClassRepair)) != ClassRepair {
			err = errors.New("not yet")
		}
		return err
	})
	var repair sync.WaitGroup
	for range 4 * getStreamsMax {
		repair.Go(func() {
			_ = a.Get(WithClass(ctx, ClassRepair), b.id, []block.ID{id, id, id, id}, func(_ block.ID, _ []byte, err error) error { return err })
		})
	}
	time.Sleep(100 * time.Millisecond)
	for i := range 8 {
		soon, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := a.Get(soon, b.id, []block.ID{id}, func(_ block.ID, got []byte, err error) error {
			if len(got) != len(wire) {
				return fmt.Errorf("%d bytes: %w", len(got), err)
			}
			return nil
		})
		cancel()
		if err != nil {
			t.Errorf("read %d: %v", i, err)
		}
	}
	close(hold)
	repair.Wait()
}
