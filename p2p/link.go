package p2p

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"golang.org/x/sync/semaphore"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	pingInterval = 1 * time.Second
	pingRTT      = 10               // intervals between pings that are sent although the other side's pings are signs of life enough
	idleMax      = 30 * time.Second // a stream of blocks that was not used for longer ends
	silenceMax   = 10 * time.Second // then the link is dead: a pulled cable sends no FIN
	asksMax      = 64               // questions to one peer that wait for their answer
	askedMax     = 2 * asksMax      // questions of one peer in hand: those it gave up count until they are answered
	answersMax   = 16               // questions of one peer that the Handler answers at once; others wait
	writeBuffer  = 128 << 10        // bytes
)

// link is a connection on which both sides were admitted: its stream of messages, and the streams of blocks
// beside it.
type link struct {
	h        *Host
	conn     *conn
	peer     *remote // set by linkUp
	instance uint64
	stream   network.Stream
	r        *bufio.Reader // read by the reader alone
	since    time.Time

	ctx    context.Context //nolint:containedctx // ends when the link does, with the reason as its cause: all who wait on the link look at it
	cancel context.CancelCauseFunc
	ended  sync.Once

	heard atomic.Int64 // unix ns of the last byte
	alive atomic.Int64 // unix ns of the last ping from the other side
	rtt   atomic.Int64 // ns
	out   *sendQueue

	askSlots    chan struct{}       // capacity asksMax: a token for each question not answered
	askBytes    *semaphore.Weighted // of the bodies of these
	answering   chan struct{}       // capacity answersMax: a token for each call of Handler.Asked
	answerBytes *semaphore.Weighted // of answers that wait to be sent
	blockBytes  *semaphore.Weighted // of blocks that wait to be sent
	behindBytes *semaphore.Weighted // of these, of such that users' reads go before: half
	putBytes    *semaphore.Weighted // of blocks that the peer puts
	gets, puts  *pool
	kadStreams  atomic.Int32 // of the DHT, opened by the peer

	mu      sync.Mutex // guards the fields below
	asks    map[uint64]*ask
	lastAsk uint64
	asked   map[uint64]*asked
	streams int // of blocks, opened by the peer
	pinged  struct {
		id uint64
		at time.Time
	}

	// Of the reader alone.
	tellPart      []byte // pieces of a message
	lastAsked     uint64
	partialAnswer int // bytes of answers of which pieces are missing
}

func newLink(h *Host, c *conn, s network.Stream, r *bufio.Reader, instance uint64) *link {
	l := &link{
		h: h, conn: c, instance: instance, stream: s, r: r, since: h.clock.Now(), out: newSendQueue(),
		askSlots:    make(chan struct{}, asksMax),
		askBytes:    semaphore.NewWeighted(InFlightMax),
		answering:   make(chan struct{}, answersMax),
		answerBytes: semaphore.NewWeighted(InFlightMax),
		blockBytes:  semaphore.NewWeighted(InFlightMax),
		behindBytes: semaphore.NewWeighted(InFlightMax / 2),
		putBytes:    semaphore.NewWeighted(InFlightMax),
		asks:        make(map[uint64]*ask),
		asked:       make(map[uint64]*asked),
	}
	l.ctx, l.cancel = context.WithCancelCause(h.ctx)
	l.gets, l.puts = newPool(l, roleGet, getStreamsMax), newPool(l, rolePut, putStreamsMax)
	l.hear()
	return l
}

func (l *link) pod() ident.Pod { return l.conn.pod }

func (l *link) hear() { l.heard.Store(l.h.clock.Now().UnixNano()) }

func (l *link) heardAt() time.Time { return time.Unix(0, l.heard.Load()) }

// run is the life of the link; it returns when the link has ended.
func (l *link) run() {
	var wg sync.WaitGroup
	for _, part := range []func() error{l.write, l.ping} {
		wg.Go(func() { l.end(part()) })
	}
	l.end(l.read())
	wg.Wait()
}

// end ends the link: the first reason counts.
func (l *link) end(why error) {
	l.ended.Do(func() {
		l.cancel(why)
		if errors.Is(why, ErrProtocol) {
			l.h.log.Warn("pod disconnected for what it sent", "pod", l.pod().String(), "err", why)
		}
		l.h.drop(l.conn, why)
		l.h.linkDown(l)
	})
}

// unreachable is the error for those who wait for something on a link that ended.
func (l *link) unreachable() error {
	return fmt.Errorf("p2p: %s was lost: %w: %w", l.pod(), ErrUnreachable, context.Cause(l.ctx))
}

// writers are buffers for links that have something to send; one for each link would be most of what a pod takes at rest.
var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, writeBuffer) }}

// write sends what is queued.
func (l *link) write() error {
	for {
		if err := l.writeQueued(); err != nil {
			return err
		}
		select {
		case <-l.out.wake:
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		}
	}
}

// writeQueued sends what is queued now.
func (l *link) writeQueued() error {
	f, body, ok := l.out.next()
	if !ok {
		return nil
	}
	w := writers.Get().(*bufio.Writer) //nolint:errcheck,forcetypeassert // the pool has only these
	w.Reset(l.stream)
	defer func() {
		w.Reset(nil)
		writers.Put(w)
	}()
	for ; ok; f, body, ok = l.out.next() {
		if err := writeFrame(w, f, body); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("p2p: write frame: %w", err)
	}
	return nil
}

// ping asks each second for a sign of life, and ends a link that gives none. Of the two pods of a link the one with the lesser id asks: its questions are
// signs of its own life, so that the other one asks only while it hears none, as from a version that does otherwise, and now and then to know how long the way is.
func (l *link) ping() error {
	first := bytes.Compare(l.h.pod[:], l.conn.pod[:]) < 0
	for id := uint64(1); ; id++ {
		now := l.h.clock.Now()
		if pings(first, id, now.Sub(time.Unix(0, l.alive.Load()))) {
			l.mu.Lock()
			l.pinged.id, l.pinged.at = id, now
			l.mu.Unlock()
			l.out.control(frameHeader{typ: framePing, id: id}, nil)
		}
		// At whole seconds, so that a pod wakes once for all its links.
		if err := clock.Sleep(l.ctx, l.h.clock, pingInterval-time.Duration(now.UnixNano())%pingInterval); err != nil {
			return err
		}
		if id%uint64(idleMax/pingInterval) == 0 {
			l.gets.rest()
			l.puts.rest()
		}
		l.conn.sent.tick()
		l.conn.received.tick()
		// Both sides look at whole seconds, just when they are to hear something: half a second less has both give up at the same of them.
		if silent := clock.Since(l.h.clock, l.heardAt()); silent > silenceMax-pingInterval/2 {
			return fmt.Errorf("p2p: nothing heard for %s: %w", silent.Round(time.Second), ErrUnreachable)
		}
	}
}

// pings says whether the id-th ping is sent; silent is how long ago the other side's last one came.
func pings(first bool, id uint64, silent time.Duration) bool {
	return first || silent > pingInterval*3/2 || id%pingRTT == 1
}

// ponged takes the answer to a ping. Pings that were overtaken in the queue are never answered.
func (l *link) ponged(id uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == 0 || id > l.pinged.id {
		return fmt.Errorf("p2p: pong %d for no ping: %w", id, ErrProtocol)
	}
	if id == l.pinged.id {
		l.rtt.Store(int64(max(1, clock.Since(l.h.clock, l.pinged.at))))
	}
	return nil
}

// read takes what the peer sends, until the stream ends or the peer breaks the protocol. It never waits
// for anything but the stream.
func (l *link) read() error {
	for {
		f, err := readHeader(l.r, roleMessages)
		if err != nil {
			return err
		}
		l.hear()
		switch f.typ {
		case framePing:
			l.alive.Store(l.h.clock.Now().UnixNano())
			if !l.out.control(frameHeader{typ: framePong, id: f.id}, nil) {
				err = errNotReading
			}
		case framePong:
			err = l.ponged(f.id)
		case frameTell:
			err = l.readTell(f)
		case frameQuestion:
			err = l.readQuestion(f)
		case frameAnswer:
			err = l.readAnswer(f)
		case frameFail:
			err = l.readFail(f)
		case frameCancel:
			err = l.readCancel(f)
		case frameAddrs:
			err = l.readAddrs(f)
		default:
			err = fmt.Errorf("p2p: frame of type %d after the hello: %w", f.typ, ErrProtocol)
		}
		if err != nil {
			return err
		}
	}
}

var errNotReading = fmt.Errorf("p2p: the peer asks and does not read: %w", ErrProtocol)

func (l *link) readTell(f frameHeader) error {
	if len(l.tellPart)+int(f.length) > TellMax {
		return fmt.Errorf("p2p: message over %d bytes: %w", TellMax, ErrProtocol)
	}
	b, err := appendBody(l.tellPart, l.r, f)
	if err != nil {
		return err
	}
	if f.more() {
		l.tellPart = b
		return nil
	}
	l.tellPart = nil
	if !l.h.tellHandler(l.peer, told{l, f.kind, b}) {
		l.h.log.Warn("message dropped: too many wait", "pod", l.pod().String(), "kind", f.kind)
	}
	return nil
}

func (l *link) readAddrs(f frameHeader) error {
	b, err := readBody(l.r, f)
	if err != nil {
		return err
	}
	addrs, err := decodeAddrs(b)
	if err != nil {
		return err
	}
	l.h.announcedBy(l.pod(), addrs)
	return nil
}
