package pod

import (
	"context"
	"sync"
)

// background are goroutines that go on when the call that started them has returned, until the pod is closed.
type background struct {
	closing chan struct{} // closed by end

	mu    sync.Mutex // guards ended; held while work begins
	ended bool
	work  sync.WaitGroup
}

func newBackground() *background { return &background{closing: make(chan struct{})} }

// run starts f; false: the pod is closed.
func (b *background) run(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return false
	}
	b.work.Go(f)
	return true
}

// detach is a context with the values of ctx that ends when the pod is closed, or cancel is called, and not with ctx.
func (b *background) detach(ctx context.Context) (_ context.Context, cancel func()) {
	ctx, cancel = context.WithCancel(context.WithoutCancel(ctx))
	b.run(func() {
		select {
		case <-b.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// end ends all that was detached, and takes nothing new. What runs is to be waited for.
func (b *background) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.ended = true
		close(b.closing)
	}
}

func (b *background) wait() { b.work.Wait() }
