package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Get returns a block's plain bytes, read from disk and verified: first the record's checksum,
// then the hash. The caller owns them. Bytes that fail are never returned: the block is set aside
// (Has denies it, Put stores it anew) and the error is block.ErrCorrupt, then and later.
// Other errors: block.ErrNotFound, ErrClosed, the context's, those of reading.
func (s *Store) Get(ctx context.Context, id block.ID) ([]byte, error) {
	return s.GetInto(ctx, id, nil)
}

// GetInto is Get into memory of the caller's: it returns dst[:n], or a larger slice when dst has not the capacity. After
// an error the bytes of dst are undefined. A raw block that fits takes no memory of the store's.
func (s *Store) GetInto(ctx context.Context, id block.ID, dst []byte) ([]byte, error) {
	plain, r, err := s.readPlain(ctx, id, dst)
	if err != nil {
		return nil, fmt.Errorf("store: get %s: %w", id, err)
	}
	if r.cached() {
		s.cache.touch(id, s.now())
	}
	return plain, nil
}

// readPlain reads a block into dst, or into other memory, and verifies it.
func (s *Store) readPlain(ctx context.Context, id block.ID, dst []byte) (plain []byte, r row, err error) {
	r, err = s.read(ctx, id, dst, func(rec record, form []byte) (err error) {
		plain, err = s.codec.open(id, rec.header, form, dst)
		return err
	})
	return plain, r, err
}

// verify reads a block as Get does, into memory of the store's, and is no use of it.
func (s *Store) verify(ctx context.Context, id block.ID) error {
	buf := s.plains.get(0)
	defer s.plains.put(buf)
	plain, _, err := s.readPlain(ctx, id, *buf)
	if cap(plain) > cap(*buf) {
		*buf = plain
	}
	return err
}

// Wire returns a block as it is sent: its header and its form. Of the two checks of Get it makes
// the first only, the receiver makes the other. The caller owns the bytes. Errors are those of Get.
func (s *Store) Wire(ctx context.Context, id block.ID) ([]byte, error) {
	var wire []byte
	r, err := s.read(ctx, id, nil, func(rec record, form []byte) error {
		wire = append(rec.header.Append(make([]byte, 0, block.HeaderLen+len(form))), form...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("store: wire %s: %w", id, err)
	}
	if r.cached() {
		s.cache.touch(id, s.now())
	}
	return wire, nil
}

// readTriesMax is how often a read follows a block that moves or fails before it is believed.
const readTriesMax = 3

// read finds a block, checks its record, calls f with it and returns its row. A raw form lies in dst, or in memory of its own when dst is
// too short, because then it is what Get returns.
func (s *Store) read(ctx context.Context, id block.ID, dst []byte, f func(r record, form []byte) error) (row, error) {
	var last row
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return row{}, err
		}
		r, ok, err := s.lookup(id)
		switch {
		case err != nil:
			return r, err
		case !ok:
			return r, block.ErrNotFound
		case r.bad():
			return r, fmt.Errorf("damaged and set aside: %w", block.ErrCorrupt)
		}
		err = s.readRow(id, r, dst, f)
		if !errors.Is(err, block.ErrCorrupt) {
			return r, err
		}
		// It may have been deleted or moved since the lookup, or the read may have failed once.
		if r == last || try == readTriesMax {
			s.quarantine(id, r, err)
			return r, err
		}
		last = r
	}
}

// readRow reads the record that a row names and calls f with it; dst is that of read.
func (s *Store) readRow(id block.ID, r row, dst []byte, f func(r record, form []byte) error) error {
	s.mu.RLock()
	g := s.segs[r.seg]
	ok := g != nil && g.acquire()
	s.mu.RUnlock()
	if !ok {
		return fmt.Errorf("segment %d is missing: %w", r.seg, block.ErrCorrupt)
	}
	defer func() { _ = g.release() }() // nothing is lost when closing a removed file fails
	var form []byte
	var rec record
	var err error
	switch {
	case r.flags&flagRaw == 0:
		buf := s.bufs.get(int(r.size()))
		defer s.bufs.put(buf)
		form = (*buf)[recordHead:]
		rec, err = readRecord(g, r.off, *buf)
	case cap(dst) >= int(r.length):
		buf := s.heads.get(recordHead)
		defer s.heads.put(buf)
		form = dst[:r.length]
		rec, err = readApart(g, r.off, *buf, form)
	default:
		b := make([]byte, r.size()) // it is given away
		form = b[recordHead:len(b):len(b)]
		rec, err = readRecord(g, r.off, b)
	}
	if err != nil {
		return err
	}
	if rec.id != id || !rec.kind.isBlock() || (rec.header.Form == block.FormRaw) != (r.flags&flagRaw != 0) {
		return fmt.Errorf("record at %d is of another block: %w", r.off, block.ErrCorrupt)
	}
	return f(rec, form)
}

// readRecord reads the record at off, which is as long as b, and checks head and checksum.
func readRecord(g *segment, off int64, b []byte) (record, error) {
	if _, err := readAt(g.file, b, off, off+int64(len(b))); err != nil {
		return record{}, fmt.Errorf("segment %d: %w", g.num, err)
	}
	return checkParts(g, off, b[:recordHead], b[recordHead:])
}

// readApart is readRecord with memory for the head and for what follows it.
func readApart(g *segment, off int64, head, form []byte) (record, error) {
	end := off + recordHead + int64(len(form))
	_, err := readAt(g.file, head, off, end)
	if err == nil {
		_, err = readAt(g.file, form, off+recordHead, end)
	}
	if err != nil {
		return record{}, fmt.Errorf("segment %d: %w", g.num, err)
	}
	return checkParts(g, off, head, form)
}

// checkParts checks a record that was read.
func checkParts(g *segment, off int64, head, form []byte) (record, error) {
	r, err := parseRecord(head, g.nonce, off)
	if err == nil && int(r.length) != len(form) {
		err = fmt.Errorf("record at %d: %d bytes, expected are %d: %w", off, r.length, len(form), block.ErrCorrupt)
	}
	if err == nil {
		err = r.checkSum(form)
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
