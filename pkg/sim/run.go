package sim

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Simulation runs one seed of a kind of simulation.
type Simulation func(ctx context.Context, seed uint64, trace *Trace) error

// run runs a seed; a panic is an error too.
func (s Simulation) run(ctx context.Context, seed uint64) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return s(ctx, seed, nil)
}

// RunRange runs the seeds from first up to, but not with, end, jobs at a time, until one fails or ctx ends. It calls done, one call after the other, with how
// many seeds from first on are good, without a gap. failed is the least seed that failed, with its error; a ctx that ends is no failure.
func RunRange(ctx context.Context, s Simulation, first, end uint64, jobs int, done func(good uint64)) (failed uint64, err error) {
	group, work := errgroup.WithContext(ctx)
	r := ranger{next: first, end: end, good: map[uint64]bool{}, low: first, done: done, failed: end}
	for range max(jobs, 1) {
		group.Go(func() error {
			for {
				seed, ok := r.take()
				if !ok || work.Err() != nil {
					return nil //nolint:nilerr // who ended it knows
				}
				if err := s.run(work, seed); ctx.Err() == nil {
					r.ended(seed, err)
				}
			}
		})
	}
	err = group.Wait()
	return r.failed, errors.Join(err, r.err)
}

// ranger gives out seeds.
type ranger struct {
	mu     sync.Mutex // guards the fields below
	next   uint64
	end    uint64
	good   map[uint64]bool // at and above low
	low    uint64          // all below are good
	failed uint64
	err    error
	done   func(good uint64)
}

func (r *ranger) take() (seed uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next >= r.end || r.err != nil {
		return 0, false
	}
	r.next++
	return r.next - 1, true
}

func (r *ranger) ended(seed uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if seed < r.failed {
			r.failed, r.err = seed, err
		}
		return
	}
	r.good[seed] = true
	first := r.low
	for r.good[r.low] {
		delete(r.good, r.low)
		r.low++
	}
	if r.low > first {
		r.done(r.low)
	}
}
