package pod

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestExtents compares random changes with a plain slice, in files of small and of large writes. If it fails, bytes that were written are lost before
// they are cut, or bytes that were changed while they were cut are taken for those that were cut.
func TestExtents(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	noise := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(noise) // it never fails
	for i := range 60 {
		size := []int{3000, 300_000, 3 << 20}[i%3]
		m := &extentsModel{bytes: make([]byte, size), have: make([]bool, size), claimed: make([]bool, size)}
		for range 60 {
			off := rnd.IntN(size)
			n := 1 + rnd.IntN(min(size-off, size/7))
			switch k := rnd.IntN(20); {
			case k < 14:
				at := rnd.IntN(len(noise) - n + 1)
				if k == 0 {
					n = min(n, 50)
				}
				m.write(off, noise[at:at+n])
			case k < 15:
				m.x.truncate(int64(off))
				clear(m.have[off:])
				clear(m.claimed[off:])
			case k < 18:
				m.x.punch(int64(off), int64(off+n))
				clear(m.have[off : off+n])
				clear(m.claimed[off : off+n])
			default:
				m.claim()
			}
		}
		m.check(t)
		m.x.forget()
		clear(m.have)
		clear(m.claimed)
		m.check(t)
	}
}

// TestExtentsBackwards breaks if single bytes that are written from the end to the start cost more than they are.
func TestExtentsBackwards(t *testing.T) {
	const size = 100_000
	m := &extentsModel{bytes: make([]byte, size), have: make([]bool, size), claimed: make([]bool, size)}
	for off := size - 1; off >= 0; off-- {
		m.write(off, []byte{byte(off)})
	}
	m.check(t)
	if len(m.x.list) > 2*size/joinBytes {
		t.Errorf("%d extents", len(m.x.list))
	}
}

// extentsModel is extents, and what they have to be.
type extentsModel struct {
	x       extents
	bytes   []byte
	have    []bool
	claimed []bool // as claimed
}

func (m *extentsModel) write(off int, p []byte) {
	m.x.write(int64(off), p)
	copy(m.bytes[off:], p)
	for i := range p {
		m.have[off+i], m.claimed[off+i] = true, false
	}
}

// claim claims all.
func (m *extentsModel) claim() {
	m.x.claimed = m.x.runs()
	copy(m.claimed, m.have)
}

func (m *extentsModel) check(t *testing.T) {
	t.Helper()
	x := &m.x
	var total int64
	got, have, claimed := make([]byte, len(m.have)), make([]bool, len(m.have)), make([]bool, len(m.have))
	for i, e := range x.list {
		if len(e.data) == 0 || len(e.data) > pieceBytes || i > 0 && x.list[i-1].end() > e.off {
			t.Fatalf("extent %d has %d bytes, or overlaps the one before", i, len(e.data))
		}
		total += int64(len(e.data))
		copy(got[e.off:], e.data)
		for k := range e.data {
			have[int(e.off)+k] = true
		}
	}
	for _, s := range x.claimed {
		for k := s.off; k < s.end; k++ {
			claimed[k] = true
		}
	}
	if total != x.bytes {
		t.Fatalf("bytes is %d, want %d", x.bytes, total)
	}
	for i := range m.have {
		if m.have[i] != have[i] || m.have[i] && got[i] != m.bytes[i] || m.claimed[i] != claimed[i] {
			t.Fatalf("byte %d: have %v %d, want %v %d; claimed %v, want %v", i, have[i], got[i], m.have[i], m.bytes[i], claimed[i], m.claimed[i])
		}
	}
	for _, s := range x.runs() {
		want := m.bytes[s.off:s.end]
		if !bytes.Equal(x.run(s.off, s.end), want) || !bytes.Equal(x.append(nil, s.off, s.end), want) {
			t.Fatalf("run %v differs", s)
		}
		if mid := (s.off + s.end) / 2; x.runFrom(mid) != (span{mid, s.end}) {
			t.Fatalf("run from %d: %v, want to %d", mid, x.runFrom(mid), s.end)
		}
	}
	flat := make([]byte, len(m.bytes)/2)
	for _, e := range x.overlay(int64(len(flat)/2), int64(len(flat))) {
		copy(flat[e.off-int64(len(flat)/2):], e.data)
	}
	for i := range flat {
		at := i + len(flat)/2
		if m.have[at] && flat[i] != m.bytes[at] {
			t.Fatalf("overlay differs at %d", i)
		}
	}
}
