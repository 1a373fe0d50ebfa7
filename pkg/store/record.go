package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Layout of a record; the package comment draws it.
const (
	recordMagic   = "\xf7whr" // the first byte is in no UTF-8 text, so a search rarely stops in one
	recordVersion = 1
	recordHead    = 96 // bytes before the form
	wireStart     = recordHead - block.HeaderLen
	cutLen        = 8 // bytes behind the head of a cut: its end
	trashLen      = 8 // bytes behind the head of a trash mark: the time
)

// kind says what a record does.
type kind byte

const (
	kindBlock  kind = 1 // a block that this pod owns
	kindCached kind = 2 // a block that is here as a cache only
	kindGone   kind = 3 // the block record at target is deleted
	kindOwn    kind = 4 // the block record at target is owned from here on
	kindDisown kind = 5 // the block record at target is a cached copy from here on
	kindCut    kind = 6 // the bytes from target to cutEnd of its segment are no records: a torn write
	kindTrash  kind = 7 // the block record at target is in the trash from here on
	// kindTrashed is a block in the trash, moved by a compaction: it is there since the record that
	// it replaces is. A trash mark with the time follows, for when that one is gone.
	kindTrashed kind = 8
	// kindFragment and kindTrashedFragment are to fragments what kindBlock and kindTrashed are to blocks. There are no cached ones.
	kindFragment        kind = 9
	kindTrashedFragment kind = 10
)

// isBlock says whether a record holds bytes: a block or a fragment.
func (k kind) isBlock() bool {
	return k == kindBlock || k == kindCached || k == kindTrashed || k.isFragment()
}

func (k kind) isFragment() bool { return k == kindFragment || k == kindTrashedFragment }

// isTrashed says whether a record holds what was in the trash when it was moved.
func (k kind) isTrashed() bool { return k == kindTrashed || k == kindTrashedFragment }

// fits says whether a record of this kind may be about a block or fragment of this name.
func (k kind) fits(id block.ID) bool {
	if isFragment(id) {
		return k.isFragment() || k == kindGone || k == kindOwn || k == kindTrash
	}
	return !k.isFragment()
}

// behind is how many bytes follow the head of a record that is no block.
func (k kind) behind() uint32 {
	switch k {
	case kindCut:
		return cutLen
	case kindTrash:
		return trashLen
	default:
		return 0
	}
}

// place is where a record stands: a segment and the offset of the record in it.
// The zero place is none: segments are numbered from 1.
type place struct {
	seg uint64
	off int64
}

// before says whether a place comes before another one in the log.
func (p place) before(q place) bool { return p.seg < q.seg || p.seg == q.seg && p.off < q.off }

// record is the head of a record. length and sum are those of the bytes that follow it.
type record struct {
	kind   kind
	nonce  uint64               // the segment's
	off    int64                // where it stands itself
	synced int64                // bytes of its segment that were known to be on disk when it was written
	length uint32               // bytes
	sum    uint32               // crc32c
	id     block.ID             // zero for a cut; of fragments, and of what is about them, their name
	header block.Header         // of blocks only
	part   block.FragmentHeader // of fragments only
	target place                // of all others
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// size is the length of the whole record in bytes.
func (r *record) size() int64 { return recordHead + int64(r.length) }

// end is the offset behind the record.
func (r *record) end() int64 { return r.off + r.size() }

// encode writes the head over b[:recordHead].
func (r *record) encode(b []byte) {
	b = append(b[:0], recordMagic...)
	b = append(b, recordVersion, byte(r.kind), 0, 0)
	b = binary.BigEndian.AppendUint64(b, r.nonce)
	b = binary.BigEndian.AppendUint64(b, uint64(r.off))
	b = binary.BigEndian.AppendUint64(b, uint64(r.synced))
	b = binary.BigEndian.AppendUint32(b, r.length)
	b = binary.BigEndian.AppendUint32(b, r.sum)
	b = r.id.Append(b)
	b = append(b, 0, 0, 0, 0)
	switch {
	case r.kind.isFragment():
		b = r.part.Append(b)
	case r.kind.isBlock():
		b = r.header.Append(b)
	default:
		b = binary.BigEndian.AppendUint64(b, r.target.seg)
		b = binary.BigEndian.AppendUint64(b, uint64(r.target.off))
	}
	binary.BigEndian.PutUint32(b[wireStart-4:], headSum(b))
}

// headSum is the checksum of a head: of all its bytes but the four that hold it.
func headSum(b []byte) uint32 {
	return crc32.Update(checksum(b[:wireStart-4]), castagnoli, b[wireStart:recordHead])
}

// parseRecord reads the head of the record that stands at off in the segment with this nonce.
// Whatever encode could not have written there is ErrCorrupt.
func parseRecord(b []byte, nonce uint64, off int64) (record, error) {
	if len(b) < recordHead || string(b[:4]) != recordMagic {
		return record{}, fmt.Errorf("record at %d: no magic: %w", off, block.ErrCorrupt)
	}
	b = b[:recordHead]
	if got, want := headSum(b), binary.BigEndian.Uint32(b[wireStart-4:]); got != want {
		return record{}, fmt.Errorf("record at %d: checksum of its head differs: %w", off, block.ErrCorrupt)
	}
	r := record{
		kind:   kind(b[5]),
		nonce:  binary.BigEndian.Uint64(b[8:]),
		off:    int64(binary.BigEndian.Uint64(b[16:])),
		synced: int64(binary.BigEndian.Uint64(b[24:])),
		length: binary.BigEndian.Uint32(b[32:]),
		sum:    binary.BigEndian.Uint32(b[36:]),
	}
	switch {
	case b[4] != recordVersion:
		return record{}, fmt.Errorf("record at %d: version %d is not known: %w", off, b[4], block.ErrCorrupt)
	case b[6] != 0 || b[7] != 0:
		return record{}, fmt.Errorf("record at %d: reserved bytes are set: %w", off, block.ErrCorrupt)
	case r.nonce != nonce || r.off != off:
		return record{}, fmt.Errorf("record at %d: written for another place: %w", off, block.ErrCorrupt)
	case r.synced < 0 || r.synced > off:
		return record{}, fmt.Errorf("record at %d: synced offset %d: %w", off, r.synced, block.ErrCorrupt)
	}
	if err := r.parseBody(b); err != nil {
		return record{}, fmt.Errorf("record at %d: %w", off, err)
	}
	return r, nil
}

// parseBody reads what depends on the kind: ID, block header or target, and the bounds of the length.
func (r *record) parseBody(b []byte) error {
	id, err := readID(b[40 : 40+block.IDLen])
	if r.kind == kindCut {
		if [block.IDLen]byte(b[40:]) != [block.IDLen]byte{} {
			return fmt.Errorf("a cut with an ID: %w", block.ErrCorrupt)
		}
	} else if err != nil {
		return fmt.Errorf("%w: %w", err, block.ErrCorrupt)
	} else {
		r.id = id
	}
	if !r.kind.fits(r.id) {
		return fmt.Errorf("record of kind %d about %x: %w", r.kind, r.id.Bytes(), block.ErrCorrupt)
	}
	if r.kind.isFragment() {
		return r.parseFragment(b)
	}
	if r.kind.isBlock() {
		if r.header, err = block.ParseHeader(b[wireStart:]); err != nil {
			return err
		}
		return checkForm(r.id, r.header, int64(r.length))
	}
	r.target = place{
		seg: binary.BigEndian.Uint64(b[wireStart:]),
		off: int64(binary.BigEndian.Uint64(b[wireStart+8:])),
	}
	switch {
	case r.kind < kindBlock || r.kind > kindTrashedFragment:
		return fmt.Errorf("kind %d is not known: %w", r.kind, block.ErrCorrupt)
	case r.length != r.kind.behind():
		return fmt.Errorf("%d bytes behind a record of kind %d: %w", r.length, r.kind, block.ErrCorrupt)
	case r.target.seg == 0 || r.target.off < 0 || r.target.off > math.MaxInt64/2:
		return fmt.Errorf("target %d in segment %d: %w", r.target.off, r.target.seg, block.ErrCorrupt)
	}
	return nil
}

// parseFragment reads the header of a fragment, which bounds its length.
func (r *record) parseFragment(b []byte) (err error) {
	if r.part, err = block.ParseFragmentHeader(b[wireStart:recordHead]); err != nil {
		return err
	}
	if want := r.part.WireLen() - block.FragmentHeaderLen; int64(r.length) != int64(want) {
		return fmt.Errorf("fragment of %d bytes, its header says %d: %w", r.length, want, block.ErrCorrupt)
	}
	return nil
}

// checkForm bounds the lengths of a block by what its ID and header allow, before memory is taken.
func checkForm(id block.ID, h block.Header, formLen int64) error {
	limit := int64(block.SizeMax(id))
	switch {
	case int64(h.PlainLen) > limit || formLen > limit:
		return fmt.Errorf("block of %d plain bytes, %d stored, over the limit of %d: %w",
			h.PlainLen, formLen, limit, block.ErrCorrupt)
	case h.Form == block.FormRaw && formLen != int64(h.PlainLen):
		return fmt.Errorf("raw block of %d bytes, header says %d: %w", formLen, h.PlainLen, block.ErrCorrupt)
	}
	return nil
}

// checkSum compares the bytes behind the head with its checksum.
func (r *record) checkSum(form []byte) error {
	if uint32(len(form)) != r.length || checksum(form) != r.sum {
		return fmt.Errorf("record at %d: checksum over %d bytes differs: %w", r.off, len(form), block.ErrCorrupt)
	}
	return nil
}
