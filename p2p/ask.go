package p2p

import (
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// ask is a question of ours that was not answered yet. One that was given up stays until it is answered:
// each question is answered exactly once.
type ask struct {
	answer chan answer // capacity 1
	gone   bool        // nobody waits; guarded by link.mu
	size   int64       // bytes of the question
	part   []byte      // pieces of the answer; the reader's alone
}

type answer struct {
	body []byte
	err  error
}

// Ask sends a question and waits for its answer, which the caller owns. body must not be changed
// afterwards: after an error it may still be on its way. Errors: ErrUnreachable (not connected, or lost on the way), ErrTooLarge, the context's;
// from the other side ErrBusy, ErrFull, ErrRefused, block.ErrNotFound, block.ErrCorrupt, block.ErrUnavailable,
// and ErrRemote for any other. At most 64 questions to a peer are under way; others wait.
func (h *Host) Ask(ctx context.Context, pod ident.Pod, kind Kind, body []byte) ([]byte, error) {
	if len(body) > QuestionMax {
		return nil, fmt.Errorf("p2p: question of %d bytes: %w", len(body), ErrTooLarge)
	}
	l, err := h.link(pod)
	if err != nil {
		return nil, err
	}
	return l.ask(ctx, kind, body)
}

func (l *link) ask(ctx context.Context, kind Kind, body []byte) ([]byte, error) {
	select {
	case l.askSlots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.ctx.Done():
		return nil, l.unreachable()
	}
	if err := l.acquire(ctx, l.askBytes.Acquire, int64(len(body))); err != nil {
		<-l.askSlots
		return nil, err
	}
	a := &ask{answer: make(chan answer, 1), size: int64(len(body))}
	m := &outMsg{head: frameHeader{typ: frameQuestion, kind: kind}, body: body}
	l.mu.Lock()
	l.lastAsk++
	m.head.id = l.lastAsk
	l.asks[m.head.id] = a
	l.out.add(m) // under mu, so that ids rise on the wire
	l.mu.Unlock()

	select {
	case got := <-a.answer:
		return got.body, got.err
	case <-l.ctx.Done():
		return nil, l.unreachable()
	case <-ctx.Done():
		l.giveUp(m)
		return nil, ctx.Err()
	}
}

// acquire takes n from a semaphore, for as long as both the caller and the link live.
func (l *link) acquire(ctx context.Context, from func(context.Context, int64) error, n int64) error {
	if l.ctx.Err() != nil {
		return l.unreachable()
	}
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)() //nolint:contextcheck // both contexts count: the link may end before the caller's
	if err := from(both, n); err != nil {
		if ctx.Err() == nil {
			return l.unreachable()
		}
		return ctx.Err()
	}
	return nil
}

// giveUp cancels a question: it is taken back if it was not sent, and else the peer is told.
func (l *link) giveUp(m *outMsg) {
	if l.out.withdraw(m) {
		l.settle(m.head.id)
		return
	}
	l.mu.Lock()
	a := l.asks[m.head.id]
	if a != nil {
		a.gone = true
	}
	l.mu.Unlock()
	if a != nil {
		l.out.control(frameHeader{typ: frameCancel, id: m.head.id}, nil) // when it can't be queued the answer is only late
	}
}

// settle forgets a question that was answered or taken back, and returns it.
func (l *link) settle(id uint64) (*ask, bool) {
	l.mu.Lock()
	a := l.asks[id]
	delete(l.asks, id)
	l.mu.Unlock()
	if a == nil {
		return nil, false
	}
	l.askBytes.Release(a.size)
	<-l.askSlots
	return a, true
}

func (l *link) readAnswer(f frameHeader) error {
	l.mu.Lock()
	a := l.asks[f.id]
	gone := a != nil && a.gone
	l.mu.Unlock()
	switch {
	case a == nil:
		return fmt.Errorf("p2p: answer %d to no question: %w", f.id, ErrProtocol)
	case len(a.part)+int(f.length) > QuestionMax || l.partialAnswer+int(f.length) > InFlightMax:
		return fmt.Errorf("p2p: answers over the limits: %w", ErrProtocol)
	case gone:
		l.partialAnswer -= len(a.part)
		a.part = nil
		if _, err := l.r.Discard(int(f.length)); err != nil {
			return fmt.Errorf("p2p: read frame: %w", err)
		}
	default:
		b, err := appendBody(a.part, l.r, f)
		if err != nil {
			return err
		}
		a.part = b
		l.partialAnswer += int(f.length)
	}
	if f.more() {
		return nil
	}
	l.partialAnswer -= len(a.part)
	l.settle(f.id)
	a.answer <- answer{body: a.part}
	return nil
}

func (l *link) readFail(f frameHeader) error {
	b, err := readBody(l.r, f)
	if err != nil {
		return err
	}
	a, ok := l.settle(f.id)
	if !ok {
		return fmt.Errorf("p2p: failure of %d, which is no question: %w", f.id, ErrProtocol)
	}
	l.partialAnswer -= len(a.part)
	a.answer <- answer{err: fmt.Errorf("p2p: ask %s: %w", l.pod(), decodeFailure(b))}
	return nil
}

// Tell queues a message for a pod and never blocks. It is dropped if the pod is not connected, if body is
// over TellMax, and if more than 4096 messages or 8 MiB wait to be sent; and lost if the connection is,
// which the Handler sees by Disconnected. body must not be changed afterwards. A KindHead replaces one that
// waits to be sent.
func (h *Host) Tell(pod ident.Pod, kind Kind, body []byte) {
	l, err := h.link(pod)
	switch {
	case err != nil:
		h.log.Debug("message not sent", "pod", pod.String(), "kind", kind, "err", err)
	case len(body) > TellMax:
		h.log.Error("message not sent: too large", "kind", kind, "bytes", len(body))
	case !l.out.tell(&outMsg{head: frameHeader{typ: frameTell, kind: kind}, body: body}):
		h.log.Warn("message not sent: too many wait", "pod", pod.String(), "kind", kind)
	}
}
