package cbor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// ErrNotCanonical says that bytes are not in the canonical form, or not of the type that the format asks for.
var ErrNotCanonical = errors.New("not canonical DAG-CBOR")

// Reader reads items one after the other. The first error sticks: what is read after it is zero, and
// Done returns it. A Reader is used by one goroutine.
type Reader struct {
	b    []byte
	size int
	err  error
}

// NewReader reads from b, which must not change while results are in use: byte strings alias it.
func NewReader(b []byte) *Reader { return &Reader{b: b, size: len(b)} }

// Err is the first error so far.
func (r *Reader) Err() error { return r.err }

// Done returns the first error, or one if bytes are left over.
func (r *Reader) Done() error {
	if r.err == nil && len(r.b) > 0 {
		r.Fail("%d bytes left over", len(r.b))
	}
	return r.err
}

// Rest is the bytes not read yet.
func (r *Reader) Rest() []byte { return r.b }

// Fail records that the format's own rule was broken, unless an error is recorded already.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("at byte %d: %s: %w", r.size-len(r.b), fmt.Sprintf(format, args...), ErrNotCanonical)
	}
	r.b = nil
}

// head reads the head of an item and returns its major type and argument.
func (r *Reader) head() (major byte, v uint64) {
	if len(r.b) == 0 {
		r.Fail("data ends early")
		return 0xff, 0
	}
	major, info := r.b[0]>>5, r.b[0]&31
	r.b = r.b[1:]
	if info < 24 {
		return major, uint64(info)
	}
	if info > 27 {
		r.Fail("item of indefinite or reserved length")
		return 0xff, 0
	}
	n := 1 << (info - 24)
	if len(r.b) < n {
		r.Fail("data ends early")
		return 0xff, 0
	}
	var least uint64
	switch n {
	case 1:
		v, least = uint64(r.b[0]), 24
	case 2:
		v, least = uint64(binary.BigEndian.Uint16(r.b)), 1<<8
	case 4:
		v, least = uint64(binary.BigEndian.Uint32(r.b)), 1<<16
	default:
		v, least = binary.BigEndian.Uint64(r.b), 1<<32
	}
	if v < least || major == majorOther {
		r.Fail("number not in its shortest form")
		return 0xff, 0
	}
	r.b = r.b[n:]
	return major, v
}

// want reads the head of an item of one type and returns its argument. Most are one byte, and after an error none is left.
func (r *Reader) want(major byte) uint64 {
	if len(r.b) > 0 && r.b[0]>>5 == major && r.b[0]&31 < 24 {
		v := uint64(r.b[0] & 31)
		r.b = r.b[1:]
		return v
	}
	return r.wantLong(major)
}

func (r *Reader) wantLong(major byte) uint64 {
	if r.err != nil {
		return 0
	}
	got, v := r.head()
	if r.err == nil && got != major {
		r.Fail("major type %d instead of %d", got, major)
	}
	if r.err != nil {
		return 0
	}
	return v
}

// Uint reads an unsigned integer.
func (r *Reader) Uint() uint64 { return r.want(majorUint) }

// UintMax reads an unsigned integer of at most limit.
func (r *Reader) UintMax(limit uint64) uint64 {
	v := r.Uint()
	if v > limit {
		r.Fail("%d is over the limit of %d", v, limit)
		return 0
	}
	return v
}

// Int reads a signed integer.
func (r *Reader) Int() int64 {
	if r.err != nil {
		return 0
	}
	major, v := r.head()
	switch {
	case r.err != nil:
		return 0
	case v > math.MaxInt64 || (major != majorUint && major != majorNeg):
		r.Fail("no integer of 64 bits")
		return 0
	case major == majorNeg:
		return -1 - int64(v)
	}
	return int64(v)
}

// Bytes reads a byte string of at most limit bytes; it aliases the input.
func (r *Reader) Bytes(limit int) []byte { return r.str(majorBytes, limit) }

// Fixed reads a byte string of exactly n bytes into memory of its own; on an error it still has n bytes.
func (r *Reader) Fixed(n int) []byte {
	b := r.Bytes(n)
	if r.err == nil && len(b) != n {
		r.Fail("%d bytes instead of %d", len(b), n)
	}
	out := make([]byte, n)
	copy(out, b)
	return out
}

// Name reads a byte string of at most limit bytes as a string.
func (r *Reader) Name(limit int) string { return string(r.str(majorBytes, limit)) }

// Text reads a text string of at most limit bytes.
func (r *Reader) Text(limit int) string {
	b := r.str(majorText, limit)
	if !utf8.Valid(b) {
		r.Fail("text is not UTF-8")
		return ""
	}
	return string(b)
}

func (r *Reader) str(major byte, limit int) []byte {
	n := r.want(major)
	switch {
	case r.err != nil:
		return nil
	case n > uint64(max(limit, 0)):
		r.Fail("%d bytes, over the limit of %d", n, limit)
		return nil
	case n > uint64(len(r.b)):
		r.Fail("data ends early")
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// Array reads the head of an array of at most limit items. No more items than bytes are left are believed,
// so that a caller may take memory for what Array returns.
func (r *Reader) Array(limit int) int {
	n := r.want(majorArray)
	if r.err == nil && (n > uint64(max(limit, 0)) || n > uint64(len(r.b))) {
		r.Fail("array of %d items, over the limit of %d or the data", n, limit)
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

// Tuple reads the head of an array of exactly n items.
func (r *Reader) Tuple(n int) {
	if got := r.want(majorArray); r.err == nil && got != uint64(n) {
		r.Fail("array of %d items instead of %d", got, n)
	}
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	switch r.want(majorOther) {
	case simpleTrue:
		return true
	case simpleFalse:
	default:
		r.Fail("no boolean")
	}
	return false
}

// Null reads a null, if one comes next, and says whether it did.
func (r *Reader) Null() bool {
	if r.err != nil || len(r.b) == 0 || r.b[0] != majorOther<<5|simpleNull {
		return false
	}
	r.b = r.b[1:]
	return true
}

// Link reads a link to a CID of exactly n bytes; it aliases the input.
func (r *Reader) Link(n int) []byte {
	if tag := r.want(majorTag); r.err == nil && tag != tagLink {
		r.Fail("tag %d instead of %d", tag, tagLink)
	}
	b := r.Bytes(n + 1)
	if r.err == nil && (len(b) != n+1 || b[0] != 0) {
		r.Fail("no CID of %d bytes", n)
	}
	if r.err != nil {
		return nil
	}
	return b[1:]
}
