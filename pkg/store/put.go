package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

func appendUint64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// Put stores a block as the pod's own. It is durable after a Sync that begins after Put returned;
// that holds for a block that was there already, too. A cached copy becomes owned. The hash is not
// computed again: wrong bytes under an ID are found by Get.
//
// Errors: ErrNoSpace, ErrPoisoned, ErrClosed; block.ErrCorrupt for more bytes than a block may
// have; block.ErrBadID for the zero ID; the context's.
func (s *Store) Put(ctx context.Context, id block.ID, plain []byte) error {
	return s.putPlain(ctx, id, plain, false)
}

// PutCached stores a cached copy: it counts against the cache limit, for which older ones make
// room, and may be evicted at any time. A block that is there stays what it is. A block larger
// than the limit is ErrNoSpace.
func (s *Store) PutCached(ctx context.Context, id block.ID, plain []byte) error {
	return s.putPlain(ctx, id, plain, true)
}

// PutRaw is Put of a block that is stored as it is, though it could be compressed. One that is there keeps its form.
func (s *Store) PutRaw(ctx context.Context, id block.ID, plain []byte) error {
	err := s.put(ctx, id, len(plain), false, func(b []byte) ([]byte, block.Header, error) {
		return append(b, plain...), block.Header{Form: block.FormRaw, PlainLen: uint32(len(plain))}, nil
	})
	if err != nil {
		return fmt.Errorf("store: put %s: %w", id, err)
	}
	return nil
}

func (s *Store) putPlain(ctx context.Context, id block.ID, plain []byte, cached bool) error {
	err := s.put(ctx, id, len(plain), cached, func(b []byte) ([]byte, block.Header, error) {
		return s.codec.encode(b, plain)
	})
	if err != nil {
		return fmt.Errorf("store: put %s: %w", id, err)
	}
	return nil
}

// PutWire stores a block that came as Wire gives it, a header and a form, after it was decoded and
// verified; what is not the block is block.ErrCorrupt. Else it is Put or PutCached.
func (s *Store) PutWire(ctx context.Context, id block.ID, wire []byte, cached bool) error {
	h, err := block.ParseHeader(wire)
	if err != nil {
		return fmt.Errorf("store: put %s: %w", id, err)
	}
	form := wire[block.HeaderLen:]
	if err = checkForm(id, h, int64(len(form))); err == nil {
		_, err = s.codec.open(id, h, form, nil)
	}
	if err == nil {
		err = s.put(ctx, id, int(h.PlainLen), cached, func(b []byte) ([]byte, block.Header, error) {
			return append(b, form...), h, nil
		})
	}
	if err != nil {
		return fmt.Errorf("store: put %s: %w", id, err)
	}
	return nil
}

// put stores what encode appends to a record, unless the block is there.
func (s *Store) put(ctx context.Context, id block.ID, plainLen int, cached bool,
	encode func(b []byte) ([]byte, block.Header, error),
) error {
	switch {
	case id.IsZero():
		return fmt.Errorf("zero ID: %w", block.ErrBadID)
	case plainLen > block.SizeMax(id):
		return fmt.Errorf("%d bytes, over the limit of %d: %w", plainLen, block.SizeMax(id), block.ErrCorrupt)
	}
	if err := s.claims.claim(ctx, id); err != nil {
		return err
	}
	err := s.putClaimed(ctx, id, plainLen, cached, encode)
	s.claims.release(id)
	if err != nil {
		return err
	}
	return s.boundUnsynced(ctx)
}

func (s *Store) putClaimed(ctx context.Context, id block.ID, plainLen int, cached bool,
	encode func(b []byte) ([]byte, block.Header, error),
) error {
	old, had, err := s.lookup(id)
	if err != nil {
		return err
	}
	if had && !old.bad() {
		return s.putAgain(ctx, id, old, cached)
	}
	buf := s.bufs.get(recordHead + plainLen + plainLen/8 + 64) // the frame may be longer than the bytes
	defer s.bufs.put(buf)
	b, h, err := encode((*buf)[:recordHead])
	if err != nil {
		return err
	}
	*buf = b
	if err := s.makeRoom(ctx, int64(len(b)), cached); err != nil {
		return err
	}
	head := record{kind: kindBlock, id: id, header: h, length: uint32(len(b) - recordHead)}
	if cached {
		head.kind = kindCached
	}
	err = s.append(head, b, false, func(at place) {
		s.setRow(id, old, had, newRow(at, head, block.Fragment{}))
		if cached && isUncached(ctx) {
			s.noteUncached(at, int64(len(b)))
		}
	})
	if err == nil && had {
		err = s.buryDamaged(ctx, id, old)
	}
	return err
}

// putAgain puts a block that is here: it costs a mark at most. A mark tells of an owned block when it was a cached copy
// or in the trash; the ID is claimed.
func (s *Store) putAgain(ctx context.Context, id block.ID, old row, cached bool) error {
	switch {
	case !cached && !old.owned():
		return s.restate(kindOwn, id, old, 0)
	case cached && old.trashed():
		if err := s.makeCacheRoom(ctx, old.size()); err != nil {
			return err
		}
		return s.restate(kindDisown, id, old, 0)
	}
	s.cache.touch(id, s.now())
	return s.writable()
}

// boundUnsynced begins a sync when much is unsynced, as soon as no other one runs.
func (s *Store) boundUnsynced(ctx context.Context) error {
	if !s.muchUnsynced() {
		return nil
	}
	select {
	case s.syncing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !s.muchUnsynced() { // the sync that ran had it too
		<-s.syncing
		return nil
	}
	go func() { _ = s.endRound(s.nextRound()) }() // it is told to who writes next
	return nil
}

func (s *Store) muchUnsynced() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.unsynced > unsyncedBytesMax || len(s.pending) > unsyncedRowsMax
}

// restate makes a block an owned one, a cached copy or trash, by a mark of the kind that says so; the ID is claimed.
func (s *Store) restate(k kind, id block.ID, old row, since int64) error {
	return s.mark(k, id, old, since, func() { s.setRow(id, old, true, old.as(k, since)) })
}

// Own makes a cached copy or a block in the trash the pod's own; an owned block stays it. Durable after Sync.
// Errors: block.ErrNotFound, block.ErrCorrupt when it was found damaged, those of Put.
func (s *Store) Own(ctx context.Context, id block.ID) error { return s.change(ctx, "own", id, s.own) }

func (s *Store) own(id block.ID, r row) error {
	switch {
	case r.bad():
		return block.ErrCorrupt
	case r.owned():
		return s.writable()
	}
	return s.restate(kindOwn, id, r, 0)
}

// Disown makes an owned block a cached copy, which may be evicted; it is not evicted at once even
// when that passes the cache limit. One in the trash is block.ErrNotFound. Errors are those of Own.
func (s *Store) Disown(ctx context.Context, id block.ID) error {
	return s.change(ctx, "disown", id, func(id block.ID, r row) error {
		switch {
		case r.bad():
			return block.ErrCorrupt
		case r.trashed():
			return block.ErrNotFound
		case r.cached():
			return s.writable()
		}
		return s.restate(kindDisown, id, r, 0)
	})
}

// Delete deletes a block, owned, cached or in the trash; one that is not there is no error. It is gone at once
// and for good after Sync, which also gives its space back where the file system can.
func (s *Store) Delete(ctx context.Context, id block.ID) error {
	err := s.change(ctx, "delete", id, s.remove)
	if errors.Is(err, block.ErrNotFound) {
		return nil
	}
	return err
}

// Uncache deletes a block if it is a cached copy; an owned or absent one is left alone.
func (s *Store) Uncache(ctx context.Context, id block.ID) error {
	err := s.change(ctx, "uncache", id, func(id block.ID, r row) error {
		if !r.cached() {
			return nil
		}
		return s.remove(id, r)
	})
	if errors.Is(err, block.ErrNotFound) {
		return nil
	}
	return err
}

// remove deletes a block; the ID is claimed.
func (s *Store) remove(id block.ID, r row) error {
	return s.mark(kindGone, id, r, 0, func() { s.dropRow(id, r) })
}

// change claims an ID and calls f with its row.
func (s *Store) change(ctx context.Context, what string, id block.ID, f func(block.ID, row) error) error {
	err := s.claims.claim(ctx, id)
	if err != nil {
		return fmt.Errorf("store: %s %s: %w", what, id, err)
	}
	r, ok, err := s.lookup(id)
	if err == nil && !ok {
		err = block.ErrNotFound
	}
	if err == nil {
		err = f(id, r)
	}
	s.claims.release(id)
	if err == nil {
		return s.boundUnsynced(ctx)
	}
	return fmt.Errorf("store: %s %s: %w", what, id, err)
}
