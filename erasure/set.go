package erasure

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Set holds fragments of one stripe, as many as were cut or added. Its memory is used again from one stripe to the next; the zero value is ready.
type Set struct {
	record block.StripeRecord
	room   []byte   // as it was allocated
	buf    []byte   // the fragments one behind the other: those of data are the form
	shards [][]byte // parts of buf
	have   []bool
}

// Reset empties the set and makes it ready for fragments of a record, which Add takes.
func (s *Set) Reset(r block.StripeRecord) {
	digests := slices.Clone(r.Digests)
	s.lay(r.Stripe, r.FormLen)
	s.record.Digests = digests
}

// lay makes room for the fragments of a stripe; their contents are undefined, but for what stands there already.
func (s *Set) lay(stripe block.Stripe, formLen int) {
	size := block.FragmentSize(formLen, int(stripe.K))
	s.grow(size * stripe.N())
	s.record = block.StripeRecord{Stripe: stripe, FormLen: formLen, Digests: s.record.Digests[:0]}
	s.shards = s.shards[:0]
	for i := range stripe.N() {
		s.shards = append(s.shards, s.buf[i*size:(i+1)*size:(i+1)*size])
	}
	s.have = append(s.have[:0], make([]bool, stripe.N())...)
}

// grow makes buf n bytes long; it begins where vector instructions like it (measured: unaligned fragments take up to 2.7 times as long).
func (s *Set) grow(n int) {
	if cap(s.buf) < n {
		s.room = make([]byte, n+block.FragmentAlign)
		at := uintptr(unsafe.Pointer(unsafe.SliceData(s.room))) % block.FragmentAlign
		s.buf = s.room[(block.FragmentAlign-at)%block.FragmentAlign:]
	}
	s.buf = s.buf[:n]
}

// Room lends memory for a form of n bytes that will be cut into k+m. What Cut gets there it does not copy. It is valid until the set is used again.
func (s *Set) Room(n, k, m int) []byte {
	s.grow(block.FragmentSize(n, k) * (k + m))
	return s.buf[:n:n]
}

// Record tells of the stripe. Its digests are the set's, valid until it is used again.
func (s *Set) Record() block.StripeRecord { return s.record }

// Have is how many fragments there are.
func (s *Set) Have() int {
	n := 0
	for _, have := range s.have {
		if have {
			n++
		}
	}
	return n
}

// Has says whether fragment i is there.
func (s *Set) Has(i int) bool { return i < len(s.have) && s.have[i] }

// Add takes a fragment, the bytes that belong to a record, and says whether it is new. The bytes are copied. Errors: block.ErrBadID for a record
// that is not the set's, block.ErrCorrupt for bytes that have not the digest of the record; then the set is as it was.
func (s *Set) Add(r block.StripeRecord, i int, data []byte) (bool, error) {
	switch {
	case !s.record.Equal(r):
		return false, fmt.Errorf("erasure: a fragment of %s with another record than %s: %w", r.Stripe, s.record.Stripe, block.ErrBadID)
	case i < 0 || i >= len(s.shards) || len(data) != len(s.shards[i]):
		return false, fmt.Errorf("erasure: fragment %d of %s: %d bytes: %w", i, r.Stripe, len(data), block.ErrCorrupt)
	case s.have[i]:
		return false, nil
	}
	if err := s.record.Verify(i, data); err != nil {
		return false, err
	}
	copy(s.shards[i], data)
	s.have[i] = true
	return true, nil
}

// AppendWire appends fragment i as it is stored and sent to b. The set has it: after Cut and Rebuild it has all.
func (s *Set) AppendWire(b []byte, i int) ([]byte, error) {
	if !s.Has(i) {
		return b, fmt.Errorf("erasure: fragment %d of %s is not here: %w", i, s.record.Stripe, block.ErrNotFound)
	}
	return s.record.AppendWire(b, i, s.shards[i]), nil
}
