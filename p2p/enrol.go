package p2p

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	enrolmentsMax   = 32               // answered at once
	enrolPerMinute  = 600              // a minute, by all strangers: identities cost nothing
	enrolTimeout    = 30 * time.Second // for one
	enrolWindow     = time.Minute
	enrolReadMax    = 5 * time.Second // for the request to come
	enrolRemembered = 4096            // strangers whose requests are counted
)

// enrolLimits counts the requests of strangers.
type enrolLimits struct {
	mu      sync.Mutex // guards the fields below
	running int
	from    time.Time // start of the window
	all     int       // in the window
	by      map[ident.Pod]int
}

// begin says whether a stranger's request is served; if so, end is called after it.
func (e *enrolLimits) begin(pod ident.Pod, now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Sub(e.from) >= enrolWindow || e.by == nil {
		e.from, e.all, e.by = now, 0, make(map[ident.Pod]int)
	}
	switch {
	case e.running >= enrolmentsMax:
		return fmt.Errorf("%d requests are being answered: %w", e.running, ErrBusy)
	case e.by[pod] >= EnrolPerMinute:
		return fmt.Errorf("more than %d requests a minute: %w", EnrolPerMinute, ErrBusy)
	case e.all >= enrolPerMinute || len(e.by) >= enrolRemembered:
		return fmt.Errorf("more than %d requests of strangers a minute: %w", enrolPerMinute, ErrBusy)
	}
	e.running++
	e.all++
	e.by[pod]++
	return nil
}

func (e *enrolLimits) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running--
}

// serveEnrol answers one request of a stranger.
func (h *Host) serveEnrol(s network.Stream) {
	c := h.conn(s.Conn())
	c.enrolments.Add(1)
	defer c.enrolments.Add(-1)
	ctx, cancel := context.WithTimeout(h.ctx, enrolTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	answer, head, err := h.enrolment(ctx, c.pod, s)
	if errors.Is(err, errNoRequest) {
		_ = s.Reset()
		return
	}
	if err != nil {
		h.log.Info("enrolment refused", "pod", c.pod.String(), "err", err)
		head, answer = frameFail, encodeFailure(err)
	}
	if _, err := s.Write(appendFrame(appendPreamble(nil, roleEnrol), frameHeader{typ: head}, answer)); err != nil {
		_ = s.Reset()
		return
	}
	_ = s.CloseWrite() // best effort: the stranger has its answer, or asks again
	h.linger(ctx, s)
	_ = s.Close()
}

var errNoRequest = errors.New("p2p: no request")

func (h *Host) enrolment(ctx context.Context, pod ident.Pod, s network.Stream) ([]byte, frameType, error) {
	readCtx, cancel := context.WithTimeout(ctx, enrolReadMax)
	defer cancel()
	stop := context.AfterFunc(readCtx, func() { _ = s.Reset() })
	defer stop()
	r := bufio.NewReaderSize(s, EnrolMax)
	if err := expectPreamble(r, roleEnrol); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errNoRequest, err)
	}
	f, request, err := readFrame(r, roleEnrol)
	if err != nil || f.typ != frameEnrol || !stop() {
		return nil, 0, fmt.Errorf("%w: %w", errNoRequest, err)
	}
	if h.cfg.Enrol == nil {
		return nil, 0, fmt.Errorf("strangers are not let in here: %w", ErrRefused)
	}
	if err := h.enrolments.begin(pod, h.clock.Now()); err != nil {
		return nil, 0, err
	}
	defer h.enrolments.end()
	var answer []byte
	err = h.guard("enrol", func() (err error) {
		answer, err = h.cfg.Enrol(ctx, pod, request)
		return err
	})
	if err != nil && failCodeOf(err) == failOther {
		err = fmt.Errorf("%w: %w", err, ErrRefused)
	}
	if err == nil && len(answer) > EnrolReplyMax {
		err = fmt.Errorf("reply of %d bytes: %w", len(answer), ErrTooLarge)
	}
	return answer, frameReply, err
}

// Enrol sends a request, as a stranger with this key, to the pod issuer at one of addrs (see Know), and returns
// its reply. That it is issuer who answers is proved by the TLS handshake. An empty key stands for a fresh one that is
// thrown away. Errors: ErrUnreachable, ErrRefused with the issuer's reason, ErrBusy (too many requests),
// ErrTooLarge, the context's.
func Enrol(ctx context.Context, key ed25519.PrivateKey, issuer ident.Pod, addrs []string, request []byte) ([]byte, error) {
	if len(request) > EnrolMax {
		return nil, fmt.Errorf("p2p: request of %d bytes: %w", len(request), ErrTooLarge)
	}
	if len(key) == 0 {
		var err error
		if _, key, err = ed25519.GenerateKey(nil); err != nil {
			return nil, fmt.Errorf("p2p: key: %w", err)
		}
	}
	id, err := peerID(issuer)
	if err != nil {
		return nil, err
	}
	n, _, err := newLibp2p(key, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = n.Close() }() // nothing of it is kept
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	n.Peerstore().AddAddrs(id, parseAddrs(addrs), peerstore.TempAddrTTL)
	nc, err := n.Network().DialPeer(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("p2p: enrol at %s: %w: %w", issuer, ErrUnreachable, err)
	}
	s, err := openStream(ctx, nc, protoEnrol)
	if err != nil {
		return nil, fmt.Errorf("p2p: enrol at %s: %w: %w", issuer, ErrUnreachable, err)
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	reply, err := askEnrol(s, request)
	if err != nil {
		return nil, fmt.Errorf("p2p: enrol at %s: %w", issuer, err)
	}
	return reply, nil
}

func askEnrol(s network.Stream, request []byte) ([]byte, error) {
	lost := func(err error) error { return fmt.Errorf("%w: %w", ErrUnreachable, err) }
	if _, err := s.Write(appendFrame(appendPreamble(nil, roleEnrol), frameHeader{typ: frameEnrol}, request)); err != nil {
		return nil, lost(err)
	}
	if err := expectPreamble(s, roleEnrol); err != nil {
		return nil, lost(err)
	}
	f, body, err := readFrame(s, roleEnrol)
	switch {
	case err != nil:
		return nil, lost(err)
	case f.typ == frameFail:
		return nil, decodeFailure(body)
	case f.typ != frameReply:
		return nil, fmt.Errorf("frame of type %d instead of a reply: %w", f.typ, ErrProtocol)
	}
	_ = s.Close() // the reply is here
	return body, nil
}
