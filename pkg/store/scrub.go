package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Scrubbed says what a call of Scrub did.
type Scrubbed struct {
	Next   string // where to go on
	Bytes  int64  // of records that were read
	Blocks int
	Done   bool // the end was reached
}

// Scrub verifies blocks, their checksums and hashes, from a cursor on, until about maxBytes were read; "" is the beginning. f is told of damaged
// blocks, those set aside before included. It goes by the index, in the order of the IDs: so nothing that the index names is passed over because the head of
// its record rotted, and compactions meanwhile don't matter. What is put or deleted meanwhile may be seen or not; nobody waits for it.
//
// Errors: block.ErrBadID for a cursor that Scrub did not give, those of reading the index, the context's.
func (s *Store) Scrub(ctx context.Context, cursor string, maxBytes int64, f func(Problem)) (Scrubbed, error) {
	from, err := parseCursor(cursor)
	if err != nil {
		return Scrubbed{}, fmt.Errorf("store: scrub: %w", err)
	}
	out := Scrubbed{Next: cursor}
	for {
		page, last, err := s.page(ctx, from)
		if err != nil {
			return out, fmt.Errorf("store: scrub: %w", err)
		}
		for _, e := range page {
			if out.Bytes >= maxBytes {
				return out, nil
			}
			if err := s.scrubRow(ctx, e, f); err != nil {
				return out, fmt.Errorf("store: scrub %s: %w", e.id, err)
			}
			out.Next = cursorAt(e.id)
			out.Bytes += e.size()
			out.Blocks++
		}
		if last.IsZero() {
			out.Done, out.Next = true, ""
			return out, nil
		}
		from = last
	}
}

func (s *Store) scrubRow(ctx context.Context, e idRow, f func(Problem)) error {
	err := s.readQuietly(Uncached(ctx), e.id, s.verify(e.id)) // who scrubs looks at each once, and leaves what others need in memory
	switch {
	case err == nil, errors.Is(err, block.ErrNotFound):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrClosed):
		return err
	}
	p := e.problem(Damaged, e.id)
	p.Err = err
	s.mu.RLock()
	if g := s.segs[e.seg]; g == nil || e.off+e.size() > g.end {
		p.Kind = Missing
	}
	s.mu.RUnlock()
	f(p)
	return nil
}

// verify is a function for read that checks what it reads as Get does.
func (s *Store) verify(id block.ID) func(r record, wire []byte) error {
	return func(r record, wire []byte) error {
		form := wire[block.HeaderLen:]
		if r.kind.isFragment() {
			return verifyFragment(id, r, form)
		}
		_, err := s.codec.open(id, r.header, form, nil)
		return err
	}
}

// A cursor is the text of an ID; behind all of these come fragments, with their names in hexadecimal digits.
const cursorFragment = "fragment:"

func cursorAt(id block.ID) string {
	if isFragment(id) {
		return cursorFragment + hex.EncodeToString(id.Append(nil))
	}
	return id.String()
}

func parseCursor(text string) (id block.ID, err error) {
	name, ok := strings.CutPrefix(text, cursorFragment)
	if !ok {
		return id, id.UnmarshalText([]byte(text))
	}
	b, err := hex.DecodeString(name)
	if err != nil {
		return id, fmt.Errorf("cursor %q: %w", text, block.ErrBadID)
	}
	return readID(b)
}
