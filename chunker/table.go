package chunker

import (
	"encoding/binary"

	"github.com/zeebo/blake3"
)

// tableContext is the BLAKE3 key-derivation context of tables; it is part of the format.
const tableContext = "wormhole chunker 2026 gear table v1"

const (
	window = 64 // bytes that the hash depends on: one bit leaves the word at each

	// The hash is below these limits when its upper 22, or 18, bits are zero: log2(AvgSize) +- 2, which
	// is what level 2 of normalised chunking means.
	limitBeforeAvg = 1 << (64 - 22)
	limitAfterAvg  = 1 << (64 - 18)

	// strideMax is how many bytes each of the two streams goes before they meet: long enough to make the
	// second one's warm-up of 64 bytes cheap, short enough to waste little when the first one cuts.
	strideMax = 8 << 10
	// strideMin is where a remainder is no longer worth two streams.
	strideMin = 256
)

// Table is a gear table: a word for each value of a byte.
type Table [256]uint64

// NewTable derives the table from a network's key: the 2048 bytes that BLAKE3 derives from it, as
// 256 big-endian words. Equal keys give equal tables.
func NewTable(key [32]byte) *Table {
	var raw [256 * 8]byte
	blake3.DeriveKey(tableContext, key[:], raw[:])
	t := new(Table)
	for i := range t {
		t[i] = binary.BigEndian.Uint64(raw[8*i:])
	}
	return t
}

// Cut is the length of the first chunk of b in bytes, by DefaultParams; 0 if b is empty. b must hold at least MaxSize bytes
// unless the stream ends with it. It allocates nothing.
func (t *Table) Cut(b []byte) int {
	return t.cut(b, MinSize, AvgSize, MaxSize, limitBeforeAvg, limitAfterAvg)
}

// cut is Cut for other sizes, and for the limits that go with their mean.
func (t *Table) cut(b []byte, least, avg, most int, before, after uint64) int {
	b = b[:min(len(b), most)]
	if len(b) <= least {
		return len(b)
	}
	avg = min(len(b), avg)
	h := t.roll(0, b[least-window:least])
	n, h := t.scan(b[:avg], least, h, before)
	if n == 0 {
		n, _ = t.scan(b, avg, h, after)
	}
	if n == 0 {
		return len(b)
	}
	return n
}

// roll rolls the hash over p.
func (t *Table) roll(h uint64, p []byte) uint64 {
	for _, c := range p {
		h = h<<1 + t[c]
	}
	return h
}

// scan looks in b, from byte i on, for the first one after which the hash is below limit, and returns the
// length up to and with it; or 0, and the hash at the end of b. h is the hash before byte i >= window.
func (t *Table) scan(b []byte, i int, h, limit uint64) (int, uint64) {
	for len(b)-i >= 2*strideMin {
		stride := min((len(b)-i)/2, strideMax)
		first, second := b[i:i+stride], b[i+stride:i+2*stride]
		n, end := t.scanPair(first, second, h, t.roll(0, b[i+stride-window:i+stride]), limit)
		if n > 0 {
			return i + n, 0
		}
		i, h = i+2*stride, end
	}
	for ; i < len(b); i++ {
		h = h<<1 + t[b[i]]
		if h < limit {
			return i + 1, 0
		}
	}
	return 0, h
}

// scanPair does what scan does for p and q, which are of one length and follow each other, at once; hp and
// hq are the hashes before them.
func (t *Table) scanPair(p, q []byte, hp, hq, limit uint64) (int, uint64) {
	q = q[:len(p)]
	i := 0
	// The limits are met once in a quarter of a million bytes: whether any of four pairs meets them is one question.
	for ; i+4 <= len(p); i += 4 {
		a, b := p[i:i+4:i+4], q[i:i+4:i+4]
		p0, q0 := hp<<1+t[a[0]], hq<<1+t[b[0]]
		p1, q1 := p0<<1+t[a[1]], q0<<1+t[b[1]]
		p2, q2 := p1<<1+t[a[2]], q1<<1+t[b[2]]
		p3, q3 := p2<<1+t[a[3]], q2<<1+t[b[3]]
		if p0 < limit || q0 < limit || p1 < limit || q1 < limit || p2 < limit || q2 < limit || p3 < limit || q3 < limit {
			break
		}
		hp, hq = p3, q3
	}
	for ; i < len(p); i++ {
		hp = hp<<1 + t[p[i]]
		hq = hq<<1 + t[q[i]]
		if hp < limit {
			return i + 1, 0
		}
		if hq < limit {
			// It counts only if the rest of p has no cut.
			for j := i + 1; j < len(p); j++ {
				hp = hp<<1 + t[p[j]]
				if hp < limit {
					return j + 1, 0
				}
			}
			return len(p) + i + 1, 0
		}
	}
	return 0, hq
}
