package p2p

import (
	"context"
	"fmt"
)

// asked is a question of the peer that is coming in or being answered.
type asked struct {
	kind   Kind
	part   []byte // pieces so far; the reader's alone until the Handler gets them
	size   int    // bytes held
	fail   error  // why it will not be answered, so that further pieces are dropped
	cancel context.CancelFunc
}

// readQuestion takes a piece of a question, and starts to answer after the last one.
func (l *link) readQuestion(f frameHeader) error {
	q, err := l.askedFor(f)
	if err != nil {
		return err
	}
	if q.fail == nil && len(q.part)+int(f.length) > QuestionMax {
		return fmt.Errorf("p2p: question over %d bytes: %w", QuestionMax, ErrProtocol)
	}
	l.mu.Lock()
	if q.fail == nil && l.askedBytesLocked()+int(f.length) > InFlightMax {
		q.fail = fmt.Errorf("questions of more than %d bytes are in hand: %w", InFlightMax, ErrBusy)
	}
	if q.fail != nil {
		q.part, q.size = nil, 0
	} else {
		q.size += int(f.length)
	}
	fail := q.fail
	l.mu.Unlock()
	if fail != nil {
		if _, err := l.r.Discard(int(f.length)); err != nil {
			return fmt.Errorf("p2p: read frame: %w", err)
		}
		if f.more() {
			return nil
		}
		return l.failQuestion(f.id, fail)
	}
	if q.part, err = appendBody(q.part, l.r, f); err != nil || f.more() {
		return err
	}
	l.answerLater(f.id, q)
	return nil
}

// askedFor is the question that a piece belongs to; ids of new ones rise.
func (l *link) askedFor(f frameHeader) (*asked, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.asked[f.id]
	switch {
	case q != nil && q.cancel == nil && q.kind == f.kind:
		return q, nil
	case q != nil || f.id <= l.lastAsked:
		return nil, fmt.Errorf("p2p: question %d comes again: %w", f.id, ErrProtocol)
	}
	l.lastAsked = f.id
	q = &asked{kind: f.kind}
	if len(l.asked) >= 2*askedMax {
		return nil, fmt.Errorf("p2p: more than %d questions at once: %w", 2*askedMax, ErrProtocol)
	}
	if len(l.asked) >= askedMax {
		q.fail = fmt.Errorf("%d questions are in hand: %w", len(l.asked), ErrBusy)
	}
	l.asked[f.id] = q
	return q, nil
}

func (l *link) askedBytesLocked() int {
	n := 0
	for _, q := range l.asked {
		n += q.size
	}
	return n
}

// answerLater has the Handler answer a question that is here whole.
func (l *link) answerLater(id uint64, q *asked) {
	ctx, cancel := context.WithCancel(l.ctx)
	l.mu.Lock()
	q.cancel = cancel
	body := q.part
	q.part = nil
	l.mu.Unlock()
	l.h.start(func() {
		defer cancel()
		out, err := l.answer(ctx, q.kind, body)
		if err != nil {
			if err := l.failQuestion(id, err); err != nil {
				l.end(err)
			}
			return
		}
		l.mu.Lock()
		delete(l.asked, id)
		l.mu.Unlock()
		l.out.add(&outMsg{
			head: frameHeader{typ: frameAnswer, id: id}, body: out,
			done: func() { l.answerBytes.Release(int64(len(out))) },
		})
	}, cancel)
}

// answer has the Handler answer a question, and takes the answer's bytes from answerBytes. An answer keeps its
// token until it has them, so that a peer which does not read holds a bounded number of answers.
func (l *link) answer(ctx context.Context, kind Kind, body []byte) ([]byte, error) {
	select {
	case l.answering <- struct{}{}:
		defer func() { <-l.answering }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var out []byte
	err := l.h.guard("asked", func() (err error) {
		out, err = l.h.cfg.Handler.Asked(ctx, l.pod(), kind, body)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(out) > QuestionMax {
		return nil, fmt.Errorf("answer of %d bytes: %w", len(out), ErrTooLarge)
	}
	return out, l.answerBytes.Acquire(ctx, int64(len(out)))
}

// failQuestion answers a question by a failure.
func (l *link) failQuestion(id uint64, err error) error {
	l.mu.Lock()
	delete(l.asked, id)
	l.mu.Unlock()
	if !l.out.control(frameHeader{typ: frameFail, id: id}, encodeFailure(err)) {
		return errNotReading
	}
	return nil
}

// readCancel ends the context of a question; one that was answered meanwhile is no fault.
func (l *link) readCancel(f frameHeader) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.asked[f.id]
	switch {
	case q != nil && q.cancel != nil:
		q.cancel()
	case q != nil:
		q.fail = context.Canceled
	case f.id == 0 || f.id > l.lastAsked:
		return fmt.Errorf("p2p: cancel of %d, which is no question: %w", f.id, ErrProtocol)
	}
	return nil
}
