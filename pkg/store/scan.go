package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// searchLen is how many bytes are read at once when the next magic is searched.
const searchLen = 256 << 10

// span is the bytes from from to to of a segment.
type span struct{ from, to int64 }

// scanner walks the records of a segment by their heads.
type scanner struct {
	r     io.ReaderAt
	nonce uint64
	off   int64 // of the next record
	end   int64 // of the segment
	head  [recordHead]byte
	buf   []byte // for the search, made when first needed
}

// next is the next record. Bytes before it that are none are its gap (from == to: there are none);
// after the last record comes io.EOF, also with a gap. The bytes behind the head are not looked at.
func (sc *scanner) next() (record, span, error) {
	start := sc.off
	for sc.off < sc.end {
		r, err := sc.parse()
		if err == nil {
			gap := span{start, sc.off}
			sc.off = r.end()
			return r, gap, nil
		}
		if !errors.Is(err, block.ErrCorrupt) {
			return record{}, span{}, err
		}
		if sc.off, err = sc.search(sc.off + 1); err != nil {
			return record{}, span{}, err
		}
	}
	return record{}, span{start, max(start, sc.end)}, io.EOF
}

// parse reads the record at off; one that passes the end of the segment is ErrCorrupt.
func (sc *scanner) parse() (record, error) {
	n, err := readAt(sc.r, sc.head[:], sc.off, sc.end)
	if err != nil {
		return record{}, err
	}
	r, err := parseRecord(sc.head[:n], sc.nonce, sc.off)
	if err == nil && r.end() > sc.end {
		return record{}, fmt.Errorf("record at %d: passes the end of its segment: %w", sc.off, block.ErrCorrupt)
	}
	return r, err
}

// search is the offset of the first magic from off on, or the end.
func (sc *scanner) search(off int64) (int64, error) {
	if sc.buf == nil {
		sc.buf = make([]byte, searchLen)
	}
	for off < sc.end {
		n, err := readAt(sc.r, sc.buf, off, sc.end)
		if err != nil {
			return 0, err
		}
		if i := bytes.Index(sc.buf[:n], []byte(recordMagic)); i >= 0 {
			return off + int64(i), nil
		}
		if off+int64(n) >= sc.end {
			break
		}
		off += int64(n - len(recordMagic) + 1) // a magic may lie across two reads
	}
	return sc.end, nil
}

// readAt reads what lies before end into b and says how much that is. A file that ends before end
// reads as if its missing bytes were zero.
func readAt(r io.ReaderAt, b []byte, off, end int64) (int, error) {
	if left := end - off; left < int64(len(b)) {
		b = b[:max(left, 0)]
	}
	n, err := r.ReadAt(b, off)
	if n < len(b) {
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		clear(b[n:])
	}
	return len(b), nil
}

// readNumber reads the number that stands behind the head of a cut or a trash mark.
func readNumber(g *segment, r record) (int64, error) {
	var b [8]byte
	if _, err := readAt(g.file, b[:], r.off+recordHead, r.end()); err != nil {
		return 0, err
	}
	if err := r.checkSum(b[:]); err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b[:])), nil
}

// readCut reads what stands behind the head of a cut.
func readCut(g *segment, r record) (cut, error) {
	to, err := readNumber(g, r)
	return cut{r.target.seg, span{r.target.off, to}}, err
}

// readSince reads what stands behind the head of a trash mark.
func readSince(g *segment, r record) (int64, error) {
	since, err := readNumber(g, r)
	if err == nil && since < 0 {
		err = fmt.Errorf("record at %d: time %d: %w", r.off, since, block.ErrCorrupt)
	}
	return since, err
}
