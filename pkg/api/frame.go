package api

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// Upgrade is the protocol that a connection changes to for the transfer of files, by HTTP's Upgrade header.
//
// A frame is
//
//	byte 0      kind
//	bytes 1-4   length of the payload, big-endian, at most FrameMax
//	then        the payload: of the type that the kind names, a Batch in CBOR, others in JSON; or bytes of a file
//
// The descriptors of a frame (SCM_RIGHTS) travel with its first byte; a receiver has them all when it has the frame,
// since the kernel doesn't deliver data past descriptors.
//
// The client sends a Request. Add: it then sends Batch frames (of Items, parents first), each followed by the Data and DataEnd frames of its items that
// stream, and at last a Finish; the daemon answers each batch with a Done, and at last sends a Result. Get: the daemon sends
// Batch frames; the client answers each with an Opened, with descriptors to write to; when all are written the daemon sends
// a Done for the batch (before it, Data and DataEnd for files that stream), at the end a Result. At most Window batches are
// under way. Either side may send Fail at any time; it ends the transfer.
const Upgrade = "wormhole-transfer/3"

// Limits of a transfer.
const (
	FrameMax  = 16 << 20  // bytes of a payload: a Result tells of as many arguments as a command line can hold
	DataMax   = 256 << 10 // bytes of a Data frame
	BatchFDs  = 64        // descriptors of a batch
	BatchMax  = 512       // items of a batch
	BatchSize = 512 << 10 // bytes of names, targets, attributes and contents after which a batch is sent
	InlineMax = 64 << 10  // bytes of a file whose contents travel in its item; passing a descriptor, and reading from it, costs as much as to send so many
	Window    = 16        // batches under way
)

// FrameKind says what a frame is.
type FrameKind byte

// The kinds of frames.
const (
	FrameBatch FrameKind = 1 + iota
	FrameOpened
	FrameDone
	FrameData
	FrameDataEnd // the payload is empty, or an Error: the data couldn't be read
	FrameFinish
	FrameResult
	FrameFail    // an Error
	FrameRequest // an AddRequest or GetRequest, the first of all
)

// Opened answers a batch of get: what to write, in the order of its descriptors.
type Opened struct {
	First int   `json:"first"` // of the batch
	Write []int `json:"write"` // numbers of the items whose descriptors travel with this frame, or, when Stream is set, are to be streamed
	// Stream asks for Data frames in place of writing to descriptors.
	Stream bool `json:"stream"`
}

// ItemError says what went wrong with one item.
type ItemError struct {
	Item int    `json:"item"`
	Path Text   `json:"path"`
	Err  *Error `json:"error"`
}

// Done says that a batch is done.
type Done struct {
	First  int         `json:"first"`
	Errors []ItemError `json:"errors"`
	Kept   int         `json:"kept,omitempty"` // add: files that had not changed since an earlier add
}

// AddRequest begins an add. The name of a
// top-level item is what it is called in a folder that receives it; "" means that its contents are merged into the
// target.
type AddRequest struct {
	To     Text   `json:"to"`
	Count  int    `json:"count"` // of top-level arguments
	Policy string `json:"policy,omitempty"`
	Force  bool   `json:"force,omitempty"`
}

// GetRequest begins a get, and asks for the bytes of one file (cat).
type GetRequest struct {
	Path Text `json:"path"`         // "/PATH" or a CID
	At   Text `json:"at,omitempty"` // a time or a snapshot: what the path was then; "": what it is
}

// Result ends a transfer.
type Result struct {
	Added  []Added     `json:"added"` // top-level arguments that came, in order; one that failed as a whole has no CID
	Items  int         `json:"items"`
	Errors []ItemError `json:"errors"` // that came up after the batches: times of folders, hard links, policies
}

// Conn is one end of a transfer. One goroutine may receive while others send.
type Conn struct {
	c  net.Conn
	in fdReader

	mu  sync.Mutex // guards sending
	buf []byte
}

// NewConn is a transfer over c, a *net.UnixConn where descriptors are to travel. buffered is what was read from c
// already.
func NewConn(c net.Conn, buffered []byte) *Conn {
	return &Conn{c: c, in: newFDReader(c, buffered)}
}

// Close ends the transfer; descriptors that nobody took are closed.
func (c *Conn) Close() error {
	err := c.c.Close()
	return err
}

// Release closes the descriptors that were received and not taken. Call it when nobody receives any more.
func (c *Conn) Release() {
	for _, f := range c.in.takeFDs(c.in.fds()) {
		_ = f.Close() // Nobody wants it.
	}
}

// Send sends a frame with v, and files, which stay the caller's.
func (c *Conn) Send(kind FrameKind, v any, files []*os.File) error {
	if batch, ok := v.(Batch); ok {
		return c.send(kind, batch.encode(), files)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return c.send(kind, b, files)
}

// SendBytes sends a frame with bytes, which are not kept.
func (c *Conn) SendBytes(kind FrameKind, b []byte) error { return c.send(kind, b, nil) }

func (c *Conn) send(kind FrameKind, b []byte, files []*os.File) error {
	if len(b) > FrameMax {
		return fmt.Errorf("api: a frame of %d bytes, more than %d: %w", len(b), FrameMax, ErrProtocol)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = append(c.buf[:0], byte(kind))
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(len(b)))
	c.buf = append(c.buf, b...)
	if err := writeFDs(c.c, c.buf, files); err != nil {
		return fmt.Errorf("api: send: %w", err)
	}
	return nil
}

// Receive returns the next frame, whose payload is valid until the next call. io.EOF says that the other side closed
// between frames.
func (c *Conn) Receive() (FrameKind, []byte, error) {
	head, err := c.in.next(5)
	if err != nil {
		return 0, nil, err
	}
	kind, n := FrameKind(head[0]), binary.BigEndian.Uint32(head[1:])
	if n > FrameMax {
		return 0, nil, fmt.Errorf("api: a frame of %d bytes, more than %d: %w", n, FrameMax, ErrProtocol)
	}
	b, err := c.in.next(int(n))
	if err == io.EOF { //nolint:errorlint // next returns it bare
		err = io.ErrUnexpectedEOF
	}
	return kind, b, err
}

// TakeFiles returns the n oldest descriptors that were received and not yet taken; they are the caller's to close.
func (c *Conn) TakeFiles(n int) ([]*os.File, error) {
	if have := c.in.fds(); have < n {
		return nil, fmt.Errorf("api: %d descriptors instead of %d: %w", have, n, ErrProtocol)
	}
	return c.in.takeFDs(n), nil
}

// Decode reads the payload of a frame, but of a FrameBatch, which DecodeBatch reads.
func Decode[T any](b []byte) (T, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("api: %w: %w", ErrProtocol, err)
	}
	return v, nil
}

// fdReader reads bytes and the descriptors among them.
type fdReader struct {
	c     net.Conn
	buf   []byte // read and not yet returned: buf[at:]
	at    int
	files []*os.File
	oob   []byte
}

func newFDReader(c net.Conn, buffered []byte) fdReader {
	return fdReader{c: c, buf: append(make([]byte, 0, 64<<10), buffered...), oob: make([]byte, oobSize)}
}

func (r *fdReader) fds() int { return len(r.files) }

func (r *fdReader) takeFDs(n int) []*os.File {
	out := r.files[:n:n]
	r.files = r.files[n:]
	return out
}

// next returns the next n bytes, valid until the next call; io.EOF if there is none of them.
func (r *fdReader) next(n int) ([]byte, error) {
	if len(r.buf)-r.at < n {
		rest := copy(r.buf, r.buf[r.at:])
		r.buf, r.at = r.buf[:rest], 0
		if cap(r.buf) < n {
			r.buf = append(make([]byte, 0, n), r.buf...)
		}
	}
	for len(r.buf)-r.at < n {
		m, err := r.read(r.buf[len(r.buf):cap(r.buf)])
		r.buf = r.buf[:len(r.buf)+m]
		switch {
		case err != nil && err != io.EOF: //nolint:errorlint // as read returns it
			return nil, err
		case m == 0 && len(r.buf) == r.at:
			return nil, io.EOF
		case m == 0:
			return nil, io.ErrUnexpectedEOF
		}
	}
	out := r.buf[r.at : r.at+n]
	r.at += n
	return out, nil
}
