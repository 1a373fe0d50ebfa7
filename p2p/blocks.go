package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
)

// Streams of blocks that one side uses at once on one link; each carries one request after the other.
const (
	getStreamsMax = 8
	putStreamsMax = 4
	// servedMax is how many the other side may have open: as many as it uses, and those that it reset which
	// have not ended here.
	servedMax = 2 * (getStreamsMax + putStreamsMax)
)

// blockStream is a stream of blocks that this side opened.
type blockStream struct {
	l   *link
	s   network.Stream
	r   *bufio.Reader
	w   *bufio.Writer
	req uint64 // of the last request
	met bool   // the other side's preamble was read

	rested bool // nobody used it since the last call of rest; guarded by the pool's mu
}

// pool keeps the streams of one role that no one uses, since a new one costs about 100 us, until they were not used for idleMax: each takes
// some 200 KiB of buffers and four goroutines on both sides.
type pool struct {
	l     *link
	role  role
	slots chan struct{} // a token for each stream in use
	back  chan struct{} // and for each that users' reads go before: half of them

	mu   sync.Mutex // guards idle
	idle []*blockStream
}

func newPool(l *link, r role, most int) *pool {
	return &pool{l: l, role: r, slots: make(chan struct{}, most), back: make(chan struct{}, most/2)}
}

// use calls f with a stream that is f's alone; when it fails, or ctx ends meanwhile, the stream is reset,
// which is how the other side learns that nobody waits any more.
func (p *pool) use(ctx context.Context, f func(*blockStream) error) error {
	slots := []chan struct{}{p.slots}
	if ClassOf(ctx).behind() {
		slots = []chan struct{}{p.back, p.slots} // a user never waits for a stream until repair is done with all of them
	}
	for _, s := range slots {
		select {
		case s <- struct{}{}:
			defer func() { <-s }()
		case <-ctx.Done():
			return ctx.Err()
		case <-p.l.ctx.Done():
			return p.l.unreachable()
		}
	}
	b, err := p.take(ctx)
	if err != nil {
		return p.explain(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = b.s.Reset() })
	stopLink := context.AfterFunc(p.l.ctx, func() { _ = b.s.Reset() }) //nolint:contextcheck // both contexts count: the link may end before the caller's
	err = f(b)
	live := stop()
	if err == nil && live && stopLink() {
		p.mu.Lock()
		p.idle = append(p.idle, b)
		p.mu.Unlock()
		return nil
	}
	stopLink()
	_ = b.s.Reset()
	return p.explain(ctx, err)
}

// rest ends the streams that nobody used since it was called last.
func (p *pool) rest() {
	p.mu.Lock()
	var old, kept []*blockStream
	for _, b := range p.idle {
		if b.rested {
			old = append(old, b)
			continue
		}
		b.rested = true
		kept = append(kept, b)
	}
	p.idle = kept
	p.mu.Unlock()
	for _, b := range old {
		_ = b.s.Reset() // nothing is under way on it
	}
}

// explain makes an error of a stream one of the contract: the context's, or ErrUnreachable.
func (p *pool) explain(ctx context.Context, err error) error {
	var own callerError
	switch {
	case err == nil || errors.As(err, &own):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrProtocol):
		p.l.end(err)
		return err
	case p.l.ctx.Err() != nil:
		return p.l.unreachable()
	}
	return fmt.Errorf("p2p: %s: %w: %w", p.l.pod(), ErrUnreachable, err)
}

// callerError marks an error of a caller's function, which goes back to it as it is.
type callerError struct{ error }

func (e callerError) Unwrap() error { return e.error }

func (p *pool) take(ctx context.Context) (*blockStream, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		b := p.idle[n-1]
		p.idle, b.rested = p.idle[:n-1], false
		p.mu.Unlock()
		return b, nil
	}
	p.mu.Unlock()
	s, err := openX(ctx, p.l.conn)
	if err != nil {
		return nil, err
	}
	b := &blockStream{
		l: p.l, s: s,
		r: bufio.NewReaderSize(hearing{p.l, s}, readBuffer),
		w: bufio.NewWriterSize(s, writeBuffer),
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	if _, err := b.w.Write(appendPreamble(nil, p.role)); err != nil {
		return nil, fmt.Errorf("p2p: open stream: %w", err)
	}
	return b, nil
}

// request sends a batch of names and returns the number by which the answers name it.
func (b *blockStream) request(t frameType, c Class, objects []object) (uint64, error) {
	b.req++
	if err := writeFrame(b.w, frameHeader{typ: t, kind: Kind(c), id: b.req}, appendObjects(nil, t, objects)); err != nil {
		return 0, err
	}
	return b.req, b.flush()
}

func (b *blockStream) flush() error {
	if err := b.w.Flush(); err != nil {
		return fmt.Errorf("p2p: write frame: %w", err)
	}
	return nil
}

// header reads the header of an answer to a request.
func (b *blockStream) header(req uint64) (frameHeader, error) {
	if !b.met {
		if _, err := readPreamble(b.r); err != nil {
			return frameHeader{}, err
		}
		b.met = true
	}
	f, err := readHeader(b.r, roleGet) // puts have the same frames
	if err == nil && f.id != req {
		err = fmt.Errorf("p2p: answer to request %d instead of %d: %w", f.id, req, ErrProtocol)
	}
	return f, err
}

// hearing counts what is read from a stream of blocks as a sign of life.
type hearing struct {
	l *link
	r io.Reader
}

func (h hearing) Read(b []byte) (int, error) {
	n, err := h.r.Read(b)
	if n > 0 {
		h.l.hear()
	}
	return n, err
}

// wires keeps buffers for blocks: made anew for each they cost more than the rest (measured: 15 times).
var wires = sync.Pool{New: func() any { return new([]byte) }}

// takeWire is a buffer of n bytes, to be given back by wires.Put.
func takeWire(n int) *[]byte {
	b, ok := wires.Get().(*[]byte)
	if !ok || cap(*b) < n {
		// Powers of two, so that buffers fit again.
		size := 4 << 10
		for size < n {
			size *= 2
		}
		if size > WireMax {
			size = WireMax
		}
		b = new([]byte)
		*b = make([]byte, size)
	}
	*b = (*b)[:n]
	return b
}

// serveBlocks serves a stream of blocks that the other side opened, until it ends.
func (l *link) serveBlocks(s network.Stream, r *bufio.Reader, ro role) {
	l.mu.Lock()
	l.streams++
	over := l.streams > servedMax
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.streams--
		l.mu.Unlock()
	}()
	defer context.AfterFunc(l.ctx, func() { _ = s.Reset() })()
	err := fmt.Errorf("p2p: more than %d streams: %w", servedMax, ErrBusy)
	if !over {
		if ro == roleGet {
			err = l.serveGets(s, r)
		} else {
			err = l.servePuts(s, r)
		}
	}
	_ = s.Reset()
	if errors.Is(err, ErrProtocol) {
		l.end(err)
	}
}

// eachBatch calls f for the parts of [0, n) of batchMax at most.
func eachBatch(n int, f func(from, to int) error) error {
	for from := 0; from < n; from += batchMax {
		if err := f(from, min(n, from+batchMax)); err != nil {
			return err
		}
	}
	return nil
}
