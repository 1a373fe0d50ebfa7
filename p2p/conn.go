package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	msmux "github.com/multiformats/go-multistream"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	undecidedMax  = 512             // inbound connections whose hello has not been judged
	strangerMax   = time.Minute     // life of a connection that only enrols
	refusalLinger = 1 * time.Second // for the reason of a refusal to arrive, before the connection is closed
	readBuffer    = 64 << 10        // bytes
)

// conn is what is known of one libp2p connection: first undecided, then a link or refused.
type conn struct {
	net  network.Conn
	pod  ident.Pod
	bad  error       // the other side's identity is none of ours
	said atomic.Bool // the hello was begun: there is one on each connection
	// Of streams that this side uses after the hello.
	sent, received traffic
	// enrolments is how many of a stranger's requests are being answered.
	enrolments atomic.Int32

	once sync.Once
	done chan struct{} // closed when decided; then the fields below are set
	link *link
	err  error
}

// decide says once and for all what became of the hello.
func (c *conn) decide(l *link, err error) {
	c.once.Do(func() {
		c.link, c.err = l, err
		close(c.done)
	})
}

// wait waits for the decision and returns the link, or why there is none.
func (c *conn) wait(ctx context.Context) (*link, error) {
	select {
	case <-c.done:
		return c.link, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// conn is what is known of a connection, from the first call on until it is closed.
func (h *Host) conn(nc network.Conn) *conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.conns[nc]
	if c == nil {
		c = &conn{net: nc, done: make(chan struct{})}
		c.pod, c.bad = podOf(nc.RemotePeer())
		h.conns[nc] = c
	}
	return c
}

// opened starts the life of a connection: its dialler says hello, the other side waits for it.
func (h *Host) opened(nc network.Conn) {
	c := h.conn(nc)
	if c.bad != nil {
		h.drop(c, c.bad)
		return
	}
	if h.undecided() > undecidedMax {
		h.drop(c, fmt.Errorf("p2p: %d connections say nothing: %w", undecidedMax, ErrBusy))
		return
	}
	if nc.Stat().Direction == network.DirInbound {
		h.start(func() { h.expectHello(c) }, func() { h.drop(c, ErrClosed) })
		return
	}
	if c.said.CompareAndSwap(false, true) {
		h.start(func() { h.greet(c) }, func() { h.drop(c, ErrClosed) })
	}
}

// errGone says that a connection ended before anything was decided about it.
var errGone = fmt.Errorf("p2p: connection closed before the hello: %w", ErrUnreachable)

// gone ends the life of a connection that was closed.
func (h *Host) gone(nc network.Conn) {
	h.mu.Lock()
	c := h.conns[nc]
	delete(h.conns, nc)
	h.mu.Unlock()
	if c == nil {
		return
	}
	c.decide(nil, errGone)
	if c.link != nil {
		h.start(func() { c.link.end(errors.New("connection closed")) }, func() { c.link.cancel(ErrClosed) })
	}
}

func (h *Host) undecided() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, c := range h.conns {
		select {
		case <-c.done:
		default:
			n++
		}
	}
	return n
}

// drop closes a connection; why is for those who wait for its hello. It does not block: to close may take
// seconds when the other side does not answer.
func (h *Host) drop(c *conn, why error) {
	c.decide(nil, why)
	h.mu.Lock()
	if d := h.dials[c.pod]; d != nil {
		d.failed = why
	}
	h.mu.Unlock()
	closing := func() { _ = c.net.Close() } // nothing is lost that was promised
	h.start(closing, func() { go closing() })
}

// expectHello closes an inbound connection on which no pod was admitted in time, unless it enrols.
func (h *Host) expectHello(c *conn) {
	for waited := time.Duration(0); waited < strangerMax; waited += helloTimeout {
		t := h.clock.NewTimer(helloTimeout)
		select {
		case <-c.done:
			t.Stop()
			return
		case <-h.ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if c.enrolments.Load() == 0 {
			break
		}
	}
	h.drop(c, fmt.Errorf("p2p: no hello within %s: %w", helloTimeout, ErrUnreachable))
}

// openStream opens a stream on this connection and agrees on its protocol.
func openStream(ctx context.Context, nc network.Conn, p protocol.ID) (network.Stream, error) {
	s, err := nc.NewStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("p2p: open stream: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	if err := s.SetProtocol(p); err != nil {
		_ = s.Reset()
		return nil, fmt.Errorf("p2p: open stream: %w: %w", ErrBusy, err)
	}
	if err := msmux.SelectProtoOrFail(p, s); err != nil {
		_ = s.Reset()
		return nil, fmt.Errorf("p2p: open stream: %w", err)
	}
	return s, nil
}

// openX opens a stream of our protocol, whose bytes are counted.
func openX(ctx context.Context, c *conn) (network.Stream, error) {
	s, err := openStream(ctx, c.net, protoX)
	if err != nil {
		return nil, err
	}
	return counted{s, c}, nil
}

// greet is the dialler's part of the hello; then it is the link's reader.
func (h *Host) greet(c *conn) {
	ctx, cancel := context.WithTimeout(h.ctx, helloTimeout)
	defer cancel()
	l, err := h.sayHello(ctx, c)
	if err != nil {
		h.drop(c, err)
		return
	}
	l.run()
}

func (h *Host) sayHello(ctx context.Context, c *conn) (*link, error) {
	s, err := openX(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	mine, err := h.myHello(c.pod)
	if err != nil {
		return nil, err
	}
	if _, err := s.Write(appendFrame(appendPreamble(nil, roleMessages), frameHeader{typ: frameHello}, mine)); err != nil {
		return nil, fmt.Errorf("p2p: say hello: %w: %w", ErrUnreachable, err)
	}
	r := bufio.NewReaderSize(s, readBuffer)
	if err := expectPreamble(r, roleMessages); err != nil {
		return nil, fmt.Errorf("p2p: hear hello: %w: %w", ErrUnreachable, err)
	}
	body, err := expect(r, frameHello)
	if err != nil {
		return nil, err
	}
	theirs, err := h.judge(c.pod, body)
	if err != nil {
		h.refuse(ctx, c, s, nil, err)
		return nil, err
	}
	if _, err := s.Write(appendFrame(nil, frameHeader{typ: frameReady}, nil)); err != nil {
		return nil, fmt.Errorf("p2p: say hello: %w: %w", ErrUnreachable, err)
	}
	if !stop() {
		return nil, fmt.Errorf("p2p: say hello: %w: %w", ErrUnreachable, context.Cause(ctx))
	}
	return h.linkUp(c, s, r, theirs.instance)
}

// hearHello is the other side's part of the hello, after the preamble.
func (h *Host) hearHello(ctx context.Context, c *conn, s network.Stream, r *bufio.Reader) (*link, error) {
	body, err := expect(r, frameHello)
	if err != nil {
		return nil, err
	}
	pre := appendPreamble(nil, roleMessages)
	theirs, err := h.judge(c.pod, body)
	if err != nil {
		h.refuse(ctx, c, s, pre, err)
		return nil, err
	}
	mine, err := h.myHello(c.pod)
	if err != nil {
		return nil, err
	}
	if _, err := s.Write(appendFrame(pre, frameHeader{typ: frameHello}, mine)); err != nil {
		return nil, fmt.Errorf("p2p: say hello: %w: %w", ErrUnreachable, err)
	}
	if _, err := expect(r, frameReady); err != nil {
		return nil, err
	}
	return h.linkUp(c, s, r, theirs.instance)
}

func (h *Host) myHello(pod ident.Pod) ([]byte, error) {
	b := hello{network: h.cfg.Network, instance: h.session(pod), body: h.cfg.Hello()}
	if len(b.body) > HelloMax {
		return nil, fmt.Errorf("p2p: own hello of %d bytes: %w", len(b.body), ErrTooLarge)
	}
	return b.encode(), nil
}

// expect reads the frame that must come next in a hello, or the refusal that may come instead.
func expect(r io.Reader, want frameType) ([]byte, error) {
	f, body, err := readFrame(r, roleMessages)
	switch {
	case err != nil:
		return nil, fmt.Errorf("p2p: hear hello: %w: %w", ErrUnreachable, err)
	case f.typ == frameRefuse:
		return nil, fmt.Errorf("p2p: the peer does not let us in: %w: %s", ErrRefused, cleanText(body))
	case f.typ != want:
		return nil, fmt.Errorf("p2p: hear hello: frame of type %d: %w", f.typ, ErrProtocol)
	}
	return body, nil
}

func expectPreamble(r io.Reader, want role) error {
	got, err := readPreamble(r)
	if err == nil && got != want {
		err = fmt.Errorf("p2p: role %d instead of %d: %w", got, want, ErrProtocol)
	}
	return err
}

// judge decides on a peer's hello; the error is ErrRefused.
func (h *Host) judge(pod ident.Pod, body []byte) (hello, error) {
	theirs, err := decodeHello(body)
	if err == nil && theirs.network != h.cfg.Network {
		err = fmt.Errorf("this is network %s, not %s", h.cfg.Network.Short(), theirs.network.Short())
	}
	switch {
	case err == nil:
		err = h.guard("admit", func() error { return h.cfg.Admit(pod, theirs.body) })
	case h.cfg.Refused != nil:
		h.cfg.Refused(pod, err)
	}
	if err != nil {
		h.log.Info("pod refused", "pod", pod.String(), "err", err)
		return hello{}, refusal{err}
	}
	return theirs, nil
}

// refusal is an ErrRefused whose text for the peer is the reason alone.
type refusal struct{ reason error }

func (r refusal) Error() string        { return "p2p: peer not let in: " + r.reason.Error() }
func (r refusal) Is(target error) bool { return target == ErrRefused }
func (r refusal) Unwrap() error        { return r.reason }

// refuse tells a peer why it is refused and waits a moment for it to hear that.
func (h *Host) refuse(ctx context.Context, c *conn, s network.Stream, before []byte, err error) {
	c.decide(nil, err) // before the peer closes the connection, which is another reason
	reason := err
	if r := (refusal{}); errors.As(err, &r) {
		reason = r.reason
	}
	if _, err := s.Write(appendFrame(before, frameHeader{typ: frameRefuse}, []byte(cutText(reason.Error(), ReasonMax)))); err != nil {
		return
	}
	_ = s.CloseWrite() // best effort: the connection is closed next
	h.linger(ctx, s)
}

// linger waits until the other side has closed the stream too, for refusalLinger at most.
func (h *Host) linger(ctx context.Context, s network.Stream) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h.start(func() {
		_ = clock.Sleep(ctx, h.clock, refusalLinger) // either way the wait is over
		_ = s.Reset()
	}, func() { _ = s.Reset() })
	var b [64]byte
	for {
		if _, err := s.Read(b[:]); err != nil {
			return
		}
	}
}

// serveX serves a stream of protoX: the hello, or blocks once there is a link.
func (h *Host) serveX(s network.Stream) {
	c := h.conn(s.Conn())
	s = counted{s, c}
	ctx, cancel := context.WithTimeout(h.ctx, helloTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	r := bufio.NewReaderSize(s, readBuffer)
	ro, err := readPreamble(r)
	switch {
	case err != nil:
	case ro == roleMessages:
		if c.net.Stat().Direction != network.DirInbound || !c.said.CompareAndSwap(false, true) {
			err = fmt.Errorf("p2p: a second hello: %w", ErrProtocol)
			break
		}
		var l *link
		if l, err = h.hearHello(ctx, c, s, r); err == nil && !stop() {
			l.end(context.DeadlineExceeded)
		}
		if err == nil {
			l.run()
			return
		}
	case ro == roleGet || ro == rolePut:
		// The hello may still be under way on its own stream.
		var l *link
		if l, err = c.wait(ctx); err == nil && stop() {
			l.serveBlocks(s, r, ro)
			return
		}
	default:
		err = fmt.Errorf("p2p: role %d: %w", ro, ErrProtocol)
	}
	_ = s.Reset()
	h.log.Debug("stream ended", "pod", c.pod.String(), "err", err)
	if ro == roleMessages || errors.Is(err, ErrProtocol) {
		h.dropFor(c, err)
	}
}

// dropFor closes a connection, and its link if there is one, for an error.
func (h *Host) dropFor(c *conn, err error) {
	c.decide(nil, err)
	if c.link != nil {
		c.link.end(err)
		return
	}
	h.drop(c, err)
}

// guard calls a method of the Handler or Config and turns a panic into an error, since a fault in one answer must
// not end the pod.
func (h *Host) guard(what string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			h.log.Error("handler panicked", "what", what, "panic", fmt.Sprint(r))
			err = fmt.Errorf("p2p: %s: internal fault", what)
		}
	}()
	return f()
}
