package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/chunkmem"
)

// Get returns a block's plain bytes, read from disk and verified: first the record's checksum,
// then the hash. The caller owns them. Bytes that fail are never returned: the block is set aside
// (Has denies it, Put stores it anew) and the error is block.ErrCorrupt, then and later.
// Other errors: block.ErrNotFound, ErrClosed, the context's, those of reading.
func (s *Store) Get(ctx context.Context, id block.ID) ([]byte, error) {
	var plain []byte
	err := s.read(ctx, id, func(r record, wire []byte) (err error) {
		plain, err = s.codec.open(id, r.header, wire[block.HeaderLen:], nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: get %s: %w", id, err)
	}
	return plain, nil
}

// Wire returns a block as it is sent: its header and its form. Of the two checks of Get it makes
// the first only, the receiver makes the other. The caller owns the bytes. Errors are those of Get.
func (s *Store) Wire(ctx context.Context, id block.ID) ([]byte, error) {
	var wire []byte
	err := s.read(ctx, id, func(r record, b []byte) error {
		if wire = b; r.header.Form != block.FormRaw {
			wire = bytes.Clone(b)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("store: wire %s: %w", id, err)
	}
	return wire, nil
}

// LendWire is Wire whose bytes are lent: done gives them back, once, when they are no longer read. A large block's memory costs as much as its bytes, if it is new each time.
func (s *Store) LendWire(ctx context.Context, id block.ID) (wire []byte, done func(), err error) {
	return s.lend(ctx, id, func(record, []byte) error { return nil })
}

// lend reads a record into memory that is given back by done, and checks what is sent of it.
func (s *Store) lend(ctx context.Context, id block.ID, check func(r record, wire []byte) error) (wire []byte, done func(), err error) {
	var lent *[]byte
	memory := func(r row) ([]byte, func(err error)) {
		buf := s.bufs.get(int(r.size()))
		return *buf, func(err error) {
			if err != nil {
				s.bufs.put(buf)
				return
			}
			lent = buf
		}
	}
	err = s.readTo(ctx, id, memory, func(r record, b []byte) error {
		wire = b
		return check(r, b)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("store: lend %s: %w", id, err)
	}
	s.cache.touch(id, s.now())
	return wire, func() { s.bufs.put(lent) }, nil
}

// FormLen is the length in bytes of a block's stored form, its header not counted, wherever the block is here: owned, cached or in the trash.
func (s *Store) FormLen(id block.ID) (int, bool) {
	r, ok, err := s.lookup(id)
	if err != nil || !ok || r.bad() {
		return 0, false
	}
	return int(r.length), true
}

// readTriesMax is how often a read follows a block that moves or fails before it is believed.
const readTriesMax = 3

// read is readQuietly, and counts as a use of a cached copy.
func (s *Store) read(ctx context.Context, id block.ID, f func(r record, wire []byte) error) error {
	err := s.readQuietly(ctx, id, f)
	if err == nil {
		s.cache.touch(id, s.now())
	}
	return err
}

// readQuietly finds a block, checks its record and calls f with it, and with header and form as they are sent. That is memory of its own when the form
// is raw, because then it is what Get and Wire return.
func (s *Store) readQuietly(ctx context.Context, id block.ID, f func(r record, wire []byte) error) error {
	return s.readTo(ctx, id, s.memoryOf, f)
}

// memoryOf is memory for a record, and what is to be called when f has been.
func (s *Store) memoryOf(r row) (b []byte, done func(err error)) {
	if r.flags&flagRaw != 0 {
		return chunkmem.Take(int(r.size())), func(error) {} // it is given away
	}
	buf := s.bufs.get(int(r.size()))
	return *buf, func(error) { s.bufs.put(buf) }
}

// readTo is readQuietly into memory for the record of a row; what comes with it is called with the error of reading, and of f.
func (s *Store) readTo(ctx context.Context, id block.ID, memory func(r row) (b []byte, done func(err error)), f func(r record, wire []byte) error) error {
	var last row
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, ok, err := s.lookup(id)
		switch {
		case err != nil:
			return err
		case !ok:
			return block.ErrNotFound
		case r.bad():
			return fmt.Errorf("damaged and set aside: %w", block.ErrCorrupt)
		}
		err = s.readRow(ctx, id, r, memory, f)
		if err == nil || !errors.Is(err, block.ErrCorrupt) {
			return err
		}
		// It may have been deleted or moved since the lookup, or the read may have failed once.
		if r == last || try == readTriesMax {
			s.quarantine(id, r, err)
			return err
		}
		last = r
	}
}

// readRow reads the record that a row names and calls f with it.
func (s *Store) readRow(ctx context.Context, id block.ID, r row, memory func(r row) (b []byte, done func(err error)), f func(r record, wire []byte) error) (err error) {
	s.mu.RLock()
	g := s.segs[r.seg]
	ok := g != nil && g.acquire()
	s.mu.RUnlock()
	if !ok {
		return fmt.Errorf("segment %d is missing: %w", r.seg, block.ErrCorrupt)
	}
	defer func() { _ = g.release() }() // nothing is lost when closing a removed file fails
	b, done := memory(r)
	defer func() { done(err) }()
	rec, err := readRecordBy(g.reads(ctx), g, r.off, b)
	if err != nil {
		return err
	}
	if rec.id != id || !rec.kind.isBlock() || !r.fragment() && (rec.header.Form == block.FormRaw) != (r.flags&flagRaw != 0) {
		return fmt.Errorf("record at %d is of another block: %w", r.off, block.ErrCorrupt)
	}
	return f(rec, b[wireStart:])
}

// readRecord reads the record at off, which is as long as b, and checks head and checksum.
func readRecord(g *segment, off int64, b []byte) (record, error) {
	return readRecordBy(g.file, g, off, b)
}

func readRecordBy(f io.ReaderAt, g *segment, off int64, b []byte) (record, error) {
	n, err := readAt(f, b, off, off+int64(len(b)))
	if err != nil {
		return record{}, fmt.Errorf("segment %d: %w", g.num, err)
	}
	r, err := parseRecord(b[:n], g.nonce, off)
	if err == nil && r.size() != int64(n) {
		err = fmt.Errorf("record at %d: %d bytes, the index says %d: %w", off, r.size(), n, block.ErrCorrupt)
	}
	if err == nil {
		err = r.checkSum(b[recordHead:])
	}
	if err != nil {
		return record{}, fmt.Errorf("segment %d: %w", g.num, err)
	}
	return r, nil
}

// quarantine sets a damaged block aside: nobody is served it, and a Put stores it anew.
func (s *Store) quarantine(id block.ID, r row, reason error) {
	if !s.claims.tryClaim(id) {
		return // somebody changes it; the next read finds what is so then
	}
	defer s.claims.release(id)
	if now, ok, err := s.lookup(id); err != nil || !ok || now != r {
		return
	}
	s.setBad(id, r, reason)
}
