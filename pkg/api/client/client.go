// Package client speaks with the daemon over the local API.
//
// A Client is cheap, holds no connection between calls that it needs to close, and is safe for concurrent use. No
// call waits for a daemon that isn't there: dialling has a time limit, and everything ends with its context. Errors carry the
// daemon's code (api.Error), so errors.Is finds the sentinel that the daemon had; with no daemon it is
// api.ErrNoDaemon.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// dialTimeout is how long a daemon may take to accept a connection.
const dialTimeout = 5 * time.Second

// pingTimeout is how long a daemon may take to say that it is there; one that is stopped or stuck must not make
// everybody wait for ever.
const pingTimeout = 10 * time.Second

// Client speaks with one machine's daemon about one pod.
type Client struct {
	home   api.Home
	pod    string
	http   *http.Client
	pinged atomic.Bool
}

// New is a client of the daemon of a WH_HOME, for its pod of this name; "" is the only one.
func New(home api.Home, pod string) *Client {
	c := &Client{home: home, pod: pod}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		DisableKeepAlives: true,
	}}
	return c
}

// dial connects to the socket.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	path, err := c.home.Socket()
	if err != nil {
		return nil, noDaemon(err)
	}
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return nil, noDaemon(fmt.Errorf("%s: %w", c.home, api.ErrNoDaemon))
	case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("%s: it doesn't answer: %w", c.home, api.ErrNoDaemon)
	}
	return conn, err
}

func noDaemon(err error) error {
	if errors.Is(err, api.ErrNoDaemon) {
		return api.WithHint(err, "start it with: wh up --detach")
	}
	return err
}

func (c *Client) url(name string) string {
	u := "http://wormhole" + api.Prefix + name
	if c.pod != "" {
		u += "?" + api.PodParam + "=" + url.QueryEscape(c.pod)
	}
	return u
}

// ping makes sure, once, that a daemon answers, and that it speaks our version.
func (c *Client) ping(ctx context.Context) error {
	if c.pinged.Load() {
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	resp, err := c.post(limit, "health", struct{}{})
	if limit.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: its daemon doesn't answer: %w", c.home, api.ErrNoDaemon)
	}
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // Only read.
	var h api.Health
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		return cut(ctx, err)
	}
	if h.API != api.Version {
		return api.WithHint(fmt.Errorf("the daemon has version %d of the API, this program %d: %w", h.API, api.Version, api.ErrProtocol),
			"restart the daemon: wh down, wh up")
	}
	c.pinged.Store(true)
	return nil
}

// do sends a request, after a ping, and returns a good answer.
func (c *Client) do(ctx context.Context, name string, q any) (*http.Response, error) {
	if err := c.ping(ctx); err != nil {
		return nil, err
	}
	return c.post(ctx, name, q)
}

// post sends a request and returns a good answer.
func (c *Client) post(ctx context.Context, name string, q any) (*http.Response, error) {
	b, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url(name), bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, cut(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }() // Only read.
		return nil, decodeError(resp)
	}
	return resp, nil
}

// cut is the error of a connection that failed or ended too early, without net/http's words around it.
func cut(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("the daemon has stopped meanwhile: %w", api.ErrStopping)
	}
	return err
}

// decodeError is the error that an answer carries.
func decodeError(resp *http.Response) error {
	var e api.Error
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || e.Code == "" {
		return fmt.Errorf("api: answer %s: %w", resp.Status, api.ErrProtocol)
	}
	return &e
}

// Call asks for one document.
func Call[A any](ctx context.Context, c *Client, name string, q any) (A, error) {
	var a A
	resp, err := c.do(ctx, name, q)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }() // Only read.
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return a, cut(ctx, err)
	}
	return a, nil
}

// List asks for a list and calls f for each item as it comes.
func List[T any](ctx context.Context, c *Client, name string, q any, f func(T) error) error {
	resp, err := c.do(ctx, name, q)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // Only read.
	dec := json.NewDecoder(bufio.NewReaderSize(resp.Body, 64<<10))
	for {
		var l api.Line[T]
		if err := dec.Decode(&l); err != nil {
			return cut(ctx, err)
		}
		switch {
		case l.Err != nil:
			return l.Err
		case l.End:
			return nil
		case l.Item != nil:
			if err := f(*l.Item); err != nil {
				return err
			}
		}
	}
}

// catBuffer is how many bytes of a file Cat reads and writes at once.
const catBuffer = 256 << 10

// Cat writes the bytes of a file, named by path or CID, to w.
func (c *Client) Cat(ctx context.Context, source string, w io.Writer) error {
	return c.CatAt(ctx, source, "", w)
}

// CatAt is Cat of what a path was at a time or snapshot; "" is now.
func (c *Client) CatAt(ctx context.Context, source, at string, w io.Writer) error {
	resp, err := c.do(ctx, "cat", api.GetRequest{Path: api.Text(source), At: api.Text(at)})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // Only read.
	// The writer alone: a file's ReadFrom would copy by 32 KiB.
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, resp.Body, make([]byte, catBuffer)); err != nil {
		return cut(ctx, err)
	}
	end := resp.Trailer.Get(api.ErrorTrailer)
	if end == "ok" {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(end)
	if err == nil && len(b) > 0 {
		e, derr := api.Decode[api.Error](b)
		if derr == nil {
			return &e
		}
	}
	return fmt.Errorf("api: the file was cut off: %w", api.ErrProtocol)
}

// transfer opens a connection for a transfer and sends its request. It ends with ctx; call stop when done.
func (c *Client) transfer(ctx context.Context, name string, q any) (conn *api.Conn, stop func(), err error) {
	if err := c.ping(ctx); err != nil {
		return nil, nil, err
	}
	raw, err := c.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	end := context.AfterFunc(ctx, func() { _ = raw.Close() }) // Ends what waits for it.
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url(name), http.NoBody)
	if err != nil {
		_ = raw.Close()
		return nil, nil, fmt.Errorf("api: %w", err)
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", api.Upgrade)
	in := bufio.NewReader(raw)
	resp, err := exchange(r, raw, in)
	if err != nil {
		end()
		_ = raw.Close()
		return nil, nil, cut(ctx, err)
	}
	rest, _ := in.Peek(in.Buffered()) // They are buffered.
	conn = api.NewConn(raw, rest)
	_ = resp.Body.Close() // Switching protocols has none.
	stop = func() { end(); _ = conn.Close() }
	if err := conn.Send(api.FrameRequest, q, nil); err != nil {
		stop()
		return nil, nil, cut(ctx, err)
	}
	return conn, stop, nil
}

// exchange sends the request and reads the answer, which must be that the protocol changes.
func exchange(r *http.Request, raw net.Conn, in *bufio.Reader) (*http.Response, error) {
	if err := r.Write(raw); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(in, r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer func() { _ = resp.Body.Close() }() // Only read.
		return nil, decodeError(resp)
	}
	return resp, nil
}

// receive is the next frame; a Fail is its error.
func receive(ctx context.Context, c *api.Conn) (api.FrameKind, []byte, error) {
	kind, b, err := c.Receive()
	if err != nil {
		return 0, nil, cut(ctx, err)
	}
	if kind != api.FrameFail {
		return kind, b, nil
	}
	e, err := api.Decode[api.Error](b)
	if err != nil {
		return 0, nil, err
	}
	return 0, nil, &e
}
