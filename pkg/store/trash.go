package store

import (
	"context"
	"errors"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Trash takes an owned block out of use: Has denies it and Each leaves it out, Get and Wire still serve it, and Put,
// PutCached, PutWire and Own bring it back, at the cost of a mark. done says whether it is in the trash now because of
// this call: a block that is cached, absent, damaged or in the trash already is left alone. Durable after Sync, and with
// it the time, the clock's in seconds.
//
// unless is called before that, while nobody else can change the block; when it is true, the block is left alone; nil is
// never true. It may call Has and the reading methods, but none that changes this block. Errors are those of Put.
func (s *Store) Trash(ctx context.Context, id block.ID, unless func() bool) (done bool, err error) {
	return s.changeUnless(ctx, "trash", id, unless, func(r row) bool { return r.owned() && !r.bad() }, func(r row) error {
		return s.restate(kindTrash, id, r, s.unix())
	})
}

// Drop deletes a block for good if it is in the trash, damaged ones included, under the rule of unless that Trash has.
// The space is given back as by Delete.
func (s *Store) Drop(ctx context.Context, id block.ID, unless func() bool) (done bool, err error) {
	return s.changeUnless(ctx, "drop", id, unless, row.trashed, func(r row) error { return s.remove(id, r) })
}

// DeleteUnless deletes an owned block that is not in the trash, damaged ones included, under the rule of unless that
// Trash has.
func (s *Store) DeleteUnless(ctx context.Context, id block.ID, unless func() bool) (done bool, err error) {
	return s.changeUnless(ctx, "delete", id, unless, row.owned, func(r row) error { return s.remove(id, r) })
}

// changeUnless calls f with the row of a block, if it is one that f is for and unless does not say no.
func (s *Store) changeUnless(ctx context.Context, what string, id block.ID,
	unless func() bool, isFor func(row) bool, f func(row) error,
) (done bool, err error) {
	err = s.change(ctx, what, id, func(_ block.ID, r row) error {
		if !isFor(r) || unless != nil && unless() {
			return nil
		}
		err := f(r)
		done = err == nil
		return err
	})
	if errors.Is(err, block.ErrNotFound) {
		return false, nil
	}
	return done, err
}

// EachTrash calls f for every block in the trash, in the order of the IDs, with the bytes of its record, 0 of a damaged
// one, and since when it is there. A change that is made meanwhile may be seen or not. f may call the store.
func (s *Store) EachTrash(ctx context.Context, f func(id block.ID, bytes int64, since time.Time) error) error {
	return s.eachBlock(ctx, func(id block.ID, r row) error {
		if !r.trashed() {
			return nil
		}
		bytes := r.size()
		if r.bad() {
			bytes = 0
		}
		return f(id, bytes, time.Unix(r.since, 0))
	})
}

// InTrash says whether a block is in the trash.
func (s *Store) InTrash(id block.ID) bool {
	r, ok, err := s.lookup(id)
	if err != nil {
		s.o.Log.Error("store index can't be read", "block", id, "error", err)
	}
	return err == nil && ok && r.trashed()
}
