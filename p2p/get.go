package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/network"
	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/chunkmem"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Get asks a pod for blocks, and calls f once for each of ids, in their order, as they come, never at the
// same time. wire is the block's header and form. Where the form is raw it is f's to keep, with the memory behind it; else it is valid until f returns, then its memory is
// used again. Its length is checked, nothing else: f verifies it. err is block.ErrNotFound for a block that the
// pod doesn't have, and what its Handler returned otherwise (see Ask).
//
// If f fails, Get stops and returns that error. If ctx ends, it returns the context's, and f is not called
// any more. If the connection is lost, f is called for each block still missing, and Get returns the
// error too: an ErrUnreachable.
func (h *Host) Get(ctx context.Context, pod ident.Pod, ids []block.ID, f func(id block.ID, wire []byte, err error) error) error {
	objects := make([]object, len(ids))
	for i, id := range ids {
		objects[i] = wholeBlock(id)
	}
	return h.getObjects(ctx, pod, frameGet, objects, func(o object, wire []byte, err error) error { return f(o.ID, wire, err) })
}

// GetFragments is Get for fragments, which come as block.StripeRecord.AppendWire writes them: f verifies them (block.CheckFragment). A pod of a version that has no
// fragments ends the connection; such a one answers no question of KindFragments.
func (h *Host) GetFragments(ctx context.Context, pod ident.Pod, names []block.Fragment, f func(name block.Fragment, wire []byte, err error) error) error {
	objects := make([]object, len(names))
	for i, name := range names {
		objects[i] = object(name)
	}
	return h.getObjects(ctx, pod, frameGetFragments, objects, func(o object, wire []byte, err error) error { return f(o.fragment(), wire, err) })
}

func (h *Host) getObjects(ctx context.Context, pod ident.Pod, t frameType, objects []object, f func(o object, wire []byte, err error) error) error {
	if len(objects) == 0 {
		return nil
	}
	done := 0
	l, err := h.link(pod)
	if err == nil {
		err = l.gets.use(ctx, func(b *blockStream) error { return b.get(t, l.tellsClass(ctx), objects, &done, f) })
	}
	var own callerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own.error
	case ctx.Err() != nil:
		return ctx.Err()
	}
	for _, o := range objects[done:] {
		if own := f(o, nil, err); own != nil {
			return own
		}
	}
	return err
}

// get gets objects, keeping one request ahead of the one that is being answered. done counts the calls of f.
func (b *blockStream) get(t frameType, c Class, objects []object, done *int, f func(o object, wire []byte, err error) error) error {
	first := b.req + 1
	asked := 0
	ask := func() error {
		to := min(len(objects), asked+batchMax)
		_, err := b.request(t, c, objects[asked:to])
		asked = to
		return err
	}
	for *done < len(objects) {
		for asked < len(objects) && asked-*done <= batchMax {
			if err := ask(); err != nil {
				return err
			}
		}
		if err := b.getOne(first+uint64(*done/batchMax), objects[*done], done, f); err != nil {
			return err
		}
	}
	return nil
}

func (b *blockStream) getOne(req uint64, o object, done *int, f func(o object, wire []byte, err error) error) error {
	head, err := b.header(req)
	if err != nil {
		return err
	}
	call := func(wire []byte, err error) error {
		*done++
		if own := f(o, wire, err); own != nil {
			return callerError{own}
		}
		return nil
	}
	switch head.typ {
	case frameData:
		if !o.wireOK(int(head.length)) {
			return fmt.Errorf("p2p: %s comes with %d bytes: %w", o, head.length, ErrProtocol)
		}
		var wire []byte
		if b.isRaw(o, int(head.length)) {
			wire = chunkmem.Take(int(head.length))
		} else {
			buf := takeWire(int(head.length))
			defer wires.Put(buf)
			wire = *buf
		}
		if _, err := io.ReadFull(b.r, wire); err != nil {
			return fmt.Errorf("p2p: read block: %w", err)
		}
		return call(wire, nil)
	case frameMiss:
		return call(nil, fmt.Errorf("p2p: get %s from %s: %w", o, b.l.pod(), block.ErrNotFound))
	case frameFail:
		body, err := readBody(b.r, head)
		if err != nil {
			return err
		}
		return call(nil, fmt.Errorf("p2p: get %s from %s: %w", o, b.l.pod(), decodeFailure(body)))
	}
	return fmt.Errorf("p2p: frame of type %d instead of a block: %w", head.typ, ErrProtocol)
}

// isRaw says whether what comes next is a block as it is, so that whoever gets it need not copy it.
func (b *blockStream) isRaw(o object, length int) bool {
	if o.isFragment() || length < block.HeaderLen {
		return false
	}
	head, err := b.r.Peek(block.HeaderLen)
	if err != nil {
		return false // the read of all of it will say so
	}
	h, err := block.ParseHeader(head)
	return err == nil && h.Form == block.FormRaw
}

// getRequest is a batch of blocks or fragments that the peer asks for.
type getRequest struct {
	req     uint64
	class   Class
	objects []object
}

// reply is one block, or why it doesn't come.
type reply struct {
	req   uint64
	class Class
	wire  []byte
	done  func() // gives wire back; nil: nobody wants it
	err   error
	held  int64 // of link.blockBytes
}

// hold takes what a reply may need of the memory for blocks.
func (l *link) hold(ctx context.Context, p reply) error {
	if p.class.behind() {
		if err := l.behindBytes.Acquire(ctx, p.held); err != nil {
			return err
		}
	}
	err := l.blockBytes.Acquire(ctx, p.held)
	if err != nil && p.class.behind() {
		l.behindBytes.Release(p.held)
	}
	return err
}

// free gives back what hold took, and the bytes.
func (l *link) free(p reply) {
	if p.done != nil {
		p.done()
	}
	l.blockBytes.Release(p.held)
	if p.class.behind() {
		l.behindBytes.Release(p.held)
	}
}

// serveGets serves blocks: one goroutine reads requests, so that a reset stream is noticed at once, one
// reads blocks, a step ahead of one that sends them. The first that fails ends the others by a reset, which comes after its error is known: what a peer did
// wrong must not be hidden by a write to a stream that was reset for it.
func (l *link) serveGets(s network.Stream, r *bufio.Reader) error {
	g, ctx := errgroup.WithContext(l.ctx)
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	requests := make(chan getRequest, 1)
	replies := make(chan reply, 1)
	g.Go(func() error { return l.readGets(ctx, r, requests) })
	g.Go(func() error { return l.fetchBlocks(ctx, requests, replies) })
	g.Go(func() error { return l.sendBlocks(ctx, s, replies) })
	err := g.Wait()
	for {
		select {
		case p := <-replies:
			l.free(p)
			continue
		default:
		}
		return err
	}
}

// readGets reads requests until the stream ends.
func (l *link) readGets(ctx context.Context, r *bufio.Reader, to chan<- getRequest) error {
	for last := uint64(0); ; {
		f, body, err := readFrame(r, roleGet)
		if err != nil {
			return err
		}
		l.hear()
		if f.typ != frameGet && f.typ != frameGetFragments || f.id <= last {
			return fmt.Errorf("p2p: frame of type %d, id %d instead of a request: %w", f.typ, f.id, ErrProtocol)
		}
		last = f.id
		objects, err := parseObjects(f.typ, body)
		if err != nil {
			return err
		}
		select {
		case to <- getRequest{f.id, f.class(), objects}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fetchBlocks asks the Handler for the blocks of each request, in order.
func (l *link) fetchBlocks(ctx context.Context, from <-chan getRequest, to chan<- reply) error {
	for {
		var q getRequest
		select {
		case q = <-from:
		case <-ctx.Done():
			return ctx.Err()
		}
		serving := WithClass(ctx, q.class)
		for _, o := range q.objects {
			p := reply{req: q.req, class: q.class, held: int64(o.wireMax())}
			if err := l.hold(ctx, p); err != nil {
				return err
			}
			p.err = l.h.guard("block", func() (err error) {
				if o.isFragment() {
					p.wire, p.done, err = l.h.cfg.Handler.Fragment(serving, l.pod(), o.fragment())
				} else {
					p.wire, p.done, err = l.h.cfg.Handler.Block(serving, l.pod(), o.ID)
				}
				return err
			})
			if p.err == nil && !o.wireOK(len(p.wire)) {
				p.err = fmt.Errorf("block of %d bytes: %w", len(p.wire), block.ErrCorrupt)
			}
			select {
			case to <- p:
			case <-ctx.Done():
				l.free(p)
				return ctx.Err()
			}
		}
	}
}

// sendBlocks sends the replies; it flushes when none waits.
func (l *link) sendBlocks(ctx context.Context, s network.Stream, from <-chan reply) error {
	w := bufio.NewWriterSize(s, writeBuffer)
	if _, err := w.Write(appendPreamble(nil, roleGet)); err != nil {
		return fmt.Errorf("p2p: write preamble: %w", err)
	}
	for {
		var p reply
		select {
		case p = <-from:
		default:
			if err := w.Flush(); err != nil {
				return fmt.Errorf("p2p: write frame: %w", err)
			}
			select {
			case p = <-from:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		err := writeReply(w, p)
		l.free(p)
		if err != nil {
			return err
		}
	}
}

func writeReply(w io.Writer, p reply) error {
	switch {
	case p.err == nil:
		return writeFrame(w, frameHeader{typ: frameData, id: p.req}, p.wire)
	case failCodeOf(p.err) == failNotFound:
		return writeFrame(w, frameHeader{typ: frameMiss, id: p.req}, nil)
	}
	return writeFrame(w, frameHeader{typ: frameFail, id: p.req}, encodeFailure(p.err))
}
