package block

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/blake3"
)

// Limits of fragments.
const (
	// FragmentedMin is the length in bytes from which a stored form is cut into fragments. Of smaller ones whole copies are kept: what
	// cutting saves there is less than what the fragments' heads, records and rows cost.
	FragmentedMin = 128 << 10
	// FragmentsMax is the most fragments, data and parity together, that a form is cut into. The code could do 256.
	FragmentsMax = 64
	// FragmentAlign is what the length in bytes of a fragment is a multiple of: what vector instructions take at a time.
	FragmentAlign = 64
)

// FragmentLen is the length in bytes of a Fragment's binary form.
const FragmentLen = IDLen + HashLen + 3

// Stripe names the fragments that belong together: those of one block, cut from one form of it into K of data and M of parity. Any K
// of them give the form; fragments of different stripes are never joined, be they of one block.
type Stripe struct {
	ID   ID
	Form [HashLen]byte // BLAKE3-256 of the block as it is sent, header and form
	K, M uint8
}

// Check says whether K and M are within the limits, and there is an ID; if not, the error is ErrBadID.
func (s Stripe) Check() error {
	switch {
	case s.ID.IsZero():
		return fmt.Errorf("stripe of no block: %w", ErrBadID)
	case s.K < 1 || s.M < 1 || int(s.K)+int(s.M) > FragmentsMax:
		return fmt.Errorf("stripe of %d+%d fragments: %w", s.K, s.M, ErrBadID)
	}
	return nil
}

// N is how many fragments there are, data and parity.
func (s Stripe) N() int { return int(s.K) + int(s.M) }

// String is readable and not meant to be read again.
func (s Stripe) String() string {
	return fmt.Sprintf("%s form %x rs:%d+%d", s.ID, s.Form[:4], s.K, s.M)
}

// Fragment names one fragment of a stripe. Its bytes are determined by its name, but can't be checked against it alone: see StripeRecord.
type Fragment struct {
	Stripe
	I uint8 // 0 to K-1: data, K to K+M-1: parity
}

// FragmentFromBytes reads a Fragment's binary form, which Append writes; the error is ErrBadID.
func FragmentFromBytes(b []byte) (Fragment, error) {
	if len(b) != FragmentLen {
		return Fragment{}, fmt.Errorf("fragment name of %d bytes instead of %d: %w", len(b), FragmentLen, ErrBadID)
	}
	id, err := FromBytes(b[:IDLen])
	if err != nil {
		return Fragment{}, err
	}
	tail := b[IDLen+HashLen:]
	f := Fragment{Stripe{ID: id, Form: [HashLen]byte(b[IDLen:]), K: tail[0], M: tail[1]}, tail[2]}
	return f, f.Check()
}

// Check is Stripe.Check, and of I.
func (f Fragment) Check() error {
	if err := f.Stripe.Check(); err != nil {
		return err
	}
	if int(f.I) >= f.N() {
		return fmt.Errorf("fragment %d of %d: %w", f.I, f.N(), ErrBadID)
	}
	return nil
}

// Append appends the binary form to b: the ID, the form's digest, K, M and I.
func (f Fragment) Append(b []byte) []byte {
	b = f.ID.Append(b)
	b = append(b, f.Form[:]...)
	return append(b, f.K, f.M, f.I)
}

// String is readable and not meant to be read again.
func (f Fragment) String() string { return fmt.Sprintf("%s fragment %d", f.Stripe, f.I) }

// FragmentSize is the length in bytes of each of k fragments of data of a form: a k-th of it, up to the next multiple of FragmentAlign.
// What the last ones have more than the form is zeros. Fragments of parity are as long.
func FragmentSize(formLen, k int) int {
	part := (formLen + k - 1) / k
	return (part + FragmentAlign - 1) / FragmentAlign * FragmentAlign
}

// FragmentHeaderLen is the length in bytes of an encoded FragmentHeader.
const FragmentHeaderLen = HeaderLen

const (
	fragmentMagic   = "whf"
	fragmentVersion = 1
)

// FragmentHeader begins a fragment as it is stored and sent; all lengths follow from it. Encoded, 16 bytes, integers big-endian:
//
//	0  "whf"        magic
//	3  u8           version, 1
//	4  u8           K
//	5  u8           M
//	6  u8           I
//	7  u8           zero
//	8  u32          length in bytes of the form that was cut, its block header included
//	12 u32          zero
type FragmentHeader struct {
	K, M, I uint8
	FormLen uint32 // bytes
}

// Append appends the encoded header to b.
func (h FragmentHeader) Append(b []byte) []byte {
	b = append(b, fragmentMagic...)
	b = append(b, fragmentVersion, h.K, h.M, h.I, 0)
	b = binary.BigEndian.AppendUint32(b, h.FormLen)
	return append(b, 0, 0, 0, 0)
}

// ParseFragmentHeader reads an encoded header; what it does not know is ErrCorrupt.
func ParseFragmentHeader(b []byte) (FragmentHeader, error) {
	if len(b) < FragmentHeaderLen {
		return FragmentHeader{}, fmt.Errorf("fragment header: %d bytes of %d: %w", len(b), FragmentHeaderLen, ErrCorrupt)
	}
	h := FragmentHeader{K: b[4], M: b[5], I: b[6], FormLen: binary.BigEndian.Uint32(b[8:])}
	n := int(h.K) + int(h.M)
	switch {
	case string(b[:3]) != fragmentMagic:
		return FragmentHeader{}, fmt.Errorf("fragment header: magic %x: %w", b[:3], ErrCorrupt)
	case b[3] != fragmentVersion:
		return FragmentHeader{}, fmt.Errorf("fragment header: version %d is not known: %w", b[3], ErrCorrupt)
	case b[7] != 0 || binary.BigEndian.Uint32(b[12:]) != 0:
		return FragmentHeader{}, fmt.Errorf("fragment header: reserved bytes are set: %w", ErrCorrupt)
	case h.K < 1 || h.M < 1 || n > FragmentsMax || int(h.I) >= n:
		return FragmentHeader{}, fmt.Errorf("fragment header: fragment %d of %d+%d: %w", h.I, h.K, h.M, ErrCorrupt)
	case h.FormLen < HeaderLen || h.FormLen > formMax:
		return FragmentHeader{}, fmt.Errorf("fragment header: cut from %d bytes: %w", h.FormLen, ErrCorrupt)
	}
	return h, nil
}

// formMax is the length in bytes of the longest form with its header.
const formMax = HeaderLen + ChunkMax + SealOverhead

// WireLen is the length in bytes of the whole fragment as it is stored and sent.
func (h FragmentHeader) WireLen() int {
	return h.bodyAt() + FragmentSize(int(h.FormLen), int(h.K))
}

// bodyAt is where the fragment's own bytes begin.
func (h FragmentHeader) bodyAt() int { return recordAt + (int(h.K)+int(h.M))*HashLen }

// recordAt is where the digests begin: behind the header, the ID and the form's digest.
const recordAt = FragmentHeaderLen + IDLen + HashLen

// FragmentNameLen is how many bytes of a fragment as it is sent are enough for ParseFragmentName.
const FragmentNameLen = recordAt

// FragmentWireMax is the length in bytes of the longest fragment as it is sent.
const FragmentWireMax = recordAt + FragmentsMax*HashLen + (formMax+FragmentAlign-1)/FragmentAlign*FragmentAlign

// ParseFragmentName reads the name of a fragment from the beginning of it as it is sent; what it does not know is ErrCorrupt.
func ParseFragmentName(wire []byte) (Fragment, FragmentHeader, error) {
	h, err := ParseFragmentHeader(wire)
	if err != nil {
		return Fragment{}, h, err
	}
	if len(wire) < FragmentNameLen {
		return Fragment{}, h, fmt.Errorf("fragment: %d bytes of %d: %w", len(wire), FragmentNameLen, ErrCorrupt)
	}
	id, err := FromBytes(wire[FragmentHeaderLen : FragmentHeaderLen+IDLen])
	if err != nil {
		return Fragment{}, h, fmt.Errorf("fragment: %w: %w", err, ErrCorrupt)
	}
	if int(h.FormLen) > HeaderLen+SizeMax(id) {
		return Fragment{}, h, fmt.Errorf("fragment: cut from %d bytes, over the limit: %w", h.FormLen, ErrCorrupt)
	}
	form := [HashLen]byte(wire[FragmentHeaderLen+IDLen:])
	return Fragment{Stripe{ID: id, Form: form, K: h.K, M: h.M}, h.I}, h, nil
}

// StripeRecord tells the digests of all fragments of a stripe. Each fragment carries it, so that bad bytes are found before K fragments are
// joined. It is a hint: it may lie, and what is joined is checked against the form's digest and the block's ID.
type StripeRecord struct {
	Stripe
	FormLen int             // bytes of the form, its block header included
	Digests [][HashLen]byte // BLAKE3-256 of the bytes of each fragment, K+M of them
}

// Equal says whether two records say the same. Honest ones of one stripe do.
func (r StripeRecord) Equal(o StripeRecord) bool {
	if r.Stripe != o.Stripe || r.FormLen != o.FormLen || len(r.Digests) != len(o.Digests) {
		return false
	}
	for i := range r.Digests {
		if r.Digests[i] != o.Digests[i] {
			return false
		}
	}
	return true
}

// header is the header of a fragment.
func (r StripeRecord) header(i int) FragmentHeader {
	return FragmentHeader{K: r.K, M: r.M, I: uint8(i), FormLen: uint32(r.FormLen)}
}

// WireLen is the length in bytes of each fragment as it is sent.
func (r StripeRecord) WireLen() int { return r.header(0).WireLen() }

// AppendWire appends fragment i, whose bytes are data, as it is stored and sent:
//
//	0   16 bytes       FragmentHeader
//	16  36 bytes       ID
//	52  32 bytes       digest of the form
//	84  (K+M) * 32     digests of the fragments
//	..  FragmentSize   the fragment's bytes
func (r StripeRecord) AppendWire(b []byte, i int, data []byte) []byte {
	b = r.header(i).Append(b)
	b = r.ID.Append(b)
	b = append(b, r.Form[:]...)
	for _, d := range r.Digests {
		b = append(b, d[:]...)
	}
	return append(b, data...)
}

// ParseFragment reads a fragment as AppendWire writes it. data is a part of wire. The bytes are not compared with their digest: that does
// Verify. What could not have been written so is ErrCorrupt.
func ParseFragment(wire []byte) (f Fragment, r StripeRecord, data []byte, err error) {
	f, h, err := ParseFragmentName(wire)
	if err != nil {
		return f, r, nil, err
	}
	if len(wire) != h.WireLen() {
		return f, r, nil, fmt.Errorf("fragment: %d bytes instead of %d: %w", len(wire), h.WireLen(), ErrCorrupt)
	}
	r = StripeRecord{Stripe: f.Stripe, FormLen: int(h.FormLen), Digests: make([][HashLen]byte, f.N())}
	for i := range r.Digests {
		r.Digests[i] = [HashLen]byte(wire[recordAt+i*HashLen:])
	}
	return f, r, wire[h.bodyAt():], nil
}

// Verify says whether data is what the record tells of fragment i; if not, the error is ErrCorrupt.
func (r StripeRecord) Verify(i int, data []byte) error {
	if i >= len(r.Digests) || blake3.Sum256(data) != r.Digests[i] {
		return fmt.Errorf("block: %s: hash of fragment %d differs over %d bytes: %w", r.Stripe, i, len(data), ErrCorrupt)
	}
	return nil
}

// WireMax is the length in bytes of the longest fragment of this K, M and codec as it is sent.
func (s Stripe) WireMax() int {
	return recordAt + s.N()*HashLen + FragmentSize(HeaderLen+SizeMax(s.ID), int(s.K))
}

// CheckFragment reads a fragment as it is sent, which must be the one of this name, and compares its bytes with their digest.
// The error is ErrCorrupt.
func CheckFragment(f Fragment, wire []byte) (r StripeRecord, data []byte, err error) {
	got, r, data, err := ParseFragment(wire)
	if err == nil && got != f {
		err = fmt.Errorf("block: %s instead of %s: %w", got, f, ErrCorrupt)
	}
	if err == nil {
		err = r.Verify(int(f.I), data)
	}
	return r, data, err
}
