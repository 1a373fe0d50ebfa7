package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// errNotPut stands for each block of which nothing was heard.
var errNotPut = fmt.Errorf("p2p: not acknowledged: %w", ErrUnreachable)

// Put offers n blocks to a pod and sends those that it doesn't own: wire(i) is called for these alone, in
// order, and gives the header and form of block id(i), which must not change until the next call. It
// returns when the pod has made all durable, with an error for each: nil means durable there, whether it was
// sent or there before. Errors for one block: wire's own, or the peer's (ErrFull, block.ErrCorrupt, …, see Ask).
// The second error is that of the whole: ErrUnreachable, the context's. Blocks that were not acknowledged
// then have an error too.
func (h *Host) Put(ctx context.Context, pod ident.Pod, n int, id func(i int) block.ID, wire func(i int) ([]byte, error)) ([]error, error) {
	return h.putObjects(ctx, pod, frameOffer, n, func(i int) object { return wholeBlock(id(i)) }, wire)
}

// PutFragments is Put for fragments; wire(i) gives them as block.StripeRecord.AppendWire writes them. A pod of a version that has no fragments ends the
// connection; such a one answers no question of KindFragments.
func (h *Host) PutFragments(ctx context.Context, pod ident.Pod, n int, name func(i int) block.Fragment, wire func(i int) ([]byte, error)) ([]error, error) {
	return h.putObjects(ctx, pod, frameOfferFragments, n, func(i int) object { return object(name(i)) }, wire)
}

func (h *Host) putObjects(ctx context.Context, pod ident.Pod, t frameType, n int, name func(i int) object, wire func(i int) ([]byte, error)) ([]error, error) {
	errs := make([]error, n)
	if n == 0 {
		return errs, nil
	}
	for i := range errs {
		errs[i] = errNotPut
	}
	l, err := h.link(pod)
	if err != nil {
		return errs, err
	}
	err = l.puts.use(ctx, func(b *blockStream) error {
		return eachBatch(n, func(from, to int) error {
			return b.put(t, l.tellsClass(ctx), errs[from:to], func(i int) object { return name(from + i) }, func(i int) ([]byte, error) { return wire(from + i) })
		})
	})
	return errs, err
}

// put puts one batch.
func (b *blockStream) put(t frameType, c Class, errs []error, name func(i int) object, wire func(i int) ([]byte, error)) error {
	objects := make([]object, len(errs))
	for i := range objects {
		objects[i] = name(i)
	}
	req, err := b.request(t, c, objects)
	if err != nil {
		return err
	}
	want, err := b.wanted(req, len(objects))
	if err != nil {
		return err
	}
	own := make([]error, len(objects))
	for i, o := range objects {
		if !wants(want, i) {
			continue
		}
		form, err := wire(i)
		if err == nil && !o.wireOK(len(form)) {
			err = fmt.Errorf("p2p: put %s of %d bytes: %w", o, len(form), ErrTooLarge)
		}
		if own[i] = err; err != nil {
			err = writeFrame(b.w, frameHeader{typ: frameMiss, id: req}, nil)
		} else {
			err = writeFrame(b.w, frameHeader{typ: frameData, id: req}, form)
		}
		if err != nil {
			return err
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	acks, err := b.acks(req, len(objects))
	if err != nil {
		return err
	}
	for i := range errs {
		if errs[i] = own[i]; errs[i] == nil && acks[i] != nil {
			errs[i] = fmt.Errorf("p2p: put %s to %s: %w", objects[i], b.l.pod(), acks[i])
		}
	}
	return nil
}

func (b *blockStream) wanted(req uint64, n int) ([]byte, error) {
	f, err := b.header(req)
	if err != nil {
		return nil, err
	}
	if f.typ != frameWant || int(f.length) != (n+7)/8 {
		return nil, fmt.Errorf("p2p: frame of type %d, %d bytes instead of what is wanted: %w", f.typ, f.length, ErrProtocol)
	}
	return readBody(b.r, f)
}

func wants(bits []byte, i int) bool { return bits[i/8]&(1<<(i%8)) != 0 }

func (b *blockStream) acks(req uint64, n int) ([]error, error) {
	f, err := b.header(req)
	if err != nil {
		return nil, err
	}
	if f.typ != frameAck {
		return nil, fmt.Errorf("p2p: frame of type %d instead of acks: %w", f.typ, ErrProtocol)
	}
	body, err := readBody(b.r, f)
	if err != nil {
		return nil, err
	}
	errs := make([]error, n)
	return errs, parseAcks(body, errs)
}

// servePuts takes blocks that the other side puts, until the stream ends.
func (l *link) servePuts(s network.Stream, in *bufio.Reader) error {
	w := bufio.NewWriterSize(s, readBuffer)
	if _, err := w.Write(appendPreamble(nil, rolePut)); err != nil {
		return fmt.Errorf("p2p: write preamble: %w", err)
	}
	r := bufio.NewReaderSize(hearing{l, in}, readBuffer)
	for last := uint64(0); ; {
		f, body, err := readFrame(r, rolePut)
		if err != nil {
			return err
		}
		if f.typ != frameOffer && f.typ != frameOfferFragments || f.id <= last {
			return fmt.Errorf("p2p: frame of type %d, id %d instead of an offer: %w", f.typ, f.id, ErrProtocol)
		}
		last = f.id
		objects, err := parseObjects(f.typ, body)
		if err != nil {
			return err
		}
		if err := l.servePut(WithClass(l.ctx, f.class()), w, r, f.id, objects); err != nil {
			return err
		}
	}
}

// servePut answers one offer.
func (l *link) servePut(ctx context.Context, w *bufio.Writer, r io.Reader, req uint64, objects []object) error {
	handler := l.h.cfg.Handler
	want := make([]byte, (len(objects)+7)/8)
	for i, o := range objects {
		if !l.has(o) {
			want[i/8] |= 1 << (i % 8)
		}
	}
	if err := writeFrame(w, frameHeader{typ: frameWant, id: req}, want); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("p2p: write frame: %w", err)
	}
	errs := make([]error, len(objects))
	for i, o := range objects {
		if !wants(want, i) {
			continue
		}
		var err error
		if errs[i], err = l.takeObject(ctx, r, req, o); err != nil {
			return err
		}
	}
	if err := l.h.guard("put sync", func() error { return handler.PutSync(l.ctx, l.pod()) }); err != nil {
		for i := range errs {
			errs[i] = errors.Join(errs[i], err)
		}
	}
	var acks []byte
	for _, err := range errs {
		acks = appendAck(acks, err)
	}
	if err := writeFrame(w, frameHeader{typ: frameAck, id: req}, acks); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("p2p: write frame: %w", err)
	}
	return nil
}

// errNotSent stands for a block that the sender offered and then could not read.
var errNotSent = errors.New("not sent")

// has says whether the Handler owns what is offered.
func (l *link) has(o object) (have bool) {
	err := l.h.guard("have block", func() error {
		if o.isFragment() {
			have = l.h.cfg.Handler.HaveFragment(l.ctx, l.pod(), o.fragment())
		} else {
			have = l.h.cfg.Handler.HaveBlock(l.ctx, l.pod(), o.ID)
		}
		return nil
	})
	return err == nil && have
}

// takeObject takes what comes next in a put. The first error is the Handler's, the second the stream's.
func (l *link) takeObject(ctx context.Context, r io.Reader, req uint64, o object) (refused, err error) {
	f, err := readHeader(r, rolePut)
	switch {
	case err != nil:
		return nil, err
	case f.id != req:
		return nil, fmt.Errorf("p2p: block of put %d instead of %d: %w", f.id, req, ErrProtocol)
	case f.typ == frameMiss:
		return errNotSent, nil
	case f.typ != frameData || !o.wireOK(int(f.length)):
		return nil, fmt.Errorf("p2p: frame of type %d, %d bytes instead of %s: %w", f.typ, f.length, o, ErrProtocol)
	}
	// A peer that sends a byte a second on all the streams that it may have holds no more than this.
	if err := l.putBytes.Acquire(ctx, int64(f.length)); err != nil {
		return nil, err
	}
	defer l.putBytes.Release(int64(f.length))
	wire := takeWire(int(f.length))
	defer wires.Put(wire)
	if _, err := io.ReadFull(r, *wire); err != nil {
		return nil, fmt.Errorf("p2p: read block: %w", err)
	}
	return l.h.guard("put block", func() error {
		if o.isFragment() {
			return l.h.cfg.Handler.PutFragment(ctx, l.pod(), o.fragment(), *wire)
		}
		return l.h.cfg.Handler.PutBlock(ctx, l.pod(), o.ID, *wire)
	}), nil
}
