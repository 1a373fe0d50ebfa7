package pod

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

const (
	// commitEvery is the least time between the starts of two passes when burst of them in a row committed more than one row each, so that a burst of operations
	// shares a commit (DESIGN section 5: at once when idle, else every 10 to 20 ms).
	commitEvery = 10 * time.Millisecond
	burst       = 2
	// retryAfter is the wait after a pass that failed: the disk may have room again.
	retryAfter = time.Second
)

// barrier queues what waits for a sync. One goroutine makes passes: it syncs the store, makes the files and names the contents
// that were queued before (I2a: bytes are durable before the row that names them), and commits.
type barrier struct {
	kick     chan struct{} // capacity 1
	refusing func() error  // not nil while no pass can be made

	mu      sync.Mutex // guards the fields below
	staged  []stagedContent
	unsaved []*node // closed, and could not be staged: each counts as a use
	puts    []*newFile
	waiters []chan error // each of capacity 1; told the result of the next pass that begins
	serving []chan error // those of the pass that runs
	naming  bool         // the pass that runs has contents to name
	busy    int          // passes in a row that committed more than one row each
	closed  bool
}

func newBarrier(refusing func() error) *barrier {
	return &barrier{kick: make(chan struct{}, 1), refusing: refusing}
}

func (b *barrier) wake() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// stagedContent is contents of a node that wait to be named.
type stagedContent struct {
	n *node
	c *content
}

// add queues contents of a node that were staged.
func (b *barrier) add(n *node, c *content) {
	b.mu.Lock()
	b.staged = append(b.staged, stagedContent{n, c})
	b.mu.Unlock()
	b.wake()
}

// wait waits for a pass that begins after the call, and returns its error.
func (b *barrier) wait(ctx context.Context) error {
	done := make(chan error, 1)
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return errClosed
	}
	b.waiters = append(b.waiters, done)
	b.mu.Unlock()
	if err := b.refusing(); err != nil {
		return err
	}
	b.wake()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gathers says whether the next pass is to wait for more to commit: much came lately, and nobody waits for it.
func (b *barrier) gathers() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.busy >= burst && len(b.waiters) == 0
}

// passed notes the end of a pass.
func (b *barrier) passed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.naming = false
}

// committed notes how many rows a pass committed.
func (b *barrier) committed(rows int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy++; rows <= 1 {
		b.busy = 0
	}
}

// keep has the barrier try again to stage a file whose last user was told that it could not be. The caller hands over a use of it.
func (b *barrier) keep(n *node) {
	b.mu.Lock()
	b.unsaved = append(b.unsaved, n)
	b.mu.Unlock()
	b.wake()
}

// queued is what a pass is about.
type queued struct {
	staged  []stagedContent
	puts    []*newFile
	waiters []chan error
}

func (b *barrier) take() queued {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := queued{b.staged, b.puts, b.waiters}
	b.staged, b.puts, b.waiters, b.serving, b.naming = nil, nil, nil, b.waiters, len(b.staged) > 0
	return q
}

// refuse tells all that wait an error now: the pass that runs can't go on. What is staged is kept for later.
func (b *barrier) refuse(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range append(b.serving, b.waiters...) {
		tell(w, err)
	}
	for _, f := range b.puts {
		f.finish(made{err: err})
	}
	b.waiters, b.puts, b.serving = nil, nil, nil
}

// tell gives a waiter its error, unless it was refused before.
func tell(w chan<- error, err error) {
	select {
	case w <- err:
	default:
	}
}

// close tells all that wait that no pass will come.
func (b *barrier) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, w := range b.waiters {
		tell(w, errClosed)
	}
	for _, f := range b.puts {
		f.finish(made{err: errClosed})
	}
	b.waiters, b.puts = nil, nil
}

// runBarrier makes passes until ctx ends, and one last one then.
func (p *Pod) runBarrier(ctx context.Context) error {
	defer p.barrier.close()
	for {
		select {
		case <-ctx.Done():
			return p.pass(context.WithoutCancel(ctx))
		case <-p.barrier.kick:
		}
		start := p.clock.Now()
		pause := commitEvery
		if err := p.pass(ctx); err != nil && ctx.Err() == nil {
			p.log.ErrorContext(ctx, "changes could not be made durable; they are kept and tried again", "err", err)
			pause = retryAfter
			p.barrier.wake()
		}
		if rest := pause - clock.Since(p.clock, start); rest > 0 && (pause == retryAfter || p.barrier.gathers()) {
			_ = clock.Sleep(ctx, p.clock, rest) // its end is seen above
		}
	}
}

// pass makes durable, names and publishes what was queued before it began, and publishes what was done before then.
func (p *Pod) pass(ctx context.Context) error {
	again := p.saveAgain(ctx)
	var q queued
	p.db.Fence(func() { q = p.barrier.take() })
	err := p.makePass(ctx, q)
	p.barrier.passed()
	for _, w := range q.waiters {
		tell(w, err)
	}
	return errors.Join(err, again)
}

// saveAgain tries to stage what could not be staged at its close: there may be room again. A file of which blocks are missing holds up no other.
func (p *Pod) saveAgain(ctx context.Context) error {
	p.barrier.mu.Lock()
	list := p.barrier.unsaved
	p.barrier.unsaved = nil
	p.barrier.mu.Unlock()
	var left []*node
	var errs []error
	for _, n := range list {
		if err := p.stageSoon(ctx, n); err != nil {
			left, errs = append(left, n), append(errs, err)
			continue
		}
		p.release(n)
	}
	p.barrier.mu.Lock()
	defer p.barrier.mu.Unlock()
	p.barrier.unsaved = append(left, p.barrier.unsaved...)
	return errors.Join(errs...)
}

func (p *Pod) makePass(ctx context.Context, q queued) error {
	// It was put before the sync that follows, and so was what new files hold.
	steps := newest(q.staged)
	if len(steps)+len(q.puts) > 0 {
		if err := p.store.Sync(ctx); err != nil {
			err = fmt.Errorf("pod: sync the store: %w", err)
			p.barrier.again(steps)
			for _, f := range q.puts {
				f.finish(made{err: err})
			}
			return err
		}
	}
	var errs []error
	var left []stagedContent
	for _, s := range steps {
		if err := p.name(s.n, s.c); err != nil { //nolint:contextcheck // operations of the state take no context
			errs, left = append(errs, err), append(left, s)
		}
	}
	p.barrier.again(left)
	p.makeFiles(ctx, q.puts)
	n, err := p.db.Commit(ctx)
	if err != nil {
		errs = append(errs, fmt.Errorf("pod: commit: %w", err))
	}
	p.barrier.committed(n + len(q.puts))
	if n > 0 {
		p.committed(ctx)
	}
	ready, held := p.db.Uncommitted()
	if ready {
		p.barrier.wake() // rows that changed while the commit ran
	}
	if len(held) > 0 {
		p.foldSoon()
	}
	return errors.Join(errs...)
}

// anyStaged says whether contents wait to be named.
func (b *barrier) anyStaged() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.staged) > 0 || b.naming
}

// newest is the contents of each node that were staged last.
func newest(staged []stagedContent) []stagedContent {
	at := make(map[*node]int, len(staged))
	out := make([]stagedContent, 0, len(staged))
	for _, s := range staged {
		if i, ok := at[s.n]; ok {
			out[i] = s
			continue
		}
		at[s.n] = len(out)
		out = append(out, s)
	}
	return out
}

// again queues contents for the next pass, before what was staged meanwhile, without waking it.
func (b *barrier) again(staged []stagedContent) {
	b.mu.Lock()
	b.staged = append(staged, b.staged...)
	b.mu.Unlock()
}
