package store

import (
	"encoding/binary"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Keys of the index, and their values; integers big-endian.
//
//	'm'                    meta: version u8, generation u8, place of the log up to which the index
//	                       goes (segment u64, offset u64), owned, cached bytes, blocks, trash bytes u64
//	's' segment u64        end, live, punched u64
//	'b' generation u8, ID  row: segment u64, offset u64, form length u32, flags u8, and of a block
//	                       in the trash since when, unix seconds, u64; of a fragment (name.go) then its
//	                       binary form, 71 bytes
//	'c' ID                 of each cached copy: last use, unix seconds, u32; and 1, u8, when it was used
//	                       again while it was here
const (
	keyMeta    = 'm'
	keySegment = 's'
	keyBlock   = 'b'
	keyCached  = 'c'

	metaVersion = 2 // 1 had no trash bytes; it is read, too
	metaLen     = 2 + 6*8
	metaLenV1   = 2 + 5*8
	statsLen    = 3 * 8
	rowLen      = 8 + 8 + 4 + 1
	rowLenTrash = rowLen + 8
	rowLenMax   = rowLenTrash + block.FragmentLen
)

const (
	flagCached   = 1 << iota // a cached copy
	flagBad                  // damage was found; the record is not served
	flagRaw                  // the form is raw: a hint for how its memory is taken
	flagTrash                // in the trash; never with flagCached
	flagFragment             // a fragment; never with flagCached or flagRaw
)

// row says where a block is.
type row struct {
	place
	length uint32 // bytes of the form
	flags  byte
	since  int64          // when it came into the trash, unix seconds; 0 of others
	of     block.Fragment // of a fragment only
}

func (r row) cached() bool   { return r.flags&flagCached != 0 }
func (r row) bad() bool      { return r.flags&flagBad != 0 }
func (r row) trashed() bool  { return r.flags&flagTrash != 0 }
func (r row) fragment() bool { return r.flags&flagFragment != 0 }
func (r row) owned() bool    { return r.flags&(flagCached|flagTrash) == 0 }

// as is the row after a mark of kind own, disown or trash; since is for the last.
func (r row) as(k kind, since int64) row {
	r.flags &^= flagCached | flagTrash
	r.since = 0
	switch k {
	case kindDisown:
		r.flags |= flagCached
	case kindTrash:
		r.flags |= flagTrash
		r.since = since
	}
	return r
}

// recordKind is the kind of a record that holds what the row is about, as it is now.
func (r row) recordKind() kind {
	switch {
	case r.fragment() && r.trashed():
		return kindTrashedFragment
	case r.fragment():
		return kindFragment
	case r.cached():
		return kindCached
	case r.trashed():
		return kindTrashed
	}
	return kindBlock
}

// problem says that something is wrong with a block or fragment.
func (r row) problem(k ProblemKind, id block.ID) Problem {
	if r.fragment() {
		id = r.of.ID
	}
	return Problem{Kind: k, ID: id, Fragment: r.of, Cached: r.cached(), Segment: r.seg, Offset: r.off, Bytes: r.size()}
}

// markKind is the kind of the mark that makes a row what it is.
func (r row) markKind() kind {
	switch {
	case r.cached():
		return kindDisown
	case r.trashed():
		return kindTrash
	}
	return kindOwn
}

// newRow is the row of a block whose record begins with head, or of the fragment of.
func newRow(at place, head record, of block.Fragment) row {
	r := row{place: at, length: head.length, of: of}
	if head.kind.isFragment() {
		r.flags |= flagFragment
		return r
	}
	if head.kind == kindCached {
		r.flags |= flagCached
	}
	if head.header.Form == block.FormRaw {
		r.flags |= flagRaw
	}
	return r
}

// size is the length of the block's record in bytes.
func (r row) size() int64 { return recordHead + int64(r.length) }

func (r row) encode() []byte { return r.append(make([]byte, 0, rowLenMax)) }

// append appends the row's bytes, rowLenMax at most.
func (r *row) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, r.seg)
	b = binary.BigEndian.AppendUint64(b, uint64(r.off))
	b = binary.BigEndian.AppendUint32(b, r.length)
	b = append(b, r.flags)
	if r.trashed() {
		b = binary.BigEndian.AppendUint64(b, uint64(r.since))
	}
	if r.fragment() {
		b = r.of.Append(b)
	}
	return b
}

func decodeRow(b []byte) (row, error) {
	if len(b) < rowLen || len(b) > rowLenMax {
		return row{}, fmt.Errorf("index: row of %d bytes: %w", len(b), block.ErrCorrupt)
	}
	r := row{
		place:  place{binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))},
		length: binary.BigEndian.Uint32(b[16:]),
		flags:  b[20],
	}
	rest := b[rowLen:]
	if r.trashed() && len(rest) >= 8 {
		r.since, rest = int64(binary.BigEndian.Uint64(rest)), rest[8:]
	}
	var err error
	if r.fragment() {
		r.of, err = block.FragmentFromBytes(rest)
		rest = nil
	}
	if err != nil || len(rest) > 0 || r.seg == 0 || r.off < 0 || r.length > block.FragmentWireMax || r.flags >= 2*flagFragment ||
		r.trashed() && (r.cached() || len(b) < rowLenTrash) || r.fragment() && r.flags&(flagCached|flagRaw) != 0 || r.since < 0 {
		return row{}, fmt.Errorf("index: row %x: %w", b, block.ErrCorrupt)
	}
	return r, nil
}

// totals are what Usage tells, kept up to date with every change.
type totals struct {
	owned, cached, trash int64 // bytes of records
	blocks               int64 // owned and cached
}

// add counts a row (sign +1) or takes it out (-1). A bad row counts as nothing.
func (t *totals) add(r row, sign int64) {
	switch {
	case r.bad():
		return
	case r.trashed():
		t.trash += sign * r.size()
		return
	case r.cached():
		t.cached += sign * r.size()
	default:
		t.owned += sign * r.size()
	}
	t.blocks += sign
}

// meta is what the index knows of itself.
type meta struct {
	generation byte  // of the block rows in use
	upTo       place // all records before it are in the index, and on disk
	totals
}

func (m meta) encode() []byte {
	b := []byte{metaVersion, m.generation}
	b = binary.BigEndian.AppendUint64(b, m.upTo.seg)
	for _, v := range []int64{m.upTo.off, m.owned, m.cached, m.blocks, m.trash} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return b
}

func decodeMeta(b []byte) (meta, error) {
	v1 := len(b) == metaLenV1 && b[0] == 1
	if !v1 && (len(b) != metaLen || b[0] != metaVersion) {
		return meta{}, fmt.Errorf("index: meta row %x is not known: %w", b, block.ErrCorrupt)
	}
	i64 := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[2+8*i:])) }
	m := meta{
		generation: b[1],
		upTo:       place{binary.BigEndian.Uint64(b[2:]), i64(1)},
		totals:     totals{owned: i64(2), cached: i64(3), blocks: i64(4)},
	}
	if !v1 {
		m.trash = i64(5)
	}
	return m, nil
}

func blockKey(generation byte, id block.ID) []byte {
	return id.Append(append(make([]byte, 0, 2+block.IDLen), keyBlock, generation))
}

func cachedKey(id block.ID) []byte {
	return id.Append(append(make([]byte, 0, 1+block.IDLen), keyCached))
}

func segmentKey(num uint64) []byte { return binary.BigEndian.AppendUint64([]byte{keySegment}, num) }

// removed says that nothing of the segment is left: its file is removed, or about to be.
func (st segmentStats) removed() bool { return st.end > 0 && st.punched == st.end }

func (st segmentStats) encode() []byte {
	b := make([]byte, 0, statsLen)
	for _, v := range []int64{st.end, st.live, st.punched} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return b
}

func decodeStats(key, b []byte) (segmentStats, error) {
	if len(key) != 9 || len(b) != statsLen {
		return segmentStats{}, fmt.Errorf("index: segment row %x, %d bytes: %w", key, len(b), block.ErrCorrupt)
	}
	i64 := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[8*i:])) }
	return segmentStats{binary.BigEndian.Uint64(key[1:]), i64(0), i64(1), i64(2)}, nil
}
