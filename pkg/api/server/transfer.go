package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// getWorkers is how many files of an export are written at once: more than there are cores, since they wait for other pods.
const getWorkers = 8

// upgrade turns a request into a transfer, which f runs on a connection of its own. The transfer ends with the
// connection, and with the daemon.
func (s *Server) upgrade(f func(ctx context.Context, p Pod, c *api.Conn) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := s.pod(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if r.Header.Get("Upgrade") != api.Upgrade {
			s.fail(w, r, fmt.Errorf("api: no upgrade to %s was asked for: %w", api.Upgrade, api.ErrProtocol))
			return
		}
		h, ok := w.(http.Hijacker)
		if !ok {
			s.fail(w, r, fmt.Errorf("api: this connection can't change its protocol: %w", api.ErrProtocol))
			return
		}
		s.transfers.Add(1)
		defer s.transfers.Done()
		conn, buf, err := h.Hijack()
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.transfer(r.Context(), conn, buf.Reader.Buffered(), func(n int) []byte {
			b, _ := buf.Peek(n) // They are buffered.
			return b
		}, func(ctx context.Context, c *api.Conn) error { return f(ctx, p, c) })
	}
}

func (s *Server) transfer(ctx context.Context, conn net.Conn, buffered int, peek func(int) []byte, f func(context.Context, *api.Conn) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_ = conn.SetDeadline(time.Time{}) // net/http may have set one; a unix socket always takes it.
	c := api.NewConn(conn, peek(buffered))
	defer c.Release()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // Ends what waits for the connection.
	defer stop()
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + api.Upgrade + "\r\n\r\n"
	_, err := io.WriteString(conn, head)
	if err == nil {
		err = f(ctx, c)
	}
	if err != nil && !errors.Is(err, errGone) {
		s.log.DebugContext(ctx, "transfer failed", "error", err)
		_ = c.Send(api.FrameFail, api.NewError(err), nil) // The client may have gone.
	}
	_ = c.Close()
}

// errGone says that the client has closed the connection.
var errGone = errors.New("the client has gone")

// receiveFrame is the next frame's kind and payload. A client that failed or went is errGone.
func receiveFrame(c *api.Conn) (api.FrameKind, []byte, error) {
	kind, b, err := c.Receive()
	switch {
	case errors.Is(err, api.ErrProtocol):
		return 0, nil, err
	case err != nil:
		// Its io.EOF must not be taken for the end of a file that was on its way.
		return 0, nil, fmt.Errorf("%w: %s", errGone, err.Error())
	case kind == api.FrameFail:
		return 0, nil, errGone
	}
	return kind, b, nil
}

// watchClient cancels when the client closes the connection, on which it sends nothing any more. The function that it
// returns closes the connection and waits.
func watchClient(c *api.Conn, cancel context.CancelFunc) (stop func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _, _ = c.Receive() // Whatever it is, it is the end.
		cancel()
	})
	return func() {
		_ = c.Close()
		wg.Wait()
	}
}

// batch is a batch under way: its Done is sent when nothing of it is left.
type batch struct {
	c     *api.Conn
	first int

	mu   sync.Mutex
	left int // jobs, and one for who hands them out
	kept int // files of an add that need not be read
	errs []api.ItemError
}

func newBatch(c *api.Conn, first int) *batch { return &batch{c: c, first: first, left: 1} }

func (b *batch) add() {
	b.mu.Lock()
	b.left++
	b.mu.Unlock()
}

// keep counts a file that was not put.
func (b *batch) keep() {
	b.mu.Lock()
	b.kept++
	b.mu.Unlock()
}

func (b *batch) fail(item int, path string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs = append(b.errs, itemError(item, path, err))
}

// done ends a job and tells whether it was the last; then the client was told, or err says why it could not be.
func (b *batch) done() (last bool, err error) {
	b.mu.Lock()
	b.left--
	last = b.left == 0
	b.mu.Unlock()
	if !last {
		return false, nil
	}
	if b.errs == nil {
		b.errs = []api.ItemError{}
	}
	return true, b.c.Send(api.FrameDone, api.Done{First: b.first, Errors: b.errs, Kept: b.kept}, nil)
}

func itemError(item int, path string, err error) api.ItemError {
	e := api.NewError(err)
	e.Message = api.Text(strings.TrimPrefix(string(e.Message), path+": "))
	return api.ItemError{Item: item, Path: api.Text(path), Err: e}
}

// receiveRequest reads the request of a transfer.
func receiveRequest[T any](c *api.Conn) (T, error) {
	var none T
	kind, b, err := receiveFrame(c)
	if err != nil {
		return none, err
	}
	if kind != api.FrameRequest {
		return none, fmt.Errorf("api: frame of kind %d before the request: %w", kind, api.ErrProtocol)
	}
	return api.Decode[T](b)
}
