package dag

import (
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// SizeMax is the most bytes that a body may have (vfs.FileMax).
const SizeMax = 1<<60 - 1

// Errors of what a caller gives, not of stored bytes.
var (
	// ErrBadEntry says that an entry is none: no bytes, beyond the end of the largest chunk, no chunk's ID, a hole with a skip.
	ErrBadEntry = errors.New("no valid entry")
	// ErrTooLarge says that a limit would be passed: SizeMax, KeyMax, ValueMax, a node's size.
	ErrTooLarge = errors.New("too large")
)

// Entry is a stretch of a body: the bytes [Skip, Skip+Len) of a chunk, or a hole, which reads as zeros.
type Entry struct {
	Len  uint64   // bytes, at least 1; Skip+Len is at most block.ChunkMax unless it is a hole
	ID   block.ID // of the chunk, codec raw; zero: a hole
	Skip uint32   // bytes; 0 of a hole
}

// IsHole says whether the entry is a hole.
func (e Entry) IsHole() bool { return e.ID.IsZero() }

// check says what is wrong with an entry: ErrBadEntry.
func (e Entry) check() error {
	switch {
	case e.Len == 0:
		return fmt.Errorf("%w: no bytes", ErrBadEntry)
	case e.IsHole() && (e.Skip != 0 || e.Len > SizeMax):
		return fmt.Errorf("%w: a hole of %d bytes with a skip of %d", ErrBadEntry, e.Len, e.Skip)
	case e.IsHole():
		return nil
	case e.ID.Codec() != block.Raw:
		return fmt.Errorf("%w: %s is no chunk", ErrBadEntry, e.ID)
	case e.Len > block.ChunkMax || uint64(e.Skip)+e.Len > block.ChunkMax:
		return fmt.Errorf("%w: %d bytes from %d, beyond any chunk", ErrBadEntry, e.Len, e.Skip)
	}
	return nil
}

// cut is the stretch [from, to) of the entry.
func (e Entry) cut(from, to uint64) Entry {
	if !e.IsHole() {
		e.Skip += uint32(from)
	}
	e.Len = to - from
	return e
}

// join joins two entries that follow each other into one, if they are holes or stretches of a chunk that
// follow each other there.
func join(a, b Entry) (Entry, bool) {
	if a.ID != b.ID || (!a.IsHole() && uint64(a.Skip)+a.Len != uint64(b.Skip)) {
		return a, false
	}
	a.Len += b.Len
	return a, true
}

// normalise checks entries and joins what can be joined; the input stays as it is. It returns their bytes too.
func normalise(entries []Entry) ([]Entry, uint64, error) {
	out := make([]Entry, 0, len(entries))
	var size uint64
	for i, e := range entries {
		if err := e.check(); err != nil {
			return nil, 0, fmt.Errorf("dag: entry %d: %w", i, err)
		}
		if size += e.Len; size > SizeMax {
			return nil, 0, fmt.Errorf("dag: body of over %d bytes: %w", uint64(SizeMax), ErrTooLarge)
		}
		if n := len(out); n > 0 {
			if joined, ok := join(out[n-1], e); ok {
				out[n-1] = joined
				continue
			}
		}
		out = append(out, e)
	}
	return out, size, nil
}

// appendEntry appends an entry: [length, link or null] or [length, link, skip].
func appendEntry(b []byte, e Entry) []byte {
	n := 2
	if e.Skip != 0 {
		n = 3
	}
	b = cbor.AppendUint(cbor.AppendArray(b, n), e.Len)
	if e.IsHole() {
		return cbor.AppendNull(b)
	}
	b = appendLink(b, e.ID)
	if e.Skip != 0 {
		b = cbor.AppendUint(b, uint64(e.Skip))
	}
	return b
}

// readEntry reads what appendEntry writes.
func readEntry(r *cbor.Reader) Entry {
	n := r.Array(3)
	if r.Err() == nil && n < 2 {
		r.Fail("entry of %d items", n)
	}
	e := Entry{Len: r.UintMax(SizeMax)}
	if !r.Null() {
		e.ID = readLink(r, block.Raw)
	}
	if n == 3 {
		e.Skip = uint32(r.UintMax(block.ChunkMax))
		if r.Err() == nil && e.Skip == 0 {
			r.Fail("a skip of 0 is left out")
		}
	}
	if r.Err() == nil {
		if err := e.check(); err != nil {
			r.Fail("%v", err)
		}
	}
	return e
}

// appendEntries appends an array of entries.
func appendEntries(b []byte, entries []Entry) []byte {
	b = cbor.AppendArray(b, len(entries))
	for _, e := range entries {
		b = appendEntry(b, e)
	}
	return b
}

// readEntries reads an array of 1 to limit entries, no two holes in turn, and adds up their lengths.
func readEntries(r *cbor.Reader, limit int) (entries []Entry, size uint64) {
	n := r.Array(limit)
	if r.Err() == nil && n == 0 {
		r.Fail("no entries")
	}
	entries = make([]Entry, 0, n)
	size = scanEntries(r, n, func(e Entry) { entries = append(entries, e) })
	if r.Err() != nil {
		return nil, 0
	}
	return entries, size
}

// scanEntries reads n entries, no two holes in turn, calls f for each, and adds up their lengths.
func scanEntries(r *cbor.Reader, n int, f func(Entry)) (size uint64) {
	hole := false
	for range n {
		e := readEntry(r)
		if hole && e.IsHole() && r.Err() == nil {
			r.Fail("two holes in turn")
		}
		if size += e.Len; size > SizeMax {
			r.Fail("entries of over %d bytes", uint64(SizeMax))
		}
		if r.Err() != nil {
			return 0
		}
		hole = e.IsHole()
		f(e)
	}
	return size
}
