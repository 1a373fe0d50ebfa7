package state

import (
	"fmt"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// corrupt says that bytes are no canonical encoding of what.
func corrupt(what string, err error) error {
	return fmt.Errorf("state: %s: %w: %w", what, block.ErrCorrupt, err)
}

// encoder appends a row's items. Stamps repeat within a row, so one that equals the stamp before it is written as null.
type encoder struct {
	b    []byte
	last TS // the stamp written last; at first the zero stamp
}

func (e *encoder) array(n int)    { e.b = cbor.AppendArray(e.b, n) }
func (e *encoder) uint(v uint64)  { e.b = cbor.AppendUint(e.b, v) }
func (e *encoder) int(v int64)    { e.b = cbor.AppendInt(e.b, v) }
func (e *encoder) bool(v bool)    { e.b = cbor.AppendBool(e.b, v) }
func (e *encoder) null()          { e.b = cbor.AppendNull(e.b) }
func (e *encoder) name(s string)  { e.b = cbor.AppendName(e.b, s) }
func (e *encoder) bytes(p []byte) { e.b = cbor.AppendBytes(e.b, p) }

func (e *encoder) ts(t TS) {
	if t == e.last {
		e.null()
		return
	}
	e.array(2)
	e.uint(uint64(t.HLC))
	e.uint(t.Actor.Uint())
	e.last = t
}

// dot writes a dot, or null for the zero dot.
func (e *encoder) dot(d Dot) {
	if d.IsZero() {
		e.null()
		return
	}
	e.b = appendDot(e.b, d)
}

func appendDot(b []byte, d Dot) []byte {
	b = cbor.AppendArray(b, 2)
	b = cbor.AppendUint(b, d.Actor.Uint())
	return cbor.AppendUint(b, d.Seq)
}

func appendDots(b []byte, dots []Dot) []byte {
	b = cbor.AppendArray(b, len(dots))
	for _, d := range dots {
		b = appendDot(b, d)
	}
	return b
}

// decoder reads what encoder writes.
type decoder struct {
	cbor.Reader

	last TS
}

func newDecoder(b []byte) *decoder { return &decoder{Reader: *cbor.NewReader(b)} }

func (d *decoder) ts() TS {
	if d.Null() {
		return d.last
	}
	d.Tuple(2)
	t := TS{HLC: HLC(d.Uint()), Actor: readActor(&d.Reader)}
	if d.Err() == nil && t == d.last {
		d.Fail("a stamp is repeated instead of left out")
	}
	d.last = t
	return t
}

func (d *decoder) dot() Dot {
	if d.Null() {
		return Dot{}
	}
	return readDot(&d.Reader)
}

// list reads an array of at most limit items, strictly ascending.
func list[T any](r *cbor.Reader, limit int, order func(a, b T) int, item func() T) []T {
	n := r.Array(limit)
	if n == 0 {
		return nil
	}
	out := make([]T, 0, min(n, 64)) // grows with what is read: n is at most the bytes left, but items are larger
	for range n {
		v := item()
		if r.Err() != nil {
			return nil
		}
		if len(out) > 0 && order != nil && order(out[len(out)-1], v) >= 0 {
			r.Fail("items are not in order")
			return nil
		}
		out = append(out, v)
	}
	return out
}

func readActor(r *cbor.Reader) ident.Actor {
	a, err := ident.ActorOf(r.Uint())
	if err != nil {
		r.Fail("%v", err)
	}
	return a
}

// readDot reads a dot that is not zero.
func readDot(r *cbor.Reader) Dot {
	r.Tuple(2)
	d := Dot{Actor: readActor(r), Seq: r.Uint()}
	if r.Err() == nil && (d.Actor.Member == 0 || d.Seq == 0) {
		r.Fail("dot of no actor or no change")
	}
	return d
}

// readDots reads dots in an order, without zero dots.
func readDots(r *cbor.Reader, limit int, order func(a, b Dot) int) []Dot {
	return list(r, limit, order, func() Dot { return readDot(r) })
}

// CheckName says whether a name may stand in a folder: 1 to 255 bytes, no NUL, no slash, not "." or "..".
// Errors: vfs.ErrBadName, vfs.ErrNameTooLong.
func CheckName(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("name %q: %w", name, vfs.ErrBadName)
	case len(name) > vfs.NameMax:
		return fmt.Errorf("name of %d bytes: %w", len(name), vfs.ErrNameTooLong)
	}
	return nil
}

// fileName reads a name of an entry.
func (d *decoder) fileName() string {
	s := d.Name(vfs.NameMax)
	if d.Err() == nil {
		if err := CheckName(s); err != nil {
			d.Fail("%v", err)
		}
	}
	return s
}
