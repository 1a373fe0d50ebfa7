package p2p

import (
	"slices"
	"sync"
)

// Limits of what waits to be sent on one link.
const (
	controlMax = 1024    // pings, cancels and failures; a peer that lets more pile up does not read
	tellsMax   = 4096    // messages
	tellsBytes = 8 << 20 // bytes of messages
)

// outMsg is a message, question or answer that waits to be sent, whole or for its next piece.
type outMsg struct {
	head frameHeader
	body []byte
	sent int // bytes
	done func()
}

// sendQueue is what waits to be sent on one link. Control frames go first, then messages, then questions
// and answers piece by piece in turn, so that no one waits behind 16 MiB.
type sendQueue struct {
	wake chan struct{} // capacity 1: there is something to send

	mu         sync.Mutex // guards the fields below
	controls   []queued
	tells      []*outMsg
	tellsBytes int
	bulk       []*outMsg
}

type queued struct {
	head frameHeader
	body []byte
}

func newSendQueue() *sendQueue { return &sendQueue{wake: make(chan struct{}, 1)} }

// control queues a whole frame. A pong replaces a pong. It is false when too many wait: the peer does not
// read what it asks for.
func (q *sendQueue) control(f frameHeader, body []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if f.typ == framePong || f.typ == framePing || f.typ == frameAddrs {
		q.controls = slices.DeleteFunc(q.controls, func(o queued) bool { return o.head.typ == f.typ })
	}
	if len(q.controls) >= controlMax {
		return false
	}
	q.controls = append(q.controls, queued{f, body})
	kick(q.wake)
	return true
}

// tell queues a message; false: it was dropped. A head takes the place of one that waits.
func (q *sendQueue) tell(m *outMsg) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if m.head.kind == KindHead {
		i := slices.IndexFunc(q.tells, func(o *outMsg) bool { return o.head.kind == KindHead && o.sent == 0 })
		if i >= 0 {
			q.tellsBytes += len(m.body) - len(q.tells[i].body)
			q.tells[i] = m
			return true
		}
	}
	if len(q.tells) >= tellsMax || q.tellsBytes+len(m.body) > tellsBytes {
		return false
	}
	q.tells = append(q.tells, m)
	q.tellsBytes += len(m.body)
	kick(q.wake)
	return true
}

// add queues a question or answer; its done is called once the last piece is on its way.
func (q *sendQueue) add(m *outMsg) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bulk = append(q.bulk, m)
	kick(q.wake)
}

// withdraw takes back a question of which nothing was sent; false: it is too late.
func (q *sendQueue) withdraw(m *outMsg) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.bulk, m)
	if i < 0 || m.sent > 0 {
		return false
	}
	q.bulk = slices.Delete(q.bulk, i, i+1)
	return true
}

// next takes the next frame to send; false: nothing waits.
func (q *sendQueue) next() (frameHeader, []byte, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case len(q.controls) > 0:
		c := q.controls[0]
		q.controls = slices.Delete(q.controls, 0, 1)
		return c.head, c.body, true
	case len(q.tells) > 0:
		m := q.tells[0]
		f, piece := m.piece()
		if !f.more() {
			q.tells[0] = nil
			q.tells = q.tells[1:]
			q.tellsBytes -= len(m.body)
		}
		return f, piece, true
	case len(q.bulk) > 0:
		m := q.bulk[0]
		q.bulk[0] = nil
		q.bulk = q.bulk[1:]
		f, piece := m.piece()
		if f.more() {
			q.bulk = append(q.bulk, m)
		} else if m.done != nil {
			m.done()
		}
		return f, piece, true
	}
	return frameHeader{}, nil, false
}

// piece cuts the next piece off.
func (m *outMsg) piece() (frameHeader, []byte) {
	f := m.head
	piece := m.body[m.sent:min(len(m.body), m.sent+pieceMax)]
	m.sent += len(piece)
	if m.sent < len(m.body) {
		f.flags |= flagMore
	}
	return f, piece
}
